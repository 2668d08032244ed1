//! `sockets`: from arguments to rules, and from the report to the output.

use clap::Args;
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cli::exit::Exit;
use crate::cli::output::{Format, columns_of_output};
use crate::select::Rules;
use crate::sink::json;
use crate::sockets::{look, render};

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace sockets
      every notify socket with its owner, its queue and the processes that have it as NOTIFY_SOCKET
  notify-trace sockets -o json
      the same as one JSON document
  notify-trace sockets --only-socket /run/systemd/notify
      the system manager's, and the services that report to it

Nothing is attached to what others call. Without root only one's own processes can be looked at; what could not be seen
is said at the end.";

/// Arguments of `sockets`.
#[derive(Debug, Args)]
pub struct SocketsArgs {
    /// How to print: text for people, or one JSON document (docs/sockets.md explains every field)
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,

    /// Also show sockets whose address matches: a path, or @NAME for an abstract one; * is any run
    /// of characters but /, ** any run at all
    #[arg(long, value_name = "GLOB")]
    pub socket: Vec<String>,

    /// Show these sockets only, instead of those known as notify sockets and those in the
    /// environments of processes
    #[arg(long, value_name = "GLOB")]
    pub only_socket: Vec<String>,

    /// Also show the sockets by which systemd-udevd, importd and the like hear their own helpers
    /// (abstract names of digits)
    #[arg(long)]
    pub internal: bool,
}

/// Runs the verb.
///
/// # Errors
/// If a pattern can't be one, there is no `/proc`, or the output can't be written.
pub fn run(args: &SocketsArgs) -> Result<Exit> {
    let rules = Rules::new(&args.socket, &args.only_socket, args.internal)?;
    let report = look::look(Path::new("/proc"), &rules, !args.only_socket.is_empty())?;
    let mut output = BufWriter::new(io::stdout().lock());
    let written = match args.output {
        Format::Text => render::write(&mut output, &report, columns_of_output()),
        Format::Json => json::write_line(&mut output, &report),
    };
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(Exit::Success),
    }
}
