//! What stands in a cell of the table. Pure.

use super::theme::Role;
use crate::event::DeliveryState;
use crate::top::condition::Condition;
use crate::top::history::Entry;
use crate::top::order::Column;
use crate::top::rate;
use crate::top::row::{Row, is_bad};
use crate::top::watchdog::{Margin, Quality};
use crate::words;

const SECOND_NS: u64 = 1_000_000_000;

/// What stands for a value that isn't known, or does not apply.
const ABSENT: &str = "-";

/// Text and how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// What it is.
    pub role: Role,
}

fn cell(text: impl Into<String>, role: Role) -> Cell {
    Cell {
        text: text.into(),
        role,
    }
}

/// What stands in a column of a row. `window_ns`: how long the rate is counted, a minute at most.
#[must_use]
pub fn of(row: &Row, column: Column, now_ns: u64, window_ns: u64) -> Cell {
    let count = |number: u64, role| match number {
        0 => cell("0", Role::Quiet),
        _ => cell(short(number), role),
    };
    match column {
        Column::Unit => {
            let mark = if row.identity.is_later { "~" } else { "" };
            let role = if row.identity.is_container {
                Role::Container
            } else {
                Role::Name
            };
            cell(format!("{mark}{}", row.identity.label), role)
        }
        Column::State => {
            let condition = row.condition(now_ns);
            cell(condition.word(), role_of(condition))
        }
        Column::Age => cell(age(row.age_ns(now_ns)), Role::Plain),
        Column::Rate => {
            let number = row.rate.count(now_ns, 60);
            let role = if number == 0 {
                Role::Quiet
            } else {
                Role::Plain
            };
            cell(rate::words(number, window_ns), role)
        }
        Column::Count => count(row.messages, Role::Plain),
        Column::Latency => time(row.latencies.last()),
        Column::P99 => time(row.latencies.p99()),
        Column::Watchdog => margin(row.margin(now_ns)),
        Column::Worst => margin(row.worst_margin(now_ns)),
        Column::Pending => count(row.pending, Role::Odd),
        Column::Failed => count(row.failed, Role::Bad),
        Column::Verdicts => count(row.verdicts, Role::Bad),
        Column::Message => match row.last.as_deref() {
            Some(Entry::Message(message)) => cell(message.line(), fate_role(message.state)),
            _ => cell("(nothing yet)", Role::Quiet),
        },
    }
}

/// How what became of a message looks.
#[must_use]
pub const fn fate_role(state: DeliveryState) -> Role {
    match state {
        DeliveryState::Delivered => Role::Plain,
        _ if is_bad(state) => Role::Bad,
        _ => Role::Odd,
    }
}

/// How what a unit is doing looks.
#[must_use]
pub const fn role_of(condition: Condition) -> Role {
    match condition {
        Condition::Failed => Role::Bad,
        Condition::Starting | Condition::Reloading | Condition::Stopping => Role::Odd,
        Condition::Ready => Role::Good,
        Condition::Sending => Role::Plain,
        Condition::Quiet | Condition::Stopped => Role::Quiet,
    }
}

fn time(ns: Option<u64>) -> Cell {
    ns.map_or_else(
        || cell(ABSENT, Role::Quiet),
        |ns| cell(span(ns), Role::Plain),
    )
}

/// What was left of the watchdog's time.
#[must_use]
pub fn margin(margin: Option<Margin>) -> Cell {
    let Some(margin) = margin else {
        return cell(ABSENT, Role::Quiet);
    };
    let left_ns = margin.left_ns();
    let sign = if left_ns < 0 { "-" } else { "" };
    let role = match margin.quality() {
        Quality::Good => Role::Plain,
        Quality::Thin => Role::Odd,
        Quality::Late => Role::Bad,
    };
    cell(format!("{sign}{}", span(left_ns.unsigned_abs())), role)
}

/// A time span in at most seven cells.
#[must_use]
pub fn span(ns: u64) -> String {
    let seconds = ns / SECOND_NS;
    let tenths = |unit: u64| format!("{}.{}", seconds / unit, seconds % unit * 10 / unit);
    match seconds {
        0..60 => words::duration(ns),
        60..600 => format!("{} min", tenths(60)),
        600..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", tenths(3_600)),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago something was: whole units, at most six cells.
#[must_use]
pub fn age(ns: u64) -> String {
    let seconds = ns / SECOND_NS;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number in at most six cells.
#[must_use]
pub fn short(number: u64) -> String {
    match number {
        0..1_000_000 => number.to_string(),
        1_000_000..1_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_fit_into_their_columns() {
        for ns in [0, 999, 999_999, 99_999_999, 999_999_999] {
            assert!(span(ns).chars().count() <= 7, "{}", span(ns));
        }
        for seconds in [59, 60, 599, 600, 3_599, 3_600, 86_399, 86_400, 8_640_000] {
            let (span, age) = (span(seconds * SECOND_NS), age(seconds * SECOND_NS));
            assert!(span.chars().count() <= 7, "{span}");
            assert!(age.chars().count() <= 6, "{age}");
        }
        assert_eq!(span(90 * SECOND_NS), "1.5 min");
        assert_eq!(age(90 * SECOND_NS), "1 min");
        assert_eq!(short(123_456_789), "123M");
    }

    #[test]
    fn a_margin_has_the_colour_of_its_quality() {
        let of = |gap_s: u64| {
            margin(Some(Margin {
                limit_ns: 20 * SECOND_NS,
                gap_ns: gap_s * SECOND_NS,
            }))
        };
        assert_eq!(of(10), cell("10.0 s", Role::Plain));
        assert_eq!(of(18), cell("2.0 s", Role::Odd));
        assert_eq!(of(23), cell("-3.0 s", Role::Bad));
        assert_eq!(margin(None), cell("-", Role::Quiet));
    }
}
