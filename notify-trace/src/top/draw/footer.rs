//! The line at the bottom: the keys, or the filter that is being typed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::theme::{Role, Theme};
use crate::escape::escape;
use crate::top::keys::Mode;
use crate::top::look::Look;

/// Draws it.
pub fn draw(buffer: &mut Buffer, area: Rect, look: &Look, theme: Theme) {
    buffer.set_style(area, theme.bar());
    let pause = if look.paused.is_some() {
        "go on"
    } else {
        "pause"
    };
    let line = match look.mode {
        Mode::Filter => {
            let filter = escape(look.filter.as_bytes());
            let mut parts = vec![
                Span::styled(format!("/{filter}"), theme.style(Role::Name)),
                Span::styled("▏", theme.style(Role::Sorted)),
                Span::raw("  "),
            ];
            parts.extend(keys(&[("Enter", "keep"), ("Esc", "no filter")], theme));
            Line::from(parts)
        }
        Mode::Table if !look.filter.is_empty() => {
            let filter = escape(look.filter.as_bytes());
            let mut parts = vec![
                Span::styled(format!("/{filter}"), theme.style(Role::Sorted)),
                Span::raw("   "),
            ];
            let all = [
                ("Esc", "no filter"),
                ("Enter", "history"),
                ("Space", pause),
                ("?", "all keys"),
                ("q", "quit"),
            ];
            parts.extend(keys(&all, theme));
            Line::from(parts)
        }
        Mode::Table => Line::from(keys(
            &[
                ("q", "quit"),
                ("?", "all keys"),
                ("/", "filter"),
                ("Enter", "history"),
                ("Space", pause),
                ("←→", "sort"),
                ("R", "reverse"),
            ],
            theme,
        )),
        Mode::History => Line::from(keys(
            &[
                ("q", "quit"),
                ("Esc", "back"),
                ("↑↓", "scroll"),
                ("Space", pause),
                ("?", "all keys"),
            ],
            theme,
        )),
        Mode::Help => Line::from(keys(
            &[("q", "quit"), ("↑↓", "scroll"), ("any other key", "back")],
            theme,
        )),
    };
    let line = whole(line, area.width.saturating_sub(2).into());
    for y in area.y..area.bottom() {
        buffer.set_line(area.x + 1, y, &line, area.width.saturating_sub(1));
    }
}

/// Without the keys that do not fit: half of one says nothing.
fn whole(mut line: Line<'static>, room: usize) -> Line<'static> {
    while line.width() > room && line.spans.len() > 2 {
        line.spans.truncate(line.spans.len() - 2);
    }
    line
}

fn keys(all: &[(&'static str, &'static str)], theme: Theme) -> Vec<Span<'static>> {
    let mut parts = Vec::new();
    for (key, what) in all {
        parts.push(Span::styled(*key, theme.style(Role::Key)));
        parts.push(Span::raw(format!(" {what}   ")));
    }
    parts
}
