//! Which rows are shown, and in which order. Pure.

use std::cmp::Ordering;
use std::sync::Arc;

use super::history::Entry;
use super::row::Row;
use super::state::Picture;

/// What a row is sorted by, and a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// The unit.
    Unit,
    /// What it is doing.
    State,
    /// How long ago its last message was.
    Age,
    /// Messages in the last minute.
    Rate,
    /// Messages in all.
    Count,
    /// How long the last delivery took.
    Latency,
    /// The 99th percentile.
    P99,
    /// What was left of the watchdog's time.
    Watchdog,
    /// The least that was left.
    Worst,
    /// Messages that have not arrived yet.
    Pending,
    /// Messages that did not arrive.
    Failed,
    /// Verdicts.
    Verdicts,
    /// The last message.
    Message,
}

impl Column {
    /// All, from left to right.
    pub const ALL: [Self; 13] = [
        Self::Unit,
        Self::State,
        Self::Age,
        Self::Rate,
        Self::Count,
        Self::Latency,
        Self::P99,
        Self::Watchdog,
        Self::Worst,
        Self::Pending,
        Self::Failed,
        Self::Verdicts,
        Self::Message,
    ];

    /// What stands above it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Unit => "UNIT",
            Self::State => "STATE",
            Self::Age => "AGE",
            Self::Rate => "RATE",
            Self::Count => "COUNT",
            Self::Latency => "LATENCY",
            Self::P99 => "P99",
            Self::Watchdog => "WATCHDOG",
            Self::Worst => "WORST",
            Self::Pending => "PENDING",
            Self::Failed => "FAILED",
            Self::Verdicts => "VERDICTS",
            Self::Message => "LAST MESSAGE",
        }
    }

    /// The key that sorts by it; it stands out in the title.
    #[must_use]
    pub const fn key(self) -> char {
        match self {
            Self::Unit => 'u',
            Self::State => 's',
            Self::Age => 'a',
            Self::Rate => 'r',
            Self::Count => 'c',
            Self::Latency => 'l',
            Self::P99 => '9',
            Self::Watchdog => 'w',
            Self::Worst => 'o',
            Self::Pending => 'p',
            Self::Failed => 'f',
            Self::Verdicts => 'v',
            Self::Message => 'm',
        }
    }

    /// What it shows, a phrase for the help.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Unit => "unit (its user), container, or process of no unit",
            Self::State => "by its messages and what its manager says",
            Self::Age => "since its last message",
            Self::Rate => "messages in the last minute",
            Self::Count => "messages in all",
            Self::Latency => "from the queue to the receiver, the last one",
            Self::P99 => "99 of 100 of the last 256 were not slower",
            Self::Watchdog => "time left at the last ping; - is too late",
            Self::Worst => "the least that was left",
            Self::Pending => "not arrived yet",
            Self::Failed => "failed, dropped or destroyed unread",
            Self::Verdicts => "why messages did nothing (Enter says it)",
            Self::Message => "escaped, cut",
        }
    }
}

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The column.
    pub column: Column,
    /// The other way round than what is most wanted of that column first.
    pub is_reversed: bool,
}

impl Default for Sort {
    /// What needs a look stands first.
    fn default() -> Self {
        Self::by(Column::Verdicts)
    }
}

impl Sort {
    /// What is most wanted of a column first.
    #[must_use]
    pub const fn by(column: Column) -> Self {
        Self {
            column,
            is_reversed: false,
        }
    }

    /// By this column; the other way round if it is that already.
    #[must_use]
    pub fn chosen(self, column: Column) -> Self {
        if self.column == column {
            self.reversed()
        } else {
            Self::by(column)
        }
    }

    /// The other way round.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            is_reversed: !self.is_reversed,
            ..self
        }
    }

    /// By the column so many places further.
    #[must_use]
    pub fn moved(self, columns: &[Column], by: isize) -> Self {
        let at = columns.iter().position(|it| *it == self.column);
        let last = columns.len().saturating_sub(1);
        let at = at.unwrap_or(0).saturating_add_signed(by).min(last);
        columns.get(at).map_or(self, |column| Self::by(*column))
    }

    /// Whether the smallest value stands first.
    #[must_use]
    pub const fn is_ascending(self) -> bool {
        let is_small_first = matches!(
            self.column,
            Column::Unit
                | Column::State
                | Column::Age
                | Column::Watchdog
                | Column::Worst
                | Column::Message
        );
        is_small_first != self.is_reversed
    }
}

/// The rows that the filter lets through, in order.
#[must_use]
pub fn rows(picture: &Picture, sort: Sort, filter: &str) -> Vec<Arc<Row>> {
    let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
    let now_ns = picture.now_ns;
    let wanted = picture.rows.iter();
    let mut rows: Vec<Arc<Row>> = wanted
        .filter(|row| is_wanted(row, &words, now_ns))
        .cloned()
        .collect();
    // Keys are made once for each row, not for each comparison.
    let mut keyed: Vec<(Key, Arc<Row>)> = rows
        .drain(..)
        .map(|row| (Key::of(&row, sort.column, now_ns), row))
        .collect();
    keyed.sort_by(|(a, one), (b, other)| {
        let order = a.compare(b, sort.is_ascending());
        order
            .then_with(|| one.condition(now_ns).cmp(&other.condition(now_ns)))
            .then_with(|| one.identity.label.cmp(&other.identity.label))
    });
    keyed.into_iter().map(|(_, row)| row).collect()
}

