//! `timeline`: from recordings to a picture.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use crate::cli::exit::Exit;
use crate::cli::replay::{Source, missing, warn};
use crate::cli::view::ViewArgs;
use crate::escape;
use crate::replay::replay;
use crate::sink::file::create;
use crate::timeline::collect::Collector;
use crate::timeline::{html, perfetto, svg};

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace timeline boot.ntrec -o boot.html
      a page for any browser: what started when, what was slow, what failed and why
  notify-trace timeline before.ntrec after.ntrec -o update.svg --unit nginx
      two recordings of one service below each other, as a picture
  notify-trace timeline boot.jsonl -o boot.json --keys-only
      a trace for Perfetto's UI, without values";

/// Arguments of `timeline`.
#[derive(Debug, Args)]
pub struct TimelineArgs {
    /// Recordings of record, or JSON Lines of trace (--output json, or --write); - is the standard
    /// input, for JSON Lines only. Several are drawn below each other, on one axis
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// The file that is written, for its owner only (mode 0600); - is the standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// What is written; by default as the file's ending says: .html, .svg, or .json for Perfetto
    #[arg(long, value_enum)]
    pub format: Option<Picture>,

    /// Times in UTC instead of the time zone of this host
    #[arg(long)]
    pub utc: bool,

    /// What is drawn.
    #[command(flatten)]
    pub view: ViewArgs,
}

/// Kinds of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Picture {
    /// A page with filter, zoom and details; it needs no network.
    Html,
    /// A static picture.
    Svg,
    /// A trace for Perfetto's UI and whatever else reads Chrome's format.
    Perfetto,
}

/// Runs `timeline`.
///
/// # Errors
/// If a recording can't be read or the picture can't be written.
pub fn run(args: &TimelineArgs) -> Result<Exit> {
    let picture = picture(args.format, &args.output)?;
    let options = args.view.options()?;
    let sources = args
        .files
        .iter()
        .map(|file| Ok((file, Source::open(file)?)))
        .collect::<Result<Vec<_>>>()?;
    refuse_overwriting(args)?;
    let mut out = open(&args.output)?;
    let mut collector = Collector::default();
    for (file, source) in sources {
        source.each(&mut |input, session| {
            let replayed = replay(input, &options, true, &mut collector)
                .with_context(|| format!("timeline {}", escape::path(file)))?;
            warn(replayed.left_out, session);
            for text in missing(replayed.left_out, session) {
                collector.note(text);
            }
            Ok(())
        })?;
    }
    let zone = if args.utc {
        TimeZone::UTC
    } else {
        TimeZone::system()
    };
    let timeline = collector.finish(&zone);
    let written = match picture {
        Picture::Html => html::write(&timeline, &mut out),
        Picture::Svg => svg::write(&timeline, &mut out),
        Picture::Perfetto => perfetto::write(&timeline, &mut out),
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).with_context(|| format!("cannot write {}", escape::path(&args.output)))
        }
        _ => Ok(Exit::Success),
    }
}

/// What is asked for, or what the ending says.
fn picture(format: Option<Picture>, output: &Path) -> Result<Picture> {
    if let Some(format) = format {
        return Ok(format);
    }
    let ending = output.extension().and_then(|ending| ending.to_str());
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("html" | "htm") => Ok(Picture::Html),
        Some("svg") => Ok(Picture::Svg),
        Some("json") => Ok(Picture::Perfetto),
        _ => bail!(
            "-o {}: nothing says what is to be written: let the name end in .html, .svg or .json, or \
             give --format html, svg or perfetto",
            escape::path(output)
        ),
    }
}

/// A recording is not written over by its own picture.
fn refuse_overwriting(args: &TimelineArgs) -> Result<()> {
    let Ok(output) = args.output.canonicalize() else {
        return Ok(());
    };
    for file in &args.files {
        if file.canonicalize().is_ok_and(|file| file == output) {
            bail!(
                "-o {}: that is the recording itself; give another file",
                escape::path(&args.output)
            );
        }
    }
    Ok(())
}

/// Opens the output, so that a wrong path is noticed before the work begins.
fn open(path: &Path) -> Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout().lock())));
    }
    let file = create(path).with_context(|| {
        format!(
            "-o {}: the file can't be opened for writing",
            escape::path(path)
        )
    })?;
    Ok(Box::new(BufWriter::new(file)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Verb};

    const RECORDING: &str = r#"{"type":"session","format_version":1,"tool_version":"0","command_line":[],"time":"2026-11-24T12:00:00Z","monotonic_ns":0,"host":"h","kernel":"6.12","machine":"x86_64","cpus":1,"ring_bytes":4096,"plan":{"name":"full","reason":"","programs":{}},"rules":[]}
"#;

    fn draw(arguments: &[&str]) -> Result<Exit> {
        let words = ["notify-trace", "timeline"].iter().chain(arguments);
        match Cli::try_parse_from(words)?.verb {
            Verb::Timeline(args) => run(&args),
            _ => panic!("another verb"),
        }
    }

    #[test]
    fn a_picture_is_its_owners_alone_and_no_recording_is_written_over() {
        let folder = std::env::temp_dir().join(format!("nt-timeline-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let place = |name: &str| folder.join(name).display().to_string();
        let recording = place("boot.jsonl");
        fs::write(&recording, RECORDING).expect("room");
        for (name, beginning) in [
            ("x.html", "<!doctype html>"),
            ("x.svg", "<svg"),
            ("x.json", "{\"traceEvents\":["),
        ] {
            let to = place(name);
            draw(&[&recording, "--output", &to]).expect("a picture");
            let mode = fs::metadata(&to).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let text = fs::read_to_string(&to).expect("text");
            assert!(text.starts_with(beginning), "{text}");
        }
        let same = draw(&[&recording, "--output", &recording, "--format", "svg"]);
        assert!(same.is_err());
        assert_eq!(fs::read_to_string(&recording).expect("text"), RECORDING);
        let nowhere = draw(&[&recording, "--output", &place("no/such/x.svg")]);
        let error = format!("{:#}", nowhere.expect_err("no such folder"));
        assert!(error.contains("can't be opened for writing"), "{error}");
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn the_files_ending_says_what_is_written_unless_that_is_said() {
        let by = |format, path: &str| picture(format, Path::new(path)).ok();
        assert_eq!(by(None, "a.html"), Some(Picture::Html));
        assert_eq!(by(None, "a.b.SVG"), Some(Picture::Svg));
        assert_eq!(by(None, "a.json"), Some(Picture::Perfetto));
        assert_eq!(by(None, "a.jsonl"), None);
        assert_eq!(by(None, "-"), None);
        assert_eq!(by(Some(Picture::Svg), "-"), Some(Picture::Svg));
    }
}
