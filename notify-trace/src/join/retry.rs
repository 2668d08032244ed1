//! Recognises that a datagram repeats a refused one.
//!
//! libsystemd attaches credentials when it speaks for another process, and if the kernel refuses
//! them it sends the same again without: one notification, two calls.

use notify_trace_common::address::Address;
use notify_trace_common::record::{
    Outcome, SEND_CONNECTED, SEND_NOT_COPIED, SEND_SENDER_UNKNOWN, Send,
};

use crate::names::Recent;

/// Within this time a repetition is one.
const WITHIN_NS: u64 = 100_000_000;

/// Of how many threads the last refusal is remembered.
const THREADS: usize = 4096;

const EPERM: i32 = 1;

/// The last refused attempt of each thread.
#[derive(Debug)]
pub(super) struct Refusals {
    by_thread: Recent<u32, Refused>,
}

#[derive(Debug)]
struct Refused {
    number: u64,
    time_ns: u64,
    len: u32,
    is_connected: bool,
    address: Address,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            by_thread: Recent::new(THREADS),
        }
    }

    /// Remembers an attempt, if it was refused before any byte was copied.
    pub(super) fn remember(&mut self, send: &Send, outcome: &Outcome, number: u64) {
        let is_refused = outcome.ret == -EPERM && send.flags & SEND_NOT_COPIED != 0;
        if is_refused && send.flags & SEND_SENDER_UNKNOWN == 0 {
            let refused = Refused {
                number,
                time_ns: send.header.time_ns,
                len: send.len,
                is_connected: send.flags & SEND_CONNECTED != 0,
                address: send.address,
            };
            self.by_thread.insert(send.sender.tid, refused);
        }
    }

    /// The number of the attempt that this one repeats; no other one repeats it any more.
    pub(super) fn repeated_by(&mut self, send: &Send, number: u64) -> Option<u64> {
        let tid = send.sender.tid;
        let refused = self.by_thread.get(&tid)?;
        let is_repetition = refused.number != number
            && send.flags & SEND_SENDER_UNKNOWN == 0
            && send
                .header
                .time_ns
                .checked_sub(refused.time_ns)
                .is_some_and(|after_ns| after_ns <= WITHIN_NS)
            && refused.len == send.len
            && refused.is_connected == (send.flags & SEND_CONNECTED != 0)
            && refused.address == send.address;
        if is_repetition {
            self.by_thread.remove(&tid).map(|refused| refused.number)
        } else {
            None
        }
    }
}
