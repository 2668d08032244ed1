//! Columns: how wide each is at a given width of the terminal, and how text is fitted into them.
//!
//! Widths are those of a terminal's cells: wide characters take two, combining ones none.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Between columns.
pub(super) const GAP: &str = "  ";

/// A terminal as narrow as that still gets lines; a narrower one wraps them itself.
const NARROWEST: usize = 40;

/// From here on a notification is one line, below it is two.
const ONE_LINE_FROM: usize = 110;

/// From here on there is room for microseconds and longer names.
const ROOMY_FROM: usize = 160;

/// `DELIVERED`, `DESTROYED`.
pub(super) const FATE: usize = 9;

/// Where what stands, in cells. A column holds its text whole where lines have no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Cells of a whole line; `None`: lines are as long as they have to be.
    pub(super) width: Option<usize>,
    /// Unit or container.
    pub(super) who: usize,
    /// `comm[pid]` of the sender.
    pub(super) sender: usize,
    /// The receiver.
    pub(super) receiver: usize,
    /// The message stands on a line of its own.
    pub(super) is_two_lines: bool,
    /// Times have microseconds.
    pub(super) has_microseconds: bool,
}

impl Layout {
    /// For a terminal of so many cells, or for a file.
    pub(super) const fn new(width: Option<usize>) -> Self {
        let Some(width) = width else {
            return Self {
                width,
                who: 28,
                sender: 22,
                receiver: 12,
                is_two_lines: false,
                has_microseconds: true,
            };
        };
        let width = if width < NARROWEST { NARROWEST } else { width };
        let (sender, receiver) = if width >= ROOMY_FROM {
            (23, 20)
        } else if width >= ONE_LINE_FROM {
            (20, 12)
        } else if width >= 80 {
            (17, 11)
        } else if width >= 60 {
            (10, 6)
        } else {
            (6, 2)
        };
        let has_microseconds = width >= ROOMY_FROM;
        let is_two_lines = width < ONE_LINE_FROM;
        let time = if has_microseconds { 15 } else { 12 };
        // TIME  FATE  WHO  SENDER → RECEIVER  MESSAGE
        let fixed = time + 2 + FATE + 2 + 2 + sender + 3 + receiver;
        let rest = width.saturating_sub(fixed);
        let who = if is_two_lines {
            rest
        } else if has_microseconds {
            (rest - 2) / 3
        } else {
            (rest - 2) * 3 / 7
        };
        Self {
            width: Some(width),
            who,
            sender,
            receiver,
            is_two_lines,
            has_microseconds,
        }
    }

    /// Cells of a time.
    pub(super) const fn time(&self) -> usize {
        if self.has_microseconds { 15 } else { 12 }
    }

    /// Where a message begins.
    pub(super) const fn message_at(&self) -> usize {
        let who_at = self.time() + 2 + FATE + 2;
        if self.is_two_lines {
            who_at
        } else {
            who_at + self.who + 2 + self.sender + 3 + self.receiver + 2
        }
    }

    /// Cells of a line of the message.
    pub(super) fn message(&self) -> Option<usize> {
        Some(self.width?.saturating_sub(self.message_at()).max(10))
    }

    /// Text cut to a column, if columns are bounded, and filled up with spaces.
    pub(super) fn column(&self, text: &str, cells: usize) -> String {
        self.fitted(text, cells, cut_middle)
    }

    /// The same for `comm[pid]`, of which the pid stays whole.
    pub(super) fn name_column(&self, name: &str, cells: usize) -> String {
        self.fitted(name, cells, cut_name)
    }

    fn fitted(&self, text: &str, cells: usize, cut: fn(&str, usize) -> String) -> String {
        let text = match self.width {
            Some(_) => cut(text, cells),
            None => text.to_owned(),
        };
        let used = text.width();
        format!("{text}{}", " ".repeat(cells.saturating_sub(used)))
    }
}

/// At most so many cells: the middle gives way, because both ends of names tell most.
pub(super) fn cut_middle(text: &str, cells: usize) -> String {
    if text.width() <= cells {
        return text.to_owned();
    }
    let kept = cells.saturating_sub(1);
    let end = kept / 2;
    let front = take(text.chars(), kept - end);
    let back: String = take(text.chars().rev(), end).chars().rev().collect();
    format!("{front}…{back}")
}

/// At most so many cells of `comm[pid]`: the pid is what one goes on with.
fn cut_name(name: &str, cells: usize) -> String {
    let pid = name.rfind('[').map_or("", |at| &name[at..]);
    let room = cells.saturating_sub(pid.width());
    if name.width() <= cells || room < 2 || pid.is_empty() {
        return cut_middle(name, cells);
    }
    let comm = take(name.chars(), room - 1);
    format!("{comm}…{pid}")
}

/// As many characters as fit into so many cells.
fn take(characters: impl Iterator<Item = char>, cells: usize) -> String {
    let mut left = cells;
    characters
        .map_while(|character| {
            left = left.checked_sub(character.width().unwrap_or(0))?;
            Some(character)
        })
        .collect()
}

