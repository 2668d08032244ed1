//! What came of expectations, in words that need no knowledge of this tool.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::grammar::{Expectation, Step};
use super::heard::{Heard, Message};
use super::judge::{Failure, Standing, is_from};
use crate::correlate::outcome::Certainty;
use crate::escape::harmless;
use crate::event::DeliveryState;
use crate::words;

/// Most messages, and verdicts, that are shown of a failed expectation.
const SHOWN: usize = 20;

/// An expectation and how it stands.
pub type Result<'a> = (&'a Expectation, Standing);

/// For people: a line for each that is met; for others why, what came instead, and what is known of that.
///
/// # Errors
/// If it can't be written.
pub fn text(out: &mut dyn Write, results: &[Result<'_>], heard: &Heard) -> io::Result<()> {
    for (expectation, standing) in results {
        match standing {
            Standing::Met {
                after_ns: Some(after_ns),
            } => writeln!(
                out,
                "✓ {}  (after {})",
                expectation.text,
                words::duration(*after_ns)
            )?,
            Standing::Met { after_ns: None } => writeln!(out, "✓ {}", expectation.text)?,
            Standing::Failed(failure) => failed(out, expectation, failure, heard)?,
            Standing::Open { .. } => {
                writeln!(out, "✗ {}\n    nothing more was heard", expectation.text)?;
            }
        }
    }
    if heard.has_losses {
        writeln!(
            out,
            "! something was lost: what was not heard may have been sent"
        )?;
    }
    Ok(())
}

fn failed(
    out: &mut dyn Write,
    expectation: &Expectation,
    failure: &Failure,
    heard: &Heard,
) -> io::Result<()> {
    writeln!(out, "✗ {}", expectation.text)?;
    writeln!(out, "    {}", why(expectation, failure))?;
    let number = match failure {
        Failure::Missing { step, .. } | Failure::TooMany { step, .. } => *step,
        Failure::Came(_) | Failure::Lost => 0,
    };
    let step = &expectation.steps[number];
    let from: Vec<&Message> = heard
        .messages
        .iter()
        .filter(|it| is_from(step, it))
        .collect();
    if from.is_empty() {
        return nobody(out, step, heard);
    }
    writeln!(out, "    what was sent from there:")?;
    let began_ns = heard.began_ns.unwrap_or(0);
    let rest = from.len().saturating_sub(SHOWN);
    // The last ones are nearest to where it went wrong.
    if rest > 0 {
        writeln!(out, "      … {rest} before these")?;
    }
    for it in &from[rest..] {
        let at = words::duration(it.at_ns.saturating_sub(began_ns));
        writeln!(
            out,
            "      #{} after {at}  {}  {}",
            it.id,
            it.text(),
            fate(it)
        )?;
    }
    verdicts(out, &from, heard)
}

fn why(expectation: &Expectation, failure: &Failure) -> String {
    let within = |step: usize| {
        expectation.steps[step]
            .within
            .map_or_else(String::new, |it| {
                let ns = u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
                let from = if step == 0 {
                    "of the beginning"
                } else {
                    "of the one before"
                };
                format!(" within {} {from}", words::duration(ns))
            })
    };
    let part = |step: usize| {
        if expectation.steps.len() > 1 {
            format!(" (part {} of {})", step + 1, expectation.steps.len())
        } else {
            String::new()
        }
    };
    match failure {
        Failure::Missing {
            step,
            found,
            wanted,
            late_ns,
        } => {
            let late = late_ns.map_or_else(String::new, |ns| {
                format!("; one came too late, after {}", words::duration(ns))
            });
            let found = match found {
                0 => "none was accepted".to_owned(),
                found => format!("only {found} of {wanted} were accepted"),
            };
            format!("{found}{}{}{late}", within(*step), part(*step))
        }
        Failure::TooMany {
            step,
            found,
            allowed,
        } => format!(
            "{found} came{}, {allowed} are allowed{}",
            within(*step),
            part(*step)
        ),
        Failure::Came(id) => format!("it came: #{id}"),
        Failure::Lost => {
            "nothing came that should not, but something was lost meanwhile, which may have been \
                          that"
                .to_owned()
        }
    }
}

fn nobody(out: &mut dyn Write, step: &Step, heard: &Heard) -> io::Result<()> {
    let names: Vec<String> = step
        .senders
        .iter()
        .map(|(_, glob)| harmless(glob))
        .collect();
    writeln!(out, "    nothing at all was sent by {}", names.join(", "))?;
    let from_here = heard
        .messages
        .iter()
        .filter_map(|it| it.subject.unit.as_ref());
    let mut others: Vec<String> = heard
        .others
        .iter()
        .chain(from_here)
        .map(|it| harmless(it))
        .collect();
    others.sort();
    others.dedup();
    if others.is_empty() {
        return writeln!(out, "    nor by anybody else that is known");
    }
    let rest = others.len().saturating_sub(SHOWN);
    others.truncate(SHOWN);
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    writeln!(
        out,
        "    others that sent something: {}{more}",
        others.join(", ")
    )
}

fn fate(it: &Message) -> String {
    let state = match it.state {
        DeliveryState::Delivered if it.refused.is_some() => "delivered, but not accepted",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "could not be sent",
        DeliveryState::Sending => "the sender waited",
        DeliveryState::Queued => "not read",
        DeliveryState::Filtered => "dropped by the receiver's filter",
        DeliveryState::Destroyed => "destroyed unread",
        DeliveryState::Unknown => "what came of it is unknown",
    };
    format!("[{state}]")
}

/// What was concluded about these messages, and about units that should have spoken.
fn verdicts(out: &mut dyn Write, from: &[&Message], heard: &Heard) -> io::Result<()> {
    let about: Vec<_> = heard
        .verdicts
        .iter()
        .filter(|verdict| {
            from.iter().any(|it| {
                verdict.about.contains(&it.id)
                    || (verdict.subject.unit.is_some() && verdict.subject.unit == it.subject.unit)
            })
        })
        .take(SHOWN)
        .collect();
    if about.is_empty() {
        return Ok(());
    }
    writeln!(out, "    why:")?;
    for verdict in about {
        let sure = match verdict.certainty {
            Certainty::Certain => "",
            Certainty::Inferred => " (inferred)",
        };
        writeln!(out, "      {}{sure}", harmless(&verdict.what))?;
        for seen in &verdict.evidence {
            writeln!(out, "        seen: {}", harmless(seen))?;
        }
        if let Some(remedy) = verdict.remedy {
            writeln!(out, "        helps: {remedy}")?;
        }
    }
    Ok(())
}

/// The same as a JSON document.
#[must_use]
pub fn document(results: &[Result<'_>], heard: &Heard) -> Value {
    let began_ns = heard.began_ns.unwrap_or(0);
    let of = |(expectation, standing): &Result<'_>| {
        let (met, after_ns, why) = match standing {
            Standing::Met { after_ns } => (true, *after_ns, None),
            Standing::Failed(failure) => (false, None, Some(why(expectation, failure))),
            Standing::Open { .. } => (false, None, Some("nothing more was heard".to_owned())),
        };
        let sent: Vec<Value> = heard
            .messages
            .iter()
            .filter(|it| !met && expectation.steps.iter().any(|step| is_from(step, it)))
            .map(|it| {
                json!({
                    "id": it.id,
                    "after_ns": it.at_ns.saturating_sub(began_ns),
                    "text": it.text(),
                    "state": it.state,
                    "refused": it.refused,
                })
            })
            .collect();
        json!({
            "expectation": expectation.text,
            "met": met,
            "after_ns": after_ns,
            "why": why,
            "sent": sent,
        })
    };
    json!({
        "met": results.iter().all(|(_, standing)| matches!(standing, Standing::Met { .. })),
        "expectations": results.iter().map(of).collect::<Vec<_>>(),
        "has_losses": heard.has_losses,
        "verdicts": heard.verdicts,
    })
}
