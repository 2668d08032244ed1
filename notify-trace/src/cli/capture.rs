//! What is captured: options that the verbs that capture share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::view::ViewArgs;
use crate::event::PlanName;
use crate::quantity::{parse_duration, parse_size};

/// What is captured: the arguments that `trace` and `record` share.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// Stop after this time, such as 30s, 5m, 500ms
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Stop after this many notifications
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Go on for this time after the command has ended, so that what it caused is seen too
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "500ms")]
    pub settle: Duration,

    /// Also show datagrams to sockets whose address matches: a path, or @NAME for an abstract one;
    /// * is any run of characters but /, ** any run at all
    #[arg(long, value_name = "GLOB")]
    pub socket: Vec<String>,

    /// Show datagrams to these sockets only, instead of those known as notify sockets
    #[arg(long, value_name = "GLOB")]
    pub only_socket: Vec<String>,

    /// Also show what systemd-udevd, importd and the like tell their own helpers' sockets
    /// (abstract names of digits; many datagrams)
    #[arg(long)]
    pub internal: bool,

    /// Only what these processes send (repeatable); decided in the kernel
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,

    /// Only what is sent from this cgroup and those below it (repeatable): a path below the cgroup
    /// v2 root, such as /system.slice/nginx.service; decided in the kernel
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<PathBuf>,

    /// End with exit code 5 if anything was lost
    #[arg(long)]
    pub fail_on_loss: bool,

    /// Size of each CPU's ring in bytes (K and M are understood), rounded up to a power of two of
    /// pages; by default all CPUs share 16M, at least 1M and at most 4M for each, as far as the
    /// limit of locked memory allows
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub ring_size: Option<u64>,

    /// How to trace; by default the best plan that works on this kernel
    #[arg(long, value_enum, default_value_t = PlanArg::Auto)]
    pub plan: PlanArg,

    /// Type information of this very kernel, where the kernel itself has none
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,

    /// Save the kernel programs' records to this file as they are, for a report of a defect
    #[arg(long, value_name = "FILE", hide = true, conflicts_with_all = ["redact", "keys_only"])]
    pub save_records: Option<PathBuf>,

    /// What is shown.
    #[command(flatten)]
    pub view: ViewArgs,

    /// Trace until this command has ended
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanArg {
    /// The best that works.
    Auto,
    /// Trampolines only: the cheapest, for kernels that preempt none.
    Trampolines,
    /// kprobes and trampolines.
    Full,
    /// kprobes only.
    NoTrampolines,
    /// Raw tracepoints only.
    Tracepoints,
}

impl PlanArg {
    /// The plan that is forced, if any.
    #[must_use]
    pub const fn forced(self) -> Option<PlanName> {
        match self {
            Self::Auto => None,
            Self::Trampolines => Some(PlanName::Trampolines),
            Self::Full => Some(PlanName::Full),
            Self::NoTrampolines => Some(PlanName::NoTrampolines),
            Self::Tracepoints => Some(PlanName::Tracepoints),
        }
    }
}