/// Whether each word stands in the unit's name, its state, or its last message.
fn is_wanted(row: &Row, words: &[String], now_ns: u64) -> bool {
    if words.is_empty() {
        return true;
    }
    let label = row.identity.label.to_lowercase();
    let message = message(row).to_lowercase();
    let state = row.condition(now_ns).word();
    words.iter().all(|word| {
        label.contains(word.as_str()) || message.contains(word.as_str()) || state == word
    })
}

/// The last message.
fn message(row: &Row) -> String {
    match row.last.as_deref() {
        Some(Entry::Message(message)) => message.line(),
        _ => String::new(),
    }
}

/// What a row is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i128),
    Text(String),
    /// There is no value: last, whatever the direction.
    Absent,
}

impl Key {
    fn of(row: &Row, column: Column, now_ns: u64) -> Self {
        let number = |value: Option<i128>| value.map_or(Self::Absent, Self::Number);
        let count = |value: u64| Self::Number(value.into());
        match column {
            Column::Unit => Self::Text(row.identity.label.to_lowercase()),
            Column::State => Self::Number(row.condition(now_ns) as i128),
            Column::Age => count(row.age_ns(now_ns)),
            Column::Rate => count(row.rate.count(now_ns, 60)),
            Column::Count => count(row.messages),
            Column::Latency => number(row.latencies.last().map(Into::into)),
            Column::P99 => number(row.latencies.p99().map(Into::into)),
            Column::Watchdog => number(row.margin(now_ns).map(|it| it.left_ns().into())),
            Column::Worst => number(row.worst_margin(now_ns).map(|it| it.left_ns().into())),
            Column::Pending => count(row.pending),
            Column::Failed => count(row.failed),
            Column::Verdicts => count(row.verdicts),
            Column::Message => Self::Text(message(row)),
        }
    }

    fn compare(&self, other: &Self, is_ascending: bool) -> Ordering {
        match (self, other) {
            (Self::Absent, _) | (_, Self::Absent) => self.cmp(other),
            _ if is_ascending => self.cmp(other),
            _ => other.cmp(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample};
    use crate::event::Event;
    use crate::top::state::State;

    fn picture() -> Picture {
        let mut state = State::default();
        let sends = [
            ("b.service", "READY=1", S),
            ("a.service", "STATUS=Loading", 2 * S),
            ("C.service", "STOPPING=1", 3 * S),
            ("a.service", "WATCHDOG_USEC=5000000", 4 * S),
            ("a.service", "WATCHDOG=1", 6 * S),
        ];
        for (number, (unit, text, at_ns)) in (1..).zip(sends) {
            let it = Sample::new(text).id(number).at(at_ns).from("x", 7, unit);
            state.event(&Event::Send(Box::new(it.build())));
        }
        state.picture(None)
    }

    fn labels(sort: Sort, filter: &str) -> Vec<String> {
        let rows = rows(&picture(), sort, filter);
        rows.iter().map(|row| row.identity.label.clone()).collect()
    }

    #[test]
    fn each_column_has_its_own_order() {
        let (a, b, c) = ("a.service", "b.service", "C.service");
        assert_eq!(labels(Sort::by(Column::Unit), ""), [a, b, c]);
        assert_eq!(labels(Sort::by(Column::State), ""), [c, a, b]);
        assert_eq!(labels(Sort::by(Column::Age), ""), [a, c, b]);
        assert_eq!(labels(Sort::by(Column::Count), ""), [a, c, b]);
        assert_eq!(labels(Sort::by(Column::Unit).reversed(), ""), [c, b, a]);
    }

    #[test]
    fn what_has_no_value_stands_last_in_both_directions() {
        let by = Sort::by(Column::Watchdog);
        assert_eq!(labels(by, "")[0], "a.service");
        assert_eq!(labels(by.reversed(), "")[0], "a.service");
    }

    #[test]
    fn the_filter_looks_at_unit_state_and_last_message() {
        let sort = Sort::by(Column::Unit);
        assert_eq!(labels(sort, "c.SERV"), ["C.service"]);
        assert_eq!(labels(sort, "ready"), ["b.service"]);
        assert_eq!(labels(sort, "watchdog a."), ["a.service"]);
        assert!(labels(sort, "watchdog b.").is_empty());
        assert_eq!(labels(sort, "  ").len(), 3);
    }

    #[test]
    fn the_same_column_again_turns_the_order_round() {
        let sort = Sort::default().chosen(Column::Age);
        assert!(sort.is_ascending());
        assert!(!sort.chosen(Column::Age).is_ascending());
        assert_eq!(sort.chosen(Column::Unit), Sort::by(Column::Unit));
    }

    #[test]
    fn the_column_moves_among_those_that_are_shown() {
        let shown = [Column::Unit, Column::Age, Column::Failed];
        let sort = Sort::by(Column::Age);
        assert_eq!(sort.moved(&shown, 1).column, Column::Failed);
        assert_eq!(sort.moved(&shown, 9).column, Column::Failed);
        assert_eq!(sort.moved(&shown, -9).column, Column::Unit);
        assert_eq!(sort.moved(&[], 1), sort);
    }

    #[test]
    fn every_column_has_a_key_of_its_own_that_stands_in_its_title() {
        let mut keys: Vec<char> = Column::ALL.iter().map(|it| it.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), Column::ALL.len());
        for column in Column::ALL {
            let title = column.title().to_lowercase();
            assert!(title.contains(column.key()), "{title}");
        }
    }
}
