//! What happened to one unit: a summary of it, then messages and verdicts, the newest first.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::text::{Line, Span};

use super::cells::{age, fate_role, margin, role_of, span};
use super::theme::{Role, Theme};
use crate::escape::escape_field;
use crate::event::DeliveryState;
use crate::top::history::{Entry, Message, Note, Told};
use crate::top::row::Row;
use crate::words::{self, count};

/// Cells of the time, and of what became of a message.
const TIME: usize = 12;
const FATE: usize = 9;

/// What is needed to draw it.
#[derive(Clone, Copy, Debug)]
pub struct Canvas<'a> {
    /// Cells of a line.
    pub width: usize,
    /// The moment.
    pub now_ns: u64,
    /// The time zone.
    pub zone: &'a TimeZone,
    /// The colours.
    pub theme: Theme,
}

impl Canvas<'_> {
    fn span(&self, text: impl Into<String>, role: Role) -> Span<'static> {
        Span::styled(text.into(), self.theme.style(role))
    }

    fn time(&self, time: Timestamp) -> String {
        let local = time.to_zoned(self.zone.clone());
        local.strftime("%H:%M:%S%.3f").to_string()
    }
}

/// The name and what is known of the unit, in lines.
#[must_use]
pub fn summary(row: &Row, canvas: Canvas<'_>) -> Vec<Line<'static>> {
    let now_ns = canvas.now_ns;
    let condition = row.condition(now_ns);
    let name_role = if row.identity.is_container {
        Role::Container
    } else {
        Role::Name
    };
    let messages = count(row.messages, "message", "messages");
    let mut first = vec![
        canvas.span(row.identity.label.clone(), name_role),
        canvas.span("  ", Role::Plain),
        canvas.span(condition.word(), role_of(condition)),
    ];
    let mut fact = |text: String, role| {
        first.push(canvas.span("  ", Role::Plain));
        first.push(canvas.span(text, role));
    };
    if row.messages > 0 {
        fact(
            format!("{messages}, the last {} ago", age(row.age_ns(now_ns))),
            Role::Plain,
        );
    } else {
        fact(
            format!("{messages} for {}", age(row.age_ns(now_ns))),
            Role::Odd,
        );
    }
    let numbers = [
        (row.pending, "pending", Role::Odd),
        (row.failed, "failed", Role::Bad),
    ];
    for (number, what, role) in numbers.into_iter().filter(|(number, ..)| *number > 0) {
        fact(format!("{number} {what}"), role);
    }
    if row.verdicts > 0 {
        fact(count(row.verdicts, "verdict", "verdicts"), Role::Bad);
    }
    let mut lines = vec![Line::from(first)];
    if let Some(limit_ns) = row.watchdog_limit_ns() {
        let last = margin(row.margin(now_ns));
        let worst = margin(row.worst_margin(now_ns));
        lines.push(Line::from(vec![
            canvas.span(
                format!("watchdog allows {}: left at the last ping ", span(limit_ns)),
                Role::Quiet,
            ),
            canvas.span(last.text, last.role),
            canvas.span(", at worst ", Role::Quiet),
            canvas.span(worst.text, worst.role),
        ]));
    }
    if let Some(text) = facts(row) {
        let text = words::cut(text, canvas.width);
        lines.push(Line::from(canvas.span(text, Role::Quiet)));
    }
    lines
}

/// What the manager said last.
fn facts(row: &Row) -> Option<String> {
    let facts = row.facts.as_ref()?;
    let safe = |text: &str| escape_field(text.as_bytes()).to_string();
    let mut words = vec![format!(
        "its manager says: {} ({})",
        safe(&facts.active_state),
        safe(&facts.sub_state)
    )];
    let named = [
        ("result", &facts.result),
        ("Type", &facts.service_type),
        ("NotifyAccess", &facts.notify_access),
    ];
    for (name, value) in named {
        words.extend(
            value
                .as_deref()
                .map(|value| format!("{name} {}", safe(value))),
        );
    }
    words.extend(facts.main_pid.map(|pid| format!("main pid {pid}")));
    if let Some(restarts @ 1..) = facts.restarts {
        words.push(count(restarts.into(), "restart", "restarts"));
    }
    Some(words.join(", "))
}

/// All entries, the newest first.
#[must_use]
pub fn entries(row: &Row, canvas: Canvas<'_>) -> Vec<Line<'static>> {
    let newest_first = row.history.iter().rev();
    newest_first
        .flat_map(|it| match &**it {
            Entry::Message(it) => message(it, canvas),
            Entry::Verdict(it) => verdict(it, canvas),
            Entry::Note(it) => note(it, canvas),
        })
        .collect()
}

fn message(it: &Message, canvas: Canvas<'_>) -> Vec<Line<'static>> {
    let role = fate_role(it.state);
    let (fate, fate_role) = match (it.state, it.latency_ns) {
        (DeliveryState::Delivered, Some(ns)) => (span(ns), Role::Good),
        (DeliveryState::Delivered, None) => ("delivered".to_owned(), Role::Good),
        (DeliveryState::Failed, _) => ("FAILED".to_owned(), role),
        (DeliveryState::Filtered, _) => ("DROPPED".to_owned(), role),
        (DeliveryState::Destroyed, _) => ("DESTROYED".to_owned(), role),
        (DeliveryState::Sending | DeliveryState::Queued, _) => ("pending".to_owned(), role),
        (DeliveryState::Unknown, _) => ("unknown".to_owned(), role),
    };
    let lead = vec![
        canvas.span(canvas.time(it.time), Role::Quiet),
        canvas.span(format!("  {fate:>FATE$}  "), fate_role),
    ];
    let id = it.id.map(|id| format!("#{id}  ")).unwrap_or_default();
    let remarks = if it.remarks.is_empty() {
        String::new()
    } else {
        format!("  {}", it.remarks.join("  "))
    };
    let text = [
        (id, Role::Quiet),
        (format!("{} → {}", it.sender, it.receiver), Role::Plain),
        (format!("  {}", it.line()), role_of_text(role)),
        (remarks, Role::Odd),
    ];
    hang(lead, text, canvas)
}

/// A name that is all right is not as important as what it says.
const fn role_of_text(role: Role) -> Role {
    match role {
        Role::Plain => Role::Name,
        other => other,
    }
}

fn verdict(it: &Told, canvas: Canvas<'_>) -> Vec<Line<'static>> {
    let (mark, role) = if it.is_certain {
        ("certain", Role::Bad)
    } else {
        ("inferred", Role::Odd)
    };
    let lead = vec![
        canvas.span(canvas.time(it.time), Role::Quiet),
        canvas.span(format!("  {:>FATE$}  ", format!("✗{}", it.number)), role),
    ];
    let repeats = match it.repeats {
        0 => String::new(),
        times => format!("  and {} more", count(times, "time", "times")),
    };
    let about = if it.about.is_empty() {
        String::new()
    } else {
        format!("  {}", it.about)
    };
    let title = [
        (it.kind.clone(), role),
        (format!(" ({mark}){about}{repeats}"), Role::Quiet),
        (format!("  {}", it.what), Role::Plain),
    ];
    let mut lines = hang(lead, title, canvas);
    let under = |text: String, role| {
        let lead = vec![canvas.span(" ".repeat(TIME + 2 + FATE + 2), Role::Plain)];
        hang(lead, [(text, role)], canvas)
    };
    for seen in &it.evidence {
        lines.extend(under(format!("seen: {seen}"), Role::Plain));
    }
    if let Some(rule) = it.rule {
        lines.extend(under(format!("rule: {rule}"), Role::Quiet));
    }
    if let Some(remedy) = it.remedy {
        lines.extend(under(format!("helps: {remedy}"), Role::Good));
    }
    lines
}

fn note(it: &Note, canvas: Canvas<'_>) -> Vec<Line<'static>> {
    let lead = vec![
        canvas.span(canvas.time(it.time), Role::Quiet),
        canvas.span(format!("  {:>FATE$}  ", "●"), Role::Good),
    ];
    hang(lead, [(it.text.clone(), Role::Good)], canvas)
}

/// Text behind a lead, on as many lines as it needs.
fn hang<const N: usize>(
    lead: Vec<Span<'static>>,
    text: [(String, Role); N],
    canvas: Canvas<'_>,
) -> Vec<Line<'static>> {
    let indent = TIME + 2 + FATE + 2;
    let room = canvas.width.saturating_sub(indent).max(16);
    let whole: String = text.iter().map(|(text, _)| text.as_str()).collect();
    let mut roles = text
        .iter()
        .flat_map(|(text, role)| text.chars().map(|_| *role));
    let mut characters = whole.chars().peekable();
    let mut lines = Vec::new();
    for wrapped in words::wrap(&whole, room) {
        let mut spans: Vec<(String, Role)> = Vec::new();
        for shown in wrapped.chars() {
            // Spaces at the break are not shown.
            let mut role = roles.next().unwrap_or_default();
            while characters.next().is_some_and(|next| next != shown) {
                role = roles.next().unwrap_or_default();
            }
            match spans.last_mut() {
                Some((text, last)) if *last == role => text.push(shown),
                _ => spans.push((shown.to_string(), role)),
            }
        }
        let mut parts = if lines.is_empty() {
            lead.clone()
        } else {
            vec![Span::raw(" ".repeat(indent))]
        };
        parts.extend(
            spans
                .into_iter()
                .map(|(text, role)| canvas.span(text, role)),
        );
        lines.push(Line::from(parts));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_wrapped_keeps_its_colours() {
        let canvas = Canvas {
            width: 25 + 16,
            now_ns: 0,
            zone: &TimeZone::UTC,
            theme: Theme { is_coloured: true },
        };
        let text = [
            ("one two three ".to_owned(), Role::Good),
            ("four five six".to_owned(), Role::Bad),
        ];
        let lines = hang(vec![Span::raw("x")], text, canvas);
        let shown: Vec<Vec<(String, ratatui::style::Style)>> = lines
            .iter()
            .map(|line| {
                let spans = line.spans.iter().skip(1);
                spans.map(|it| (it.content.to_string(), it.style)).collect()
            })
            .collect();
        let (good, bad) = (
            canvas.theme.style(Role::Good),
            canvas.theme.style(Role::Bad),
        );
        assert_eq!(
            shown,
            [
                vec![("one two three".to_owned(), good)],
                vec![("four five six".to_owned(), bad)]
            ]
        );
    }
}
