//! Rare warnings of the kernel side, through aya-log: a build feature, never on a path that runs per
//! datagram, and never a reason not to load.
//!
//! They are read whenever the rings are, because they come with records that were lost.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use crate::escape::escape;

/// Prints to standard error.
struct StandardError;

impl Log for StandardError {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        eprintln!("notify-trace: kernel side: {}", escape(text.as_bytes()));
    }

    fn flush(&self) {}
}

/// The reader of the warnings.
pub struct KernelLog(Option<EbpfLogger<StandardError>>);

impl KernelLog {
    /// Takes the warnings' ring; without one there are no warnings.
    #[must_use]
    pub fn take(ebpf: &mut Ebpf) -> Self {
        Self(EbpfLogger::init_with_logger(ebpf, StandardError).ok())
    }

    /// Prints what has come.
    pub fn print(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.flush();
        }
    }
}
