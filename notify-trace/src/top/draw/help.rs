//! All keys, all columns, and how the host is traced.

use ratatui::text::{Line, Span};

use super::theme::{Role, Theme};
use crate::escape::escape_field;
use crate::top::order::Column;
use crate::top::state::Picture;
use crate::words::{plan_name, wrap};

const KEYS: [(&str, &str); 12] = [
    ("↑ ↓  j k", "select a unit, or scroll"),
    ("PgUp PgDn", "a page; also Ctrl-B, Ctrl-F"),
    ("Home End", "first and last; also g, G"),
    ("Enter", "the unit's history; again: back"),
    ("/", "show only units with these words"),
    ("Esc", "back; in the table: no filter"),
    ("← →", "sort by the column beside"),
    ("R", "the other way round"),
    ("Space", "hold the picture, or go on"),
    ("Ctrl-L", "paint everything anew"),
    ("?", "this"),
    ("q  Ctrl-C", "quit"),
];

/// Cells of a key, and of a column's title.
const NAME: usize = 12;

/// From that width on keys and columns stand beside each other.
const SIDE_BY_SIDE: usize = 110;

/// Its lines.
#[must_use]
pub fn lines(picture: &Picture, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let keys = KEYS.iter().map(|(key, what)| entry(key, None, what, theme));
    let columns = Column::ALL.into_iter().map(|column| {
        let title = column.title().split(' ').next_back().unwrap_or_default();
        entry(title, Some(column.key()), column.meaning(), theme)
    });
    let head = |text: &'static str| vec![Span::styled(text, theme.style(Role::Sorted))];
    let keys: Vec<_> = std::iter::once(head("Keys")).chain(keys).collect();
    let title = head("Columns: their keys sort by them, again: the other way round");
    let columns: Vec<_> = std::iter::once(title).chain(columns).collect();
    let mut lines: Vec<Line<'static>> = if width >= SIDE_BY_SIDE {
        let half = 50;
        let count = keys.len().max(columns.len());
        (0..count)
            .map(|index| {
                let mut line = keys.get(index).cloned().unwrap_or_default();
                let used: usize = line.iter().map(Span::width).sum();
                line.push(Span::raw(" ".repeat(half - used.min(half))));
                line.extend(columns.get(index).cloned().unwrap_or_default());
                Line::from(line)
            })
            .collect()
    } else {
        keys.into_iter().chain(columns).map(Line::from).collect()
    };
    lines.push(Line::default());
    lines.extend(traced(picture, width, theme));
    lines
}

fn entry(name: &str, key: Option<char>, what: &str, theme: Theme) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    let mut used = name.chars().count();
    if let Some(key) = key {
        spans.push(Span::styled(format!("{key}  "), theme.style(Role::Key)));
        used += 3;
        spans.push(Span::raw(name.to_owned()));
    } else {
        spans.push(Span::styled(name.to_owned(), theme.style(Role::Key)));
    }
    let gap = " ".repeat((NAME + 1).saturating_sub(used) + 1);
    spans.push(Span::styled(
        format!("{gap}{what}"),
        theme.style(Role::Quiet),
    ));
    spans
}

/// Why so, what that can't know, and what is not as one would wish.
fn traced(picture: &Picture, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let Some(session) = &picture.session else {
        return Vec::new();
    };
    let safe = |text: &str| escape_field(text.as_bytes()).to_string();
    let plan = plan_name(session.plan.name);
    let mut texts = vec![(
        format!("plan {plan}: {}", safe(&session.plan.reason)),
        Role::Plain,
    )];
    let limits = session.plan.limits.iter();
    texts.extend(limits.map(|it| (format!("can't know: {}", safe(it)), Role::Quiet)));
    if !session.view.is_empty() {
        texts.push((
            format!("shown: {}", safe(&session.view.join(", "))),
            Role::Plain,
        ));
    }
    let warnings = session.warnings.iter();
    texts.extend(warnings.map(|it| (format!("warning: {}", safe(it)), Role::Odd)));
    texts
        .into_iter()
        .flat_map(|(text, role)| {
            let lines = wrap(&text, width.max(20));
            lines
                .into_iter()
                .map(move |line| Line::from(Span::styled(line, theme.style(role))))
        })
        .collect()
}
