//! A recording through the stages behind it: what is shown, what follows of it, the sink.

use std::io::{self, BufRead};

use anyhow::{Context as _, Result};

use crate::correlate::outcome::Outcome;
use crate::event::{Event, Summary};
use crate::explain::{Explain, Shown};
use crate::recording::{self, LeftOut};
use crate::sink::Sink;
use crate::tally::Tally;
use crate::view::ViewOptions;

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Verdicts that were shown.
    pub verdicts: u64,
    /// What was not taken of the recording.
    pub left_out: LeftOut,
}

/// Reads all of a recording and shows it.
///
/// # Errors
/// If it can't be read, or the sink says so; a closed pipe is an end like any other.
pub fn replay(
    input: &mut dyn BufRead,
    options: &ViewOptions,
    with_outcomes: bool,
    sink: &mut dyn Sink,
) -> Result<Replayed> {
    let mut stage = Stage {
        explain: Explain::new(options.clone(), with_outcomes),
        view: options.describe(),
        tally: Tally::default(),
        verdicts: 0,
        failed: None,
    };
    let result = recording::read(input, &mut |event| stage.take(event, sink));
    if !matches!(&result, Ok(left_out) if !left_out.is_open) {
        stage.finish(sink);
    }
    let flushed = sink.flush();
    let left_out = match stage.failed.take().or(flushed.err()) {
        // What came before the trouble has been shown.
        None => result?,
        // Whoever looks has seen enough.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => LeftOut::default(),
        Some(error) => return Err(error).context("cannot write the output"),
    };
    Ok(Replayed {
        verdicts: stage.verdicts,
        left_out,
    })
}

/// The stages, and what is counted on the way.
struct Stage {
    explain: Explain,
    view: Vec<String>,
    tally: Tally,
    verdicts: u64,
    failed: Option<io::Error>,
}

impl Stage {
    /// Takes an event; whether another is wanted.
    fn take(&mut self, mut event: Event, sink: &mut dyn Sink) -> bool {
        if let Event::Session(session) = &mut event {
            session.view.extend(self.view.iter().cloned());
        }
        let mut shown = Vec::new();
        self.explain.take(event, &mut |it| shown.push(it));
        self.write(shown, sink);
        self.failed.is_none()
    }

    fn finish(&mut self, sink: &mut dyn Sink) {
        let mut shown = Vec::new();
        self.explain.finish(&mut |it| shown.push(it));
        self.write(shown, sink);
    }

    fn write(&mut self, shown: Vec<Shown>, sink: &mut dyn Sink) {
        for it in shown {
            if self.failed.is_some() {
                return;
            }
            let result = match it {
                Shown::Event(mut event) => {
                    self.tally.take(&event);
                    if let Event::Summary(summary) = &mut event
                        && !self.view.is_empty()
                    {
                        recount(summary, &self.tally, self.explain.left_out());
                    }
                    sink.event(&event)
                }
                Shown::Outcome(outcome) => {
                    self.verdicts += u64::from(matches!(outcome, Outcome::Verdict(_)));
                    sink.outcome(&outcome)
                }
            };
            self.failed = result.err();
        }
    }
}

/// The summary speaks of the lines before it.
fn recount(summary: &mut Summary, tally: &Tally, left_out: u64) {
    summary.notifications = tally.notifications;
    summary.delivered = tally.delivered;
    summary.failed = tally.failed;
    summary.filtered = tally.filtered;
    summary.destroyed = tally.destroyed;
    summary.open = tally.open();
    summary.connect_failed = tally.connect_failed;
    summary.left_out += left_out;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample, session, summary};
    use crate::sink::Json;
    use crate::view::filter::Filter;

    fn recording() -> String {
        let lost = |unit: &str, id: u64| {
            let it = Sample::new("READY=1")
                .id(id)
                .at(id * S)
                .from("helper", 101, unit)
                .gone()
                .build();
            Event::Send(Box::new(it))
        };
        let summary = summary("12:01:00", 60 * S);
        let events = [
            session(),
            lost("a.service", 1),
            lost("b.service", 2),
            summary,
        ];
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        for event in &events {
            json.event(event).expect("a vector takes all");
        }
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    fn run(options: &ViewOptions, with_outcomes: bool) -> (String, Replayed) {
        let mut out = Vec::new();
        let replayed = replay(
            &mut recording().as_bytes(),
            options,
            with_outcomes,
            &mut Json::new(&mut out),
        )
        .expect("a recording");
        (String::from_utf8(out).expect("JSON is UTF-8"), replayed)
    }

    #[test]
    fn a_recording_is_shown_as_it_was() {
        let (text, replayed) = run(&ViewOptions::default(), false);
        assert_eq!(text, recording());
        assert_eq!(replayed, Replayed::default());
    }

    #[test]
    fn conclusions_stand_between_the_events_and_before_the_summary() {
        let (text, replayed) = run(&ViewOptions::default(), true);
        assert_eq!(replayed.verdicts, 2);
        assert!(text.contains(r#""type":"verdict""#), "{text}");
        let last = text.lines().last().expect("a line");
        assert!(last.contains(r#""type":"summary""#), "{last}");
    }

    #[test]
    fn the_summary_counts_what_is_shown() {
        let options = ViewOptions {
            filter: Filter {
                units: vec!["a.service".to_owned()],
                ..Filter::default()
            },
            ..ViewOptions::default()
        };
        let (text, replayed) = run(&options, true);
        assert_eq!(replayed.verdicts, 1);
        let last = text.lines().last().expect("a line");
        assert!(last.contains(r#""notifications":1"#), "{last}");
        assert!(last.contains(r#""left_out":1"#), "{last}");
        let first = text.lines().next().expect("a line");
        assert!(first.contains("unit=a.service"), "{first}");
    }
}
