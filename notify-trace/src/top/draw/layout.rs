//! Where everything stands, by the size of the terminal. Pure.

use ratatui::layout::Rect;

use crate::top::order::Column;

/// Below that nothing can be read.
pub const LEAST_WIDTH: u16 = 40;
/// The same in lines.
pub const LEAST_HEIGHT: u16 = 8;

/// From that height on the selected unit's history stands below the table.
const PANE_FROM: u16 = 30;

/// From that width on two cells stand between columns, else one.
const WIDE_FROM: u16 = 140;

/// Fewest cells of the last message.
const LEAST_MESSAGE: u16 = 18;

/// The same, and that of the unit, from a width on where no other column is worth more.
const ROOMY_FROM: u16 = 100;
const LEAST_MESSAGE_ROOMY: u16 = 26;
const LEAST_UNIT_ROOMY: u16 = 24;

/// Fewest and most cells of the unit.
const LEAST_UNIT: u16 = 18;
const MOST_UNIT: u16 = 44;

/// Columns in the order in which they are given room.
const BY_IMPORTANCE: [Column; 13] = [
    Column::Unit,
    Column::State,
    Column::Message,
    Column::Age,
    Column::Failed,
    Column::Verdicts,
    Column::Watchdog,
    Column::Rate,
    Column::Latency,
    Column::Worst,
    Column::Pending,
    Column::P99,
    Column::Count,
];

/// The parts of the screen, from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// What is traced, and what was counted.
    pub header: Rect,
    /// The titles of the columns.
    pub titles: Rect,
    /// The rows.
    pub rows: Rect,
    /// The history of the selected unit; no lines: there is no room for it.
    pub pane: Rect,
    /// The keys.
    pub footer: Rect,
}

/// A column and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub column: Column,
    /// Its first cell.
    pub x: u16,
    /// Its cells.
    pub width: u16,
}

impl Parts {
    /// Of a screen whose header has so many lines, for so many rows.
    #[must_use]
    pub fn of(area: Rect, header: u16, rows: usize) -> Self {
        let lines = |y: u16, height: u16| Rect { y, height, ..area };
        let footer = lines(area.bottom().saturating_sub(1), area.height.min(1));
        let gap = u16::from(area.height >= 16);
        let titles_y = area.y + header + gap;
        let rows_y = titles_y + 1;
        let room = footer.y.saturating_sub(rows_y);
        // The table keeps two thirds if it needs them; what it doesn't need is the pane's.
        let table = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(1);
        let pane = if area.height >= PANE_FROM {
            room - table.min(room.saturating_sub(area.height / 3))
        } else {
            0
        };
        Self {
            header: lines(area.y, header.min(area.height)),
            titles: lines(titles_y.min(footer.y), 1.min(room)),
            rows: lines(rows_y.min(footer.y), room - pane),
            pane: lines(footer.y - pane, pane),
            footer,
        }
    }
}

/// Cells of a column.
const fn width(column: Column) -> u16 {
    match column {
        Column::Unit => LEAST_UNIT,
        Column::State => 9,
        Column::Age | Column::Count | Column::Rate | Column::Failed => 6,
        Column::Latency | Column::P99 | Column::Worst => 7,
        Column::Watchdog | Column::Pending => 8,
        Column::Verdicts => 9,
        Column::Message => LEAST_MESSAGE,
    }
}

/// Whether it stands at the right end of its column: numbers do.
#[must_use]
pub const fn is_right(column: Column) -> bool {
    !matches!(column, Column::Unit | Column::State | Column::Message)
}

