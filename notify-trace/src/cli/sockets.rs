//! `sockets`: from arguments to rules, and from the report to the output.

use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cli::args::{Format, SocketsArgs};
use crate::cli::exit::Exit;
use crate::select::Rules;
use crate::sink::json;
use crate::sockets::{look, render};

/// Runs the verb.
///
/// # Errors
/// If a pattern can't be one, there is no `/proc`, or the output can't be written.
pub fn run(args: &SocketsArgs) -> Result<Exit> {
    let rules = Rules::new(&args.socket, &args.only_socket, args.internal)?;
    let report = look::look(Path::new("/proc"), &rules, !args.only_socket.is_empty())?;
    let mut output = BufWriter::new(io::stdout().lock());
    let written = match args.output {
        Format::Text => render::write(&mut output, &report, terminal_columns()),
        Format::Json => json::write_line(&mut output, &report),
    };
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(Exit::Success),
    }
}

/// The width of the terminal, if the output goes to one.
fn terminal_columns() -> Option<usize> {
    let output = io::stdout();
    if !output.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&output).ok()?;
    // A terminal that doesn't know its width says 0.
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}
