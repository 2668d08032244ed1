//! `sockets`: from arguments to rules, and from the report to the output.

use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cli::args::SocketsArgs;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, columns_of_output};
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
