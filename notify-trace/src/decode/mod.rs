//! From the bytes of a record to typed values.
//!
//! [`record`] reads what the kernel programs wrote, [`message`] the payload's grammar, [`errno`]
//! names error numbers. Everything here is a function of its arguments; what the values of one
//! datagram mean together is the business of [`join`](crate::join).

pub mod errno;
pub mod message;
pub mod record;

pub use record::{DecodeError, Record, decode};
