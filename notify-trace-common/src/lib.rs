//! The wire layout and the limits that both sides of notify-trace agree on.
//!
//! Only integers and byte arrays cross the boundary between the kernel programs and userspace: a
//! record is a fixed-size struct of this crate, followed by a tail of variable length where the
//! struct says so. There is no padding anywhere (asserted at compile time), so no kernel memory
//! leaks through a gap, and no field has a value that makes reading it undefined.
//!
//! * [`record`]: what the kernel programs write to the perf rings.
//! * [`address`]: a `sockaddr_un` without its family, and the map keys made of it.
//! * [`fields`]: the kernel structure offsets that userspace fills in before it loads the programs.
//! * [`queues`]: what the iterator over unix sockets writes.
//! * [`limits`]: sizes, map names and the counters that account for every loss.
#![no_std]

pub mod address;
pub mod fields;
pub mod limits;
pub mod queues;
pub mod record;
