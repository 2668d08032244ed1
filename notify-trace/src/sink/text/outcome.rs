//! Conclusions in words. They begin with a sign of their own, so that nobody takes them for a row.

use super::layout::Part;
use super::style::Style;
use crate::correlate::outcome::{
    Certainty, Forward, Phase, PhaseName, Relay, Repeats, Subject, Verdict,
};
use crate::words;

fn part(text: impl Into<String>, style: Style) -> Part {
    Part {
        text: text.into(),
        style,
    }
}

/// `app.service`, `backup.service (user 1000)`, `docker:web`, `app[17]`.
pub(crate) fn subject(subject: &Subject) -> Option<String> {
    let unit = subject.unit.as_ref().map(|unit| {
        let unit = words::unit(unit);
        match subject.user {
            Some(uid) => format!("{unit} (user {uid})"),
            None => unit,
        }
    });
    subject
        .container
        .clone()
        .or(unit)
        .or_else(|| process(subject))
}

/// `app[17]`.
fn process(subject: &Subject) -> Option<String> {
    let pid = subject.pid?;
    let comm = subject.comm.as_deref().unwrap_or("?");
    Some(format!("{comm}[{pid}]"))
}

/// `#1, #2`.
pub(crate) fn numbers(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("#{id}")).collect();
    ids.join(", ")
}

/// Which verdict, about whom, and how sure.
pub(in crate::sink) fn verdict_title(verdict: &Verdict) -> Vec<Part> {
    let kind = words::serde_word(&verdict.kind);
    let (mark, style) = match verdict.certainty {
        Certainty::Certain => ("certain", Style::Bad),
        Certainty::Inferred => ("inferred", Style::Odd),
    };
    let mut title = vec![part(format!("✗{} {kind}", verdict.number), style)];
    title.push(part(format!("({mark})"), Style::Quiet));
    title.extend(subject(&verdict.subject).map(|text| part(text, Style::Unit)));
    if !verdict.about.is_empty() {
        title.push(part(numbers(&verdict.about), Style::Plain));
    }
    title
}

/// What, by which evidence, by which rule, and what helps.
pub(in crate::sink) fn verdict_lines(verdict: &Verdict) -> Vec<Part> {
    let mut lines = vec![part(verdict.what.clone(), Style::Plain)];
    let seen = verdict.evidence.iter();
    lines.extend(seen.map(|seen| part(format!("seen: {seen}"), Style::Plain)));
    lines.extend(
        verdict
            .rule
            .map(|rule| part(format!("rule: {rule}"), Style::Quiet)),
    );
    lines.extend(
        verdict
            .remedy
            .map(|remedy| part(format!("helps: {remedy}"), Style::Good)),
    );
    lines
}

/// `↪ runc[200] (box.service)  #1 → #2 after 3 ms  forwarded READY  dropped STATUS  added MAINPID=7`.
pub(super) fn relay(relay: &Relay) -> Vec<Part> {
    let mut parts = vec![part(format!("↪ {}", proxy(&relay.proxy)), Style::Unit)];
    parts.push(match relay.sent.first() {
        Some(first) => part(
            format!("#{} → {}", relay.notification, sent(first)),
            Style::Plain,
        ),
        None => part(
            format!("#{}: nothing was passed on", relay.notification),
            Style::Bad,
        ),
    });
    parts.extend(relay_facts(relay));
    parts
}

/// A proxy: its process and where it belongs.
pub(crate) fn proxy(of: &Subject) -> String {
    let process = process(of).unwrap_or_else(|| "a process".to_owned());
    let unit = of.unit.as_deref().map(words::unit);
    match of.container.clone().or(unit) {
        Some(unit) => format!("{process} ({unit})"),
        None => process,
    }
}

fn sent(first: &Forward) -> String {
    let doubt = if first.or_for.is_empty() {
        String::new()
    } else {
        format!(" (or for {}: nothing tells)", numbers(&first.or_for))
    };
    format!(
        "#{} after {}{doubt}",
        first.notification,
        words::duration(first.hop_ns)
    )
}

/// What became of the fields.
pub(in crate::sink) fn relay_facts(relay: &Relay) -> Vec<Part> {
    let lists = [
        ("forwarded", &relay.forwarded, Style::Good),
        ("dropped", &relay.dropped, Style::Odd),
        ("added", &relay.added, Style::Plain),
    ];
    lists
        .into_iter()
        .filter(|(_, list, _)| !list.is_empty())
        .map(|(name, list, style)| part(format!("{name} {}", list.join(" ")), style))
        .collect()
}

/// A hop in a line: by whom, and what became of the fields.
pub(crate) fn relay_words(relay: &Relay) -> String {
    let facts: Vec<String> = relay_facts(relay).into_iter().map(|it| it.text).collect();
    format!("{}: {}", proxy(&relay.proxy), facts.join("; "))
}

/// `● app.service  ready 1.4 s after its start  #7`.
pub(super) fn phase(phase: &Phase) -> Vec<Part> {
    let who = subject(&phase.subject).unwrap_or_default();
    let mut parts = vec![part(format!("● {who}"), Style::Unit)];
    parts.push(part(phase_words(phase), Style::Good));
    if !phase.about.is_empty() {
        parts.push(part(numbers(&phase.about), Style::Quiet));
    }
    parts
}

/// A phase without its subject.
pub(crate) fn phase_words(phase: &Phase) -> String {
    let took = phase.took_ns.map(words::duration);
    let facts = phase.facts.join(", ");
    match (phase.phase, took) {
        (PhaseName::Start, Some(took)) => format!("ready {took} after its start began"),
        (PhaseName::Start, None) => "ready".to_owned(),
        (PhaseName::Reload, Some(took)) => format!("reloaded in {took}"),
        (PhaseName::Reload, None) => "reloaded".to_owned(),
        (PhaseName::Stop, Some(took)) => format!("exited {took} after STOPPING=1"),
        (PhaseName::Stop, None) => "exited after STOPPING=1".to_owned(),
        (PhaseName::Watchdog, _) => format!("watchdog: {facts}"),
        (PhaseName::FdStore, _) => format!("handed over: {facts}"),
        (PhaseName::Extensions | PhaseName::Barriers, _) => facts,
        (PhaseName::Status, _) => format!("status: {}", phase.facts.join(" → ")),
    }
}

/// `✗3 41 times more, the last time now`.
pub(super) fn repeats(repeats: Repeats) -> Vec<Part> {
    let times = words::count(repeats.times, "time", "times");
    vec![
        part(format!("✗{}", repeats.verdict), Style::Odd),
        part(
            format!("the same {times} more, the last at this time"),
            Style::Plain,
        ),
    ]
}
