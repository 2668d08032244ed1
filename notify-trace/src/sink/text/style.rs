//! What stands out in colour. Nothing is said by colour alone.

use anstyle::{AnsiColor, Effects};

/// What a piece of text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Style {
    /// Nothing special.
    #[default]
    Plain,
    /// Less important than the rest.
    Quiet,
    /// A unit.
    Unit,
    /// A container.
    Container,
    /// Nothing is wrong.
    Good,
    /// It isn't over yet, or isn't as usual.
    Odd,
    /// Something went wrong.
    Bad,
}

impl Style {
    const fn ansi(self) -> anstyle::Style {
        let plain = anstyle::Style::new();
        match self {
            Self::Plain => plain,
            Self::Quiet => plain.effects(Effects::DIMMED),
            Self::Unit => plain.effects(Effects::BOLD),
            Self::Container => AnsiColor::Cyan.on_default().effects(Effects::BOLD),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Odd => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().effects(Effects::BOLD),
        }
    }

    /// The text as it goes to the terminal.
    pub(super) fn paint(self, text: &str, is_coloured: bool) -> String {
        if !is_coloured || self == Self::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = self.ansi();
        format!("{}{text}{}", style.render(), style.render_reset())
    }
}
