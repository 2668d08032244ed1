//! What stands out, and how. Nothing is said by colour alone.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    #[default]
    Plain,
    /// Less important than the rest.
    Quiet,
    /// A name.
    Name,
    /// A container.
    Container,
    /// Nothing is wrong.
    Good,
    /// It isn't over yet, or isn't as usual.
    Odd,
    /// Something went wrong.
    Bad,
    /// The column that rows are sorted by.
    Sorted,
    /// A key that can be pressed.
    Key,
    /// What must not be overlooked.
    Alarm,
}

/// With colours or without.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// With colours.
    pub is_coloured: bool,
}

impl Theme {
    /// How it looks.
    #[must_use]
    pub const fn style(self, role: Role) -> Style {
        let plain = Style::new();
        let style = match role {
            Role::Plain => plain,
            Role::Quiet => plain.add_modifier(Modifier::DIM),
            Role::Name | Role::Key => plain.add_modifier(Modifier::BOLD),
            Role::Container => plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            Role::Good => plain.fg(Color::Green),
            Role::Odd => plain.fg(Color::Yellow),
            Role::Bad => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            Role::Sorted => plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            Role::Alarm => plain
                .fg(Color::White)
                .bg(Color::Red)
                .add_modifier(Modifier::BOLD),
        };
        if self.is_coloured {
            return style;
        }
        let style = Style {
            fg: None,
            bg: None,
            ..style
        };
        match role {
            Role::Alarm => style.add_modifier(Modifier::REVERSED),
            _ => style,
        }
    }

    /// The selected row, laid over what stands in it.
    #[must_use]
    pub const fn selected(self) -> Style {
        if self.is_coloured {
            // Both are given, so that it can be read on a light and on a dark ground.
            Style::new()
                .bg(Color::Indexed(237))
                .remove_modifier(Modifier::DIM)
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        }
    }

    /// Text of the selected row that has no colour of its own.
    #[must_use]
    pub const fn selected_text(self) -> Option<Color> {
        if self.is_coloured {
            Some(Color::Indexed(255))
        } else {
            None
        }
    }

    /// The line of titles, and the one at the bottom.
    #[must_use]
    pub const fn bar(self) -> Style {
        if self.is_coloured {
            Style::new().fg(Color::Indexed(252)).bg(Color::Indexed(235))
        } else {
            Style::new().add_modifier(Modifier::UNDERLINED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_there_are_none() {
        let theme = Theme { is_coloured: false };
        let roles = [
            Role::Plain,
            Role::Quiet,
            Role::Name,
            Role::Container,
            Role::Good,
            Role::Odd,
            Role::Bad,
            Role::Sorted,
            Role::Key,
            Role::Alarm,
        ];
        let styles = roles.map(|role| theme.style(role));
        for style in styles.iter().chain(&[theme.selected(), theme.bar()]) {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }
}
