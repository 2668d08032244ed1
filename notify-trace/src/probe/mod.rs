//! Everything that talks to the kernel's tracing side, and the only modules that name aya.
//!
//! `kernel_types` reads the kernel's types, `btf` and `offsets` find structure offsets in them, `preemption` tells
//! whether programs may be preempted, `plan` decides which to attach (all but the first are pure),
//! `loader` is aya's, and `descriptors` makes room for what comes of it: both before anything else. `load` loads
//! the object, `attach` attaches the programs, as many as can be `at_once`; they are
//! `attached` until the end, when `abandoned` looks for calls that nobody will end any more,
//! `ring` reads what they write, `self_test` sends a datagram
//! through every hook before anyone relies on them, `start` does all of that in order, `refusal` is
//! the kernel's answer to a program in words, `pid_namespace` tells whether pids are the host's.
//! `queue_lengths` is an object of its own, for the verb `sockets`.

pub mod abandoned;
mod at_once;
pub mod attach;
pub mod attached;
pub mod btf;
pub mod descriptors;
pub mod error;
#[cfg(feature = "kernel-log")]
pub mod kernel_log;
pub mod kernel_types;
pub mod load;
pub mod loader;
pub mod offsets;
pub mod pid_namespace;
pub mod plan;
pub mod preemption;
pub mod queue_lengths;
pub mod refusal;
pub mod ring;
pub mod self_test;
mod small_pages;
pub mod start;