/// Stands before a line that continues the part above it, so that no value can pretend, by its
/// length, to be a part of its own.
pub(super) const CONTINUED: &str = "┆ ";

/// A part of a line, with what makes it stand out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) struct Part {
    pub(in crate::sink) text: String,
    pub(super) style: super::style::Style,
}

/// Parts on as few lines as they need; a part that is longer than a line is broken.
pub(super) fn wrap(parts: Vec<Part>, cells: Option<usize>) -> Vec<Vec<Part>> {
    let mut lines: Vec<Vec<Part>> = Vec::new();
    let mut used = 0;
    for part in parts {
        let width = part.text.width();
        let Some(cells) = cells else {
            match lines.first_mut() {
                Some(line) => line.push(part),
                None => lines.push(vec![part]),
            }
            continue;
        };
        match lines.last_mut() {
            Some(line) if used + GAP.len() + width <= cells => {
                used += GAP.len() + width;
                line.push(part);
            }
            _ => {
                for piece in pieces(&part.text, cells) {
                    used = piece.width();
                    lines.push(vec![Part {
                        text: piece,
                        style: part.style,
                    }]);
                }
            }
        }
    }
    lines
}

/// A text in pieces of at most so many cells, broken at spaces where that wastes little.
fn pieces(text: &str, cells: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut lead = "";
    loop {
        let room = cells.saturating_sub(lead.width()).max(2);
        let fitting = take(rest.chars(), room);
        if fitting.len() == rest.len() {
            pieces.push(format!("{lead}{rest}"));
            return pieces;
        }
        let at = match fitting.rfind(' ') {
            Some(space) if space * 2 > fitting.len() => space + 1,
            // One character at least, however wide.
            _ => fitting
                .len()
                .max(rest.chars().next().map_or(1, char::len_utf8)),
        };
        let (here, after) = rest.split_at(at);
        pieces.push(format!("{lead}{}", here.trim_end_matches(' ')));
        rest = after;
        lead = CONTINUED;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sink::text::style::Style;

    fn part(text: &str) -> Part {
        Part {
            text: text.to_owned(),
            style: Style::Plain,
        }
    }

    fn wrapped(texts: &[&str], cells: usize) -> Vec<String> {
        wrap(texts.iter().map(|text| part(text)).collect(), Some(cells))
            .into_iter()
            .map(|line| {
                line.into_iter()
                    .map(|it| it.text)
                    .collect::<Vec<_>>()
                    .join(GAP)
            })
            .collect()
    }

    #[test]
    fn columns_fill_the_terminal_and_no_more() {
        for width in 40..400 {
            let layout = Layout::new(Some(width));
            let sides = layout.sender + 3 + layout.receiver;
            let head = layout.time() + 2 + FATE + 2 + layout.who + 2 + sides;
            if layout.is_two_lines {
                assert!(head <= width, "{width}: {layout:?}");
            } else {
                assert_eq!(head + 2, layout.message_at());
                assert!(layout.message() >= Some(24), "{width}: {layout:?}");
            }
            let least = if width < 80 { 2 } else { 19 };
            assert!(layout.who >= least, "{width}: {layout:?}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_keeps_both_ends() {
        assert_eq!(cut_middle("systemd-journald.service", 12), "system…rvice");
        assert_eq!(cut_middle("short", 12), "short");
        assert_eq!(cut_middle("世界世界世界", 7), "世…界");
    }

    #[test]
    fn a_pid_stays_whole() {
        assert_eq!(cut_name("systemd-journal[218]", 17), "systemd-jou…[218]");
        assert_eq!(cut_name("python3[17332]", 11), "pyt…[17332]");
        assert_eq!(cut_name("python3[17332]", 8), "pyth…32]");
        assert_eq!(cut_name("?", 3), "?");
    }

    #[test]
    fn parts_go_to_the_next_line_whole_if_they_can() {
        assert_eq!(
            wrapped(&["READY=1", "STATUS=Running"], 23),
            ["READY=1  STATUS=Running"]
        );
        assert_eq!(
            wrapped(&["READY=1", "STATUS=Running"], 22),
            ["READY=1", "STATUS=Running"]
        );
    }

    #[test]
    fn a_part_that_is_longer_than_a_line_is_marked_where_it_goes_on() {
        assert_eq!(
            wrapped(&["STATUS=one two three", "FAILED"], 12),
            ["STATUS=one", "┆ two three", "FAILED"]
        );
        assert_eq!(wrapped(&["xxxxxxxx"], 5), ["xxxxx", "┆ xxx"]);
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_it_may_be_and_nothing_is_lost(
            texts in proptest::collection::vec("[a-c 世]{1,60}", 1..5),
            cells in 10_usize..50,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let lines = wrapped(&texts, cells);
            for line in &lines {
                prop_assert!(line.width() <= cells, "{line}");
            }
            let squeeze = |text: &str| text.replace(['┆', ' '], "");
            prop_assert_eq!(squeeze(&lines.concat()), squeeze(&texts.concat()));
        }
    }
}
