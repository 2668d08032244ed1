//! From keys to actions. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::order::Column;

/// What is on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All units.
    #[default]
    Table,
    /// All units, and the filter is being typed.
    Filter,
    /// One unit.
    History,
    /// The keys.
    Help,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The end.
    Quit,
    /// So many lines down, or up.
    Move(isize),
    /// So many pages down, or up.
    Page(isize),
    /// To the beginning.
    First,
    /// To the end.
    Last,
    /// Sort by this column.
    Sort(Column),
    /// Sort by the column beside.
    SortBeside(isize),
    /// The other way round.
    Reverse,
    /// Type a filter.
    Filter,
    /// Another character of it.
    Type(char),
    /// Its last character away.
    Erase,
    /// All of it away.
    EraseAll,
    /// It is as it should be.
    Keep,
    /// Show the selected unit.
    Open,
    /// Back to where one came from.
    Back,
    /// Hold the picture, or go on.
    Pause,
    /// Show the keys.
    Help,
    /// Paint everything anew.
    Repaint,
}

/// What a key asks for, if anything.
#[must_use]
pub fn action(mode: Mode, key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Action::Quit),
            KeyCode::Char('l') => Some(Action::Repaint),
            KeyCode::Char('u') if mode == Mode::Filter => Some(Action::EraseAll),
            KeyCode::Char('d' | 'f') => Some(Action::Page(1)),
            KeyCode::Char('u' | 'b') => Some(Action::Page(-1)),
            _ => None,
        };
    }
    match mode {
        Mode::Filter => typing(key.code),
        Mode::Table => table(key.code).or_else(|| anywhere(key.code)),
        Mode::History => history(key.code).or_else(|| anywhere(key.code)),
        Mode::Help => match anywhere(key.code) {
            Some(action @ (Action::Quit | Action::Move(_) | Action::Page(_))) => Some(action),
            _ => Some(Action::Back),
        },
    }
}

const fn typing(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char(character) => Some(Action::Type(character)),
        KeyCode::Backspace => Some(Action::Erase),
        KeyCode::Enter | KeyCode::Down | KeyCode::Up => Some(Action::Keep),
        KeyCode::Esc => Some(Action::Back),
        _ => None,
    }
}

fn table(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Enter => Some(Action::Open),
        KeyCode::Esc => Some(Action::Back),
        KeyCode::Char('/') => Some(Action::Filter),
        KeyCode::Left | KeyCode::Char('<') => Some(Action::SortBeside(-1)),
        KeyCode::Right | KeyCode::Char('>') => Some(Action::SortBeside(1)),
        KeyCode::Char('R') => Some(Action::Reverse),
        KeyCode::Char(letter) => Column::ALL
            .into_iter()
            .find(|column| column.key() == letter)
            .map(Action::Sort),
        _ => None,
    }
}

const fn history(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Esc | KeyCode::Enter | KeyCode::Left | KeyCode::Backspace => Some(Action::Back),
        _ => None,
    }
}

const fn anywhere(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char('q') => Some(Action::Quit),
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Some(Action::Help),
        KeyCode::Char(' ') => Some(Action::Pause),
        KeyCode::Char('j') | KeyCode::Down => Some(Action::Move(1)),
        KeyCode::Char('k') | KeyCode::Up => Some(Action::Move(-1)),
        KeyCode::PageDown => Some(Action::Page(1)),
        KeyCode::PageUp => Some(Action::Page(-1)),
        KeyCode::Char('g') | KeyCode::Home => Some(Action::First),
        KeyCode::Char('G') | KeyCode::End => Some(Action::Last),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(mode: Mode, code: KeyCode) -> Option<Action> {
        action(mode, KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn ctrl_c_ends_it_everywhere() {
        for mode in [Mode::Table, Mode::Filter, Mode::History, Mode::Help] {
            let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(action(mode, key), Some(Action::Quit));
        }
    }

    #[test]
    fn letters_are_columns_in_the_table_and_text_in_the_filter() {
        let q = KeyCode::Char('q');
        assert_eq!(plain(Mode::Table, q), Some(Action::Quit));
        assert_eq!(plain(Mode::Filter, q), Some(Action::Type('q')));
        let a = KeyCode::Char('a');
        assert_eq!(plain(Mode::Table, a), Some(Action::Sort(Column::Age)));
        assert_eq!(plain(Mode::History, a), None);
        assert_eq!(
            plain(Mode::Filter, KeyCode::Char(' ')),
            Some(Action::Type(' '))
        );
    }

    #[test]
    fn no_column_takes_a_key_that_means_something_else() {
        for column in Column::ALL {
            let code = KeyCode::Char(column.key());
            assert_eq!(anywhere(code), None, "{column:?}");
            assert_eq!(table(code), Some(Action::Sort(column)));
        }
    }

    #[test]
    fn any_key_leaves_the_help() {
        assert_eq!(plain(Mode::Help, KeyCode::Char('x')), Some(Action::Back));
        assert_eq!(plain(Mode::Help, KeyCode::Char('q')), Some(Action::Quit));
    }

    #[test]
    fn a_key_that_is_let_go_asks_for_nothing() {
        let mut key = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        key.kind = KeyEventKind::Release;
        assert_eq!(action(Mode::Table, key), None);
    }
}
