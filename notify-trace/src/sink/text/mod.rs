//! Text for people: one line for each notification, and one for each later fact about it.
//!
//! Parts of a line are separated by two spaces. All that comes from outside goes through
//! [`escape_field`](crate::escape::escape_field), which leaves no two spaces together, and only
//! assignments contain a `=` outside of quotes: no sender can write what looks like our own words.
//! Lines are cut at [`COLUMNS`]. `notification` writes a notification's line, `frame` what stands
//! around them, `words` is the vocabulary that both share.

mod frame;
mod notification;
mod words;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Sink;
use crate::event::{Event, PlanName};

/// No line is longer, in characters.
pub const COLUMNS: usize = 2000;

/// Writes text.
#[derive(Debug)]
pub struct Text<W> {
    out: W,
    zone: TimeZone,
    /// The day of the last line: a new one gets a line of its own.
    day: Option<Date>,
    /// What the plan can never know isn't repeated with each notification.
    plan: Option<PlanName>,
}

impl<W: Write> Text<W> {
    /// Writes to `out`, with times in `zone`.
    #[must_use]
    pub const fn new(out: W, zone: TimeZone) -> Self {
        Self {
            out,
            zone,
            day: None,
            plan: None,
        }
    }

    /// One line of parts that begins with the time of day.
    fn timed(&mut self, time: Timestamp, parts: Vec<String>) -> io::Result<()> {
        let local = time.to_zoned(self.zone.clone());
        if self.day != Some(local.date()) {
            if self.day.is_some() {
                self.line(&format!("# {}", local.date()))?;
            }
            self.day = Some(local.date());
        }
        let clock = local.strftime("%H:%M:%S%.6f");
        self.line(&format!("{clock}  {}", parts.join("  ")))
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        let mut line = words::cut(line, COLUMNS);
        line.push('\n');
        self.out.write_all(line.as_bytes())
    }

    fn lines(&mut self, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        lines
            .into_iter()
            .try_for_each(|line| self.line(&format!("# {line}")))
    }
}

impl<W: Write> Sink for Text<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Session(session) => {
                self.plan = Some(session.plan.name);
                let start = session.time.to_zoned(self.zone.clone());
                self.day = Some(start.date());
                self.lines(frame::session(session, &start))
            }
            Event::Send(notification) => {
                let parts = notification::parts(notification, self.plan);
                self.timed(notification.time, parts)
            }
            Event::Update(update) => match notification::update(update) {
                Some(parts) => self.timed(update.time, parts),
                None => Ok(()),
            },
            Event::ConnectFailed(failed) => {
                self.timed(failed.time, notification::connect_failed(failed))
            }
            Event::ReceiverClosed(closed) => {
                self.timed(closed.time, notification::receiver_closed(closed))
            }
            // Of use to those who conclude something of it; to the eye it is noise.
            Event::Exit(_) => Ok(()),
            Event::Loss(loss) => {
                let lost = format!(
                    "# LOST since the last such line: {}",
                    frame::losses(&loss.losses)
                );
                self.line(&lost)
            }
            Event::Summary(summary) => self.lines(frame::summary(summary)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
