//! The table: titles and rows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr as _;

use super::cells::{self, Cell};
use super::layout::{Place, is_right};
use super::theme::{Role, Theme};
use crate::top::look::Rows;
use crate::top::order::{Column, Sort};
use crate::words;

/// Draws the titles: the sorted column has an arrow, the key of each stands out.
pub fn titles(buffer: &mut Buffer, area: Rect, places: &[Place], sort: Sort, theme: Theme) {
    buffer.set_style(area, theme.bar());
    for y in area.y..area.bottom() {
        for place in places {
            title(buffer, y, *place, sort, theme);
        }
    }
}

fn title(buffer: &mut Buffer, y: u16, place: Place, sort: Sort, theme: Theme) {
    let Place { column, x, width } = place;
    let is_sorted = sort.column == column;
    let style = if is_sorted {
        theme.style(Role::Sorted)
    } else {
        Style::new()
    };
    let title = column.title();
    let arrow = match (is_sorted, sort.is_ascending()) {
        (false, _) => "",
        (true, true) => "▲",
        (true, false) => "▼",
    };
    let cells = u16::try_from(title.len()).unwrap_or(u16::MAX);
    let at = if is_right(column) {
        x + width.saturating_sub(cells)
    } else {
        x
    };
    buffer.set_stringn(at, y, title, width.into(), style);
    // Before a number's title, behind any other: that is where there is room.
    let arrow_at = if is_right(column) {
        at.saturating_sub(1)
    } else {
        at + cells
    };
    if !arrow.is_empty() {
        buffer.set_stringn(arrow_at, y, arrow, 1, style);
    }
    if let Some(offset) = title.to_lowercase().find(column.key())
        && let Ok(offset) = u16::try_from(offset)
        && let Some(cell) = buffer.cell_mut((at + offset, y))
    {
        cell.set_style(Style::new().add_modifier(Modifier::UNDERLINED | Modifier::BOLD));
    }
}

/// Draws the rows that fit.
pub fn rows(
    buffer: &mut Buffer,
    area: Rect,
    places: &[Place],
    rows: &Rows,
    (now_ns, window_ns): (u64, u64),
    theme: Theme,
) {
    let shown = rows.all.iter().enumerate().skip(rows.first);
    for (y, (index, row)) in (area.y..area.bottom()).zip(shown) {
        for place in places {
            let cell = cells::of(row, place.column, now_ns, window_ns);
            draw_cell(buffer, y, *place, &cell, theme);
        }
        if index == rows.selected {
            select(
                buffer,
                Rect {
                    y,
                    height: 1,
                    ..area
                },
                theme,
            );
        }
    }
}

fn draw_cell(buffer: &mut Buffer, y: u16, place: Place, cell: &Cell, theme: Theme) {
    let Place { column, x, width } = place;
    let text = words::cut(&cell.text, width.into());
    let used = u16::try_from(text.width()).unwrap_or(width).min(width);
    let at = if is_right(column) {
        x + width - used
    } else {
        x
    };
    let style = theme.style(cell.role);
    // A user, or what else stands in brackets behind a name, is not the name.
    let quiet_from = match column {
        Column::Unit => text.find(" (").filter(|_| cell.role != Role::Container),
        _ => None,
    };
    match quiet_from {
        Some(from) => {
            let (name, rest) = text.split_at(from);
            let (at, _) = buffer.set_stringn(at, y, name, width.into(), style);
            let left = (x + width).saturating_sub(at);
            buffer.set_stringn(at, y, rest, left.into(), theme.style(Role::Quiet));
        }
        None => {
            buffer.set_stringn(at, y, &text, width.into(), style);
        }
    }
}

/// Lays the mark of the selection over a row.
fn select(buffer: &mut Buffer, area: Rect, theme: Theme) {
    buffer.set_style(area, theme.selected());
    if let Some(colour) = theme.selected_text() {
        for x in area.x..area.right() {
            if let Some(cell) = buffer.cell_mut((x, area.y))
                && cell.fg == Color::Reset
            {
                cell.set_fg(colour);
            }
        }
    }
    buffer.set_stringn(area.x, area.y, "▌", 1, theme.style(Role::Sorted));
}
