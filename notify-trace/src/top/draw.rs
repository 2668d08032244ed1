//! One frame: from what is known and what the user looks at to cells. No terminal, no clock.
//!
//! `layout` says where everything stands, `cells` what stands in the table, `theme` how it looks.
//! All text that comes from outside was made safe when it was taken in, or is here, by
//! [`escape_field`](crate::escape::escape_field).

mod cells;
mod footer;
mod header;
mod help;
mod history;
mod layout;
mod table;
pub mod theme;

use std::sync::Arc;

use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use unicode_width::UnicodeWidthStr as _;

use self::history::Canvas;
use self::layout::{LEAST_HEIGHT, LEAST_WIDTH, Parts};
use self::theme::{Role, Theme};
use super::keys::Mode;
use super::look::{Look, Rows, Shown};
use super::row::Row;
use super::state::Picture;

/// How frames look, whatever is in them.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The time zone.
    pub zone: TimeZone,
    /// The colours.
    pub theme: Theme,
    /// It goes on; else it is a recording.
    pub is_live: bool,
}

/// Draws all of the screen.
pub fn draw(buffer: &mut Buffer, look: &mut Look, now: &Arc<Picture>, frame: &Frame) {
    let area = buffer.area;
    let theme = frame.theme;
    if area.width < LEAST_WIDTH || area.height < LEAST_HEIGHT {
        let text = format!("at least {LEAST_WIDTH} x {LEAST_HEIGHT} cells");
        if area.height > 0 {
            let style = theme.style(Role::Odd);
            buffer.set_stringn(area.x, area.y, text, area.width.into(), style);
        }
        return;
    }
    let picture = look.picture(now);
    let wanted = look.wanted(&picture);
    let parts = Parts::of(area, header::lines(&picture), wanted.len());
    let rows = look.rows(wanted, parts.rows.height.into());
    let units = rows.all.len();
    match look.mode {
        Mode::Help => text(buffer, look, parts, |width| {
            help::lines(&picture, width, theme)
        }),
        Mode::History => {
            let row = look.opened(&picture).cloned();
            text(buffer, look, parts, |width| match &row {
                Some(row) => whole(row, canvas(width, &picture, frame)),
                None => vec![Line::from(
                    "This unit was not heard of for so long that it was forgotten.",
                )],
            });
        }
        Mode::Table | Mode::Filter => {
            table(buffer, look, parts, &rows, &picture, frame);
            pane(buffer, parts.pane, &rows, &picture, frame);
        }
    }
    header::draw(
        buffer,
        parts.header,
        look,
        &picture,
        frame.is_live,
        units,
        theme,
    );
    footer::draw(buffer, parts.footer, look, theme);
}

fn canvas<'a>(width: usize, picture: &Picture, frame: &'a Frame) -> Canvas<'a> {
    Canvas {
        width,
        now_ns: picture.now_ns,
        zone: &frame.zone,
        theme: frame.theme,
    }
}

/// All of a unit.
fn whole(row: &Row, canvas: Canvas<'_>) -> Vec<Line<'static>> {
    let mut lines = history::summary(row, canvas);
    lines.push(Line::default());
    lines.extend(history::entries(row, canvas));
    lines
}

fn table(
    buffer: &mut Buffer,
    look: &mut Look,
    parts: Parts,
    rows: &Rows,
    picture: &Picture,
    frame: &Frame,
) {
    let theme = frame.theme;
    let names = picture.rows.iter().map(|row| row.identity.label.width());
    let places = layout::columns(parts.rows, names.max().unwrap_or(0));
    look.shown = Shown {
        columns: places.iter().map(|place| place.column).collect(),
        lines: usize::from(parts.rows.height),
    };
    table::titles(buffer, parts.titles, &places, look.sort, theme);
    let times = (picture.now_ns, header::elapsed_ns(picture));
    table::rows(buffer, parts.rows, &places, rows, times, theme);
    if rows.all.is_empty() {
        let nothing = if picture.rows.is_empty() {
            "No unit has sent a notification yet."
        } else {
            "No unit has these words; Esc takes the filter away."
        };
        let width = usize::from(parts.rows.width.saturating_sub(2));
        let style = theme.style(Role::Quiet);
        if parts.rows.height > 0 {
            buffer.set_stringn(parts.rows.x + 1, parts.rows.y, nothing, width, style);
        }
    }
}

/// The selected unit, as far as there is room below the table.
fn pane(buffer: &mut Buffer, area: Rect, rows: &Rows, picture: &Picture, frame: &Frame) {
    let Some(row) = rows.row() else { return };
    if area.height < 3 {
        return;
    }
    let quiet = frame.theme.style(Role::Quiet);
    for x in area.x..area.right() {
        buffer.set_stringn(x, area.y, "─", 1, quiet);
    }
    let width = usize::from(area.width.saturating_sub(2));
    let lines = whole(row, canvas(width, picture, frame));
    for (y, line) in (area.y + 1..area.bottom()).zip(&lines) {
        buffer.set_line(area.x + 1, y, line, area.width.saturating_sub(2));
    }
}

/// Lines that may be scrolled, in place of the table.
fn text(
    buffer: &mut Buffer,
    look: &mut Look,
    parts: Parts,
    lines: impl FnOnce(usize) -> Vec<Line<'static>>,
) {
    let area = Rect {
        y: parts.titles.y,
        height: parts.footer.y.saturating_sub(parts.titles.y),
        ..parts.titles
    };
    let room = usize::from(area.height);
    let lines = lines(usize::from(area.width.saturating_sub(2)));
    look.shown.lines = room;
    look.scroll = look.scroll.min(lines.len().saturating_sub(room));
    for (y, line) in (area.y..area.bottom()).zip(lines.iter().skip(look.scroll)) {
        buffer.set_line(area.x + 1, y, line, area.width.saturating_sub(2));
    }
}

#[cfg(test)]
mod tests;
