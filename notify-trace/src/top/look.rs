//! What the user looks at: the mode, the order, the filter, the selection. Pure.

use std::sync::Arc;

use super::keys::{Action, Mode};
use super::order::{self, Column, Sort};
use super::row::Row;
use super::state::Picture;

/// Most characters of a filter.
const FILTER_CHARACTERS: usize = 60;

/// What the user looks at.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// What is on the screen.
    pub mode: Mode,
    /// The order of the rows.
    pub sort: Sort,
    /// Words that must stand in a row.
    pub filter: String,
    /// The picture that is held.
    pub paused: Option<Arc<Picture>>,
    /// The lines that the history was scrolled by.
    pub scroll: usize,
    /// Columns that are shown, and lines of a page; the last drawing says it.
    pub shown: Shown,
    /// The first row that is shown.
    first: usize,
    /// The label of the selected row. Nothing was selected yet: it is the first.
    selected: Option<String>,
    /// Where help was asked for.
    before: Mode,
}

/// What fitted on the screen.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Columns.
    pub columns: Vec<Column>,
    /// Lines of a page.
    pub lines: usize,
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Draw.
    Draw,
    /// Paint everything anew.
    Repaint,
    /// End.
    Quit,
}

/// The rows that are shown.
#[derive(Debug)]
pub struct Rows {
    /// All that the filter lets through, in order.
    pub all: Vec<Arc<Row>>,
    /// The selected one.
    pub selected: usize,
    /// The first that fits on the screen.
    pub first: usize,
}

impl Rows {
    /// The selected row, if there is any.
    #[must_use]
    pub fn row(&self) -> Option<&Arc<Row>> {
        self.all.get(self.selected)
    }
}

impl Look {
    /// What is to be drawn: the picture of this moment, or the one that is held.
    #[must_use]
    pub fn picture(&self, now: &Arc<Picture>) -> Arc<Picture> {
        Arc::clone(self.paused.as_ref().unwrap_or(now))
    }

    /// The rows that the filter lets through, in order.
    #[must_use]
    pub fn wanted(&self, picture: &Picture) -> Vec<Arc<Row>> {
        order::rows(picture, self.sort, &self.filter)
    }

    /// The same, of which so many fit on the screen: the selected one among them.
    pub fn rows(&mut self, all: Vec<Arc<Row>>, fit: usize) -> Rows {
        let selected = self.position(&all);
        let last_first = all.len().saturating_sub(fit);
        let lowest = (selected + 1).saturating_sub(fit);
        self.first = self
            .first
            .clamp(lowest, selected.max(lowest))
            .min(last_first);
        Rows {
            all,
            selected,
            first: self.first,
        }
    }

