//! notify-trace, userspace: one datagram's way from the kernel hook to a line of output.
//!
//! ```text
//! kernel programs ──records──▶ probe ──▶ decode ──▶ order ──▶ join ──▶ enrich ──▶ explain ──▶ sink
//! ```
//!
//! `explain` is two stages in one: `view` (what is shown) and `correlate` (what follows of it). `show`
//! and the verb `explain` read events from a recording instead, through the same stages; `timeline` draws them.
//!
//! The modules stand in the order in which data flows. `pipeline` wires them; only `cli` calls it.
//! `doctor` stands beside: it tries what `probe` can do here, and says what came back. So does
//! `sockets`: a look at what exists now, without the kernel programs. `top` is a sink with a screen,
//! `agent` one with a store, metrics and a service manager; `otlp` sends what the store and the metrics have.

pub mod glob;

pub mod quantity;

pub mod privileges;

pub mod select;

pub mod probe;

pub mod decode;

pub mod order;

pub mod names;

pub mod join;

pub mod event;

pub mod enrich;

pub mod unit;

pub mod manager;

pub mod correlate;

pub mod view;

pub mod explain;

pub mod escape;

pub mod who;

pub mod words;

pub mod sink;

pub mod study;

pub mod store;

pub mod report;

#[cfg(feature = "parquet")]
pub mod export;

pub mod tally;

#[cfg(feature = "metrics")]
pub mod metrics;

pub mod config;

#[cfg(feature = "otlp")]
pub mod otlp;

pub mod agent;

pub mod pipeline;

pub mod recording;

pub mod expect;

pub mod replay;

pub mod timeline;

pub mod doctor;

pub mod sockets;

#[cfg(feature = "tui")]
pub mod top;

pub mod cli;
