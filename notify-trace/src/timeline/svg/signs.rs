//! Signs and colours. Each kind has a shape of its own, so that colours are only a help; they are those of
//! Okabe and Ito, which look different to everybody.

use std::io::{self, Write};

use crate::timeline::embed::xml;
use crate::timeline::model::{Mark, MarkKind, MarkState};

/// Colours and type, for both schemes.
pub(super) const STYLE: &str = "\
text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1b1f24}\
.page{fill:#fff}.title{font-size:20px;font-weight:600}.heading{font-size:15px;font-weight:600}\
.quiet,.tick,.more{fill:#57606a}.tick{font-size:11px;text-anchor:middle}\
.took{text-anchor:end;font-variant-numeric:tabular-nums;fill:#57606a}.more{font-size:10px;text-anchor:end}\
.flag{font-size:10px;font-weight:600}\
.bad,text.bad,text.flag.bad{fill:#b83d00}.odd,text.odd{fill:#8f5a00}text.bad,text.odd,tspan.bad,tspan.odd{font-weight:600}\
.band{fill:#f5f7f9}.grid{stroke:#dfe3e8}\
.start{fill:#9cc9e8;stroke:#0072b2}.slow{fill:#f3c566;stroke:#8f5a00}\
.failed{fill:url(#hatch);stroke:#d55e00}.hatch{fill:#f2b08a}.hatching{stroke:#d55e00;stroke-opacity:.55}.open{fill:none;stroke:#d55e00;stroke-dasharray:4 2}\
.reload{fill:#e5bdd3;stroke:#a8487f}.stop{fill:#c9ced4;stroke:#57606a}\
.ping{stroke:#8a939d}.hop{fill:none;stroke:#a8487f;stroke-width:1.3}\
.ready{fill:#009e73}.status{fill:#fff;stroke:#57606a;stroke-width:1.5}.other{fill:#57606a}\
.reloading{fill:#a8487f}.stopping{fill:#3d444d}.cross{stroke:#d55e00;stroke-width:2.5}\
.warning{fill:none;stroke:#8f5a00;stroke-width:1.5}.pending{stroke-dasharray:2 2}\
@media (prefers-color-scheme:dark){text{fill:#e6e9ed}.page{fill:#14171b}.band{fill:#1a1e23}\
.grid{stroke:#2d333b}.quiet,.tick,.more,.took{fill:#a0a8b2}.bad,text.bad{fill:#ff9560}.odd,text.odd{fill:#f3c566}\
.start{fill:#1d4e70;stroke:#56b4e9}.slow{fill:#6d5012;stroke:#f3c566}.failed{stroke:#ff9560}.hatch{fill:#6d3210}\
.reload{fill:#5b3049;stroke:#cc79a7}.stop{fill:#3d444d;stroke:#a0a8b2}.ready{fill:#2fc79a}\
.status{fill:#14171b;stroke:#a0a8b2}.other{fill:#a0a8b2}.stopping{fill:#c9ced4}.cross{stroke:#ff9560}\
.hop{stroke:#cc79a7}.reloading{fill:#cc79a7}}";

/// A message.
pub(super) fn mark(
    out: &mut dyn Write,
    x: f64,
    y: i64,
    mark: &Mark,
    title: &str,
) -> io::Result<()> {
    write!(out, "<g>")?;
    if mark.state == MarkState::Failed {
        cross(out, x, y)?;
    } else {
        let pending = if mark.state == MarkState::Open {
            " pending"
        } else {
            ""
        };
        sign(out, x, y, mark.kind, pending)?;
    }
    if mark.state == MarkState::Warning {
        write!(
            out,
            r#"<circle class="warning" cx="{x:.1}" cy="{y}" r="7"/>"#
        )?;
    }
    writeln!(out, "<title>{}</title></g>", xml(title))
}

fn cross(out: &mut dyn Write, x: f64, y: i64) -> io::Result<()> {
    write!(
        out,
        r#"<path class="cross" d="M{:.1} {} l9 9 m0 -9 l-9 9"/>"#,
        x - 4.5,
        y - 5
    )
}

fn sign(out: &mut dyn Write, x: f64, y: i64, kind: MarkKind, more: &str) -> io::Result<()> {
    match kind {
        MarkKind::Ready => write!(
            out,
            r#"<circle class="ready{more}" cx="{x:.1}" cy="{y}" r="4.5"/>"#
        ),
        MarkKind::Reloading => write!(
            out,
            r#"<path class="reloading{more}" d="M{x:.1} {} l5 5 l-5 5 l-5 -5 z"/>"#,
            y - 5
        ),
        MarkKind::Stopping => write!(
            out,
            r#"<rect class="stopping{more}" x="{:.1}" y="{}" width="8" height="8"/>"#,
            x - 4.0,
            y - 4
        ),
        MarkKind::Status => write!(
            out,
            r#"<circle class="status{more}" cx="{x:.1}" cy="{y}" r="3"/>"#
        ),
        MarkKind::Watchdog => write!(
            out,
            r#"<rect class="other{more}" x="{:.1}" y="{}" width="2" height="12"/>"#,
            x - 1.0,
            y - 6
        ),
        MarkKind::Other | MarkKind::Connect => write!(
            out,
            r#"<path class="other{more}" d="M{x:.1} {} l4 7 h-8 z"/>"#,
            y - 4
        ),
    }
}

/// What the signs mean.
pub(super) fn legend(out: &mut dyn Write, left: i64, y: i64) -> io::Result<()> {
    write!(
        out,
        r#"<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch" width="7" height="7"/><line class="hatching" x1="0" y1="0" x2="0" y2="7"/></pattern><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path class="reloading" d="M0 0 L8 4 L0 8 z"/></marker></defs>"#
    )?;
    let mut x = left;
    let bars = [
        ("start", "start to READY"),
        ("start slow", "slow"),
        ("start failed", "failed"),
        ("reload", "reload"),
        ("stop", "stop"),
    ];
    for (class, text) in bars {
        write!(
            out,
            r#"<rect class="{class}" x="{x}" y="{}" width="20" height="10" rx="2"/>"#,
            y - 5
        )?;
        x = label(out, x + 26, y, text)?;
    }
    let signs = [
        (MarkKind::Ready, "READY=1"),
        (MarkKind::Status, "STATUS="),
        (MarkKind::Reloading, "RELOADING=1"),
        (MarkKind::Stopping, "STOPPING=1"),
        (MarkKind::Other, "other"),
    ];
    for (kind, text) in signs {
        sign(
            out,
            f64::from(i32::try_from(x).unwrap_or(0)) + 5.0,
            y,
            kind,
            "",
        )?;
        x = label(out, x + 15, y, text)?;
    }
    let place = f64::from(i32::try_from(x).unwrap_or(0));
    write!(
        out,
        r#"<line class="ping" x1="{0:.1}" x2="{0:.1}" y1="{1}" y2="{2}"/>"#,
        place + 3.0,
        y - 3,
        y + 4
    )?;
    x = label(out, x + 10, y, "watchdog")?;
    cross(out, f64::from(i32::try_from(x).unwrap_or(0)) + 5.0, y)?;
    label(out, x + 15, y, "lost or refused")?;
    writeln!(out)
}

/// Writes it; where the next may begin.
fn label(out: &mut dyn Write, x: i64, y: i64, text: &str) -> io::Result<i64> {
    write!(
        out,
        r#"<text class="quiet" x="{x}" y="{}">{}</text>"#,
        y + 4,
        xml(text)
    )?;
    let characters = i64::try_from(text.chars().count()).unwrap_or(0);
    Ok(x + characters * 8 + 14)
}