    /// The unit whose history is shown, even if the filter does not let it through.
    #[must_use]
    pub fn opened<'a>(&self, picture: &'a Picture) -> Option<&'a Arc<Row>> {
        let label = self.selected.as_deref()?;
        picture.rows.iter().find(|row| row.identity.label == label)
    }

    /// Does what is asked for.
    pub fn apply(&mut self, action: Action, now: &Arc<Picture>) -> Then {
        match action {
            Action::Quit => return Then::Quit,
            Action::Repaint => return Then::Repaint,
            Action::Help => {
                self.before = self.mode;
                self.mode = Mode::Help;
                self.scroll = 0;
            }
            Action::Back => self.back(),
            Action::Pause => {
                self.paused = match self.paused.take() {
                    Some(_) => None,
                    None => Some(Arc::clone(now)),
                };
            }
            Action::Filter => self.mode = Mode::Filter,
            Action::Type(character) => {
                if self.filter.chars().count() < FILTER_CHARACTERS && !character.is_control() {
                    self.filter.push(character);
                }
            }
            Action::Erase => {
                self.filter.pop();
            }
            Action::EraseAll => self.filter.clear(),
            Action::Keep => self.mode = Mode::Table,
            Action::Sort(column) => self.sort = self.sort.chosen(column),
            Action::SortBeside(by) => self.sort = self.sort.moved(&self.shown.columns, by),
            Action::Reverse => self.sort = self.sort.reversed(),
            Action::Open => self.open(now),
            Action::Move(by) => self.go(by, now),
            Action::Page(by) => {
                let lines = isize::try_from(self.shown.lines.max(1)).unwrap_or(isize::MAX);
                self.go(by.saturating_mul(lines), now);
            }
            Action::First => self.go(isize::MIN, now),
            Action::Last => self.go(isize::MAX, now),
        }
        Then::Draw
    }

    fn back(&mut self) {
        match self.mode {
            Mode::Help => self.mode = self.before,
            Mode::History => self.mode = Mode::Table,
            // Esc takes the filter away.
            Mode::Filter | Mode::Table => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
        }
    }

    fn open(&mut self, now: &Arc<Picture>) {
        let rows = self.wanted(&self.picture(now));
        if let Some(row) = rows.get(self.position(&rows)) {
            self.selected = Some(row.identity.label.clone());
            self.scroll = 0;
            self.mode = Mode::History;
        }
    }

    fn go(&mut self, by: isize, now: &Arc<Picture>) {
        if matches!(self.mode, Mode::History | Mode::Help) {
            self.scroll = self.scroll.saturating_add_signed(by);
            return;
        }
        let rows = self.wanted(&self.picture(now));
        let last = rows.len().saturating_sub(1);
        let at = self.position(&rows).saturating_add_signed(by).min(last);
        self.selected = rows.get(at).map(|row| row.identity.label.clone());
    }

    /// Where the selected row stands; the first if it isn't there.
    fn position(&self, rows: &[Arc<Row>]) -> usize {
        self.selected
            .as_ref()
            .and_then(|label| rows.iter().position(|row| row.identity.label == *label))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::Sample;
    use crate::event::Event;
    use crate::top::state::State;

    fn picture(units: u64) -> Arc<Picture> {
        let mut state = State::default();
        for number in 0..units {
            let unit = format!("u{number:02}.service");
            let it = Sample::new("READY=1").id(number).from("u", 7, &unit);
            state.event(&Event::Send(Box::new(it.build())));
        }
        Arc::new(state.picture(None))
    }

    fn by_unit() -> Look {
        Look {
            sort: Sort::by(Column::Unit),
            shown: Shown {
                columns: Column::ALL.to_vec(),
                lines: 5,
            },
            ..Look::default()
        }
    }

    fn rows(look: &mut Look, picture: &Picture) -> Rows {
        look.rows(look.wanted(picture), 5)
    }

    #[test]
    fn the_selection_stays_with_its_unit_when_the_order_changes() {
        let picture = picture(20);
        let mut look = by_unit();
        look.apply(Action::Move(3), &picture);
        assert_eq!(rows(&mut look, &picture).selected, 3);
        look.apply(Action::Sort(Column::Unit), &picture);
        let rows = rows(&mut look, &picture);
        assert_eq!((rows.selected, rows.first), (16, 12));
        assert_eq!(
            rows.row().map(|row| row.identity.label.as_str()),
            Some("u03.service")
        );
    }

    #[test]
    fn the_selected_row_is_on_the_screen() {
        let picture = picture(20);
        let mut look = by_unit();
        let mut at = |action| {
            look.apply(action, &picture);
            let rows = rows(&mut look, &picture);
            (rows.selected, rows.first)
        };
        assert_eq!(at(Action::Last), (19, 15));
        assert_eq!(at(Action::Move(-4)), (15, 15));
        assert_eq!(at(Action::Page(-1)), (10, 10));
        assert_eq!(at(Action::Move(2)), (12, 10));
        assert_eq!(at(Action::First), (0, 0));
        assert_eq!(at(Action::Move(-1)), (0, 0));
    }

    #[test]
    fn nothing_can_be_selected_where_nothing_is() {
        let picture = picture(0);
        let mut look = by_unit();
        for action in [Action::Last, Action::Open, Action::Page(-1)] {
            assert_eq!(look.apply(action, &picture), Then::Draw);
            assert!(rows(&mut look, &picture).row().is_none());
        }
        assert_eq!(look.mode, Mode::Table);
    }

    #[test]
    fn a_held_picture_stays_until_it_is_let_go() {
        let (old, new) = (picture(1), picture(5));
        let mut look = by_unit();
        look.apply(Action::Pause, &old);
        assert_eq!(look.picture(&new).rows.len(), 1);
        look.apply(Action::Pause, &new);
        assert_eq!(look.picture(&new).rows.len(), 5);
    }

    #[test]
    fn the_filter_is_typed_kept_and_taken_away() {
        let picture = picture(20);
        let mut look = by_unit();
        look.apply(Action::Filter, &picture);
        for character in "u1x\u{7}".chars() {
            look.apply(Action::Type(character), &picture);
        }
        look.apply(Action::Erase, &picture);
        assert_eq!(look.filter, "u1");
        look.apply(Action::Keep, &picture);
        assert_eq!(
            (look.mode, rows(&mut look, &picture).all.len()),
            (Mode::Table, 10)
        );
        look.apply(Action::Back, &picture);
        assert_eq!(rows(&mut look, &picture).all.len(), 20);
    }

    #[test]
    fn help_goes_back_to_where_it_was_asked_for() {
        let picture = picture(2);
        let mut look = by_unit();
        look.apply(Action::Open, &picture);
        look.apply(Action::Help, &picture);
        look.apply(Action::Back, &picture);
        assert_eq!(look.mode, Mode::History);
        assert!(look.opened(&picture).is_some());
        look.apply(Action::Back, &picture);
        assert_eq!(look.mode, Mode::Table);
    }
}