/// The columns that fit, from left to right. `longest`: cells of the longest name of a unit.
#[must_use]
pub fn columns(area: Rect, longest: usize) -> Vec<Place> {
    let gap = if area.width >= WIDE_FROM { 2 } else { 1 };
    // A cell for the mark of the selection.
    let mut left = area.width.saturating_sub(1);
    let longest = u16::try_from(longest).unwrap_or(u16::MAX);
    let unit = longest.clamp(LEAST_UNIT, MOST_UNIT);
    let is_roomy = area.width >= ROOMY_FROM;
    let least = |column| match column {
        Column::Unit if is_roomy => unit.min(LEAST_UNIT_ROOMY),
        Column::Message if is_roomy => LEAST_MESSAGE_ROOMY,
        _ => width(column),
    };
    let mut chosen = Vec::new();
    for column in BY_IMPORTANCE {
        let needed = least(column) + gap;
        // A less important one does not take its place: the message has more of it.
        if needed > left {
            break;
        }
        left -= needed;
        chosen.push(column);
    }
    // A long message is read more often than a long name, so it gets the other half.
    let wanted = unit - least(Column::Unit);
    let for_unit = wanted.min(if left > 2 * wanted {
        left
    } else {
        left.div_ceil(2)
    });
    let mut x = area.x + 1;
    let mut places = Vec::new();
    for column in Column::ALL.into_iter().filter(|it| chosen.contains(it)) {
        let width = match column {
            Column::Unit => least(column) + for_unit,
            // It may use the last gap, too.
            Column::Message => area.right().saturating_sub(x),
            _ => width(column),
        };
        places.push(Place { column, x, width });
        x = x.saturating_add(width + gap);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: u16) -> Vec<Column> {
        let places = columns(Rect::new(0, 0, width, 20), 30);
        places.iter().map(|place| place.column).collect()
    }

    #[test]
    fn narrow_terminals_drop_columns_by_importance() {
        assert_eq!(shown(200).len(), Column::ALL.len());
        let at_120 = shown(120);
        for column in [Column::Rate, Column::Latency, Column::Watchdog] {
            assert!(at_120.contains(&column), "{column:?}");
        }
        assert_eq!(
            shown(80),
            [
                Column::Unit,
                Column::State,
                Column::Age,
                Column::Failed,
                Column::Verdicts,
                Column::Message
            ]
        );
        assert_eq!(shown(50), [Column::Unit, Column::State, Column::Message]);
    }

    #[test]
    fn the_document_has_the_columns_in_the_order_of_their_importance() {
        let document = include_str!("../../../../docs/top.md");
        let rows: Vec<&str> = document
            .lines()
            .filter(|line| line.contains("` | "))
            .collect();
        let rows = rows
            .iter()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| `"));
        let named: Vec<(&str, &str)> = rows
            .filter_map(|line| {
                let mut cells = line.split('|').map(str::trim);
                cells.next();
                Some((cells.next()?, cells.next()?))
            })
            .collect();
        let expected: Vec<(&str, String)> = BY_IMPORTANCE
            .iter()
            .map(|column| (column.title(), format!("`{}`", column.key())))
            .collect();
        let expected: Vec<(&str, &str)> = expected.iter().map(|(t, k)| (*t, k.as_str())).collect();
        assert_eq!(named, expected);
    }

    #[test]
    fn columns_never_overlap_and_fill_the_line() {
        for width in LEAST_WIDTH..=250 {
            for longest in [0, 18, 25, 90] {
                let places = columns(Rect::new(0, 0, width, 20), longest);
                for pair in places.windows(2) {
                    assert!(pair[0].x + pair[0].width < pair[1].x, "{width}: {pair:?}");
                }
                let last = places.last().expect("some fit");
                assert!(last.x + last.width <= width, "{width}: {last:?}");
            }
        }
    }

    #[test]
    fn the_pane_gets_what_the_table_does_not_need() {
        let parts = |rows| Parts::of(Rect::new(0, 0, 120, 40), 2, rows);
        assert_eq!((parts(100).rows.height, parts(100).pane.height), (22, 13));
        assert_eq!((parts(3).rows.height, parts(3).pane.height), (4, 31));
        let low = Parts::of(Rect::new(0, 0, 80, 24), 2, 3);
        assert_eq!((low.rows.height, low.pane.height), (19, 0));
    }

    #[test]
    fn parts_never_overlap_at_any_height() {
        for height in 0..=80 {
            for header in [2, 3] {
                let area = Rect::new(0, 0, 80, height);
                let parts = Parts::of(area, header, 30);
                for part in [parts.titles, parts.rows, parts.pane, parts.footer] {
                    assert!(part.bottom() <= height, "{height}: {parts:?}");
                }
                assert!(parts.rows.bottom() <= parts.pane.y || parts.pane.height == 0);
                assert!(parts.pane.bottom() <= parts.footer.y);
            }
        }
    }
}
