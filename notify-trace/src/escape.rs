//! Makes bytes that anyone may have chosen safe to show in one line of a terminal.
//!
//! Printable Unicode stays as it is. What could move the cursor, reorder the line, hide in it or
//! end it becomes a backslash notation, and so does the backslash, so that different bytes never
//! look the same: `\n`, `\r`, `\t`, `\e` (escape), `\\`, `\x07` (a byte: a control character or
//! one that isn't UTF-8), `\u{202e}` (a character). Allocates nothing.

use std::fmt::{self, Display, Formatter, Write as _};
use std::path::Path;

/// Shows bytes as text in which nothing is dangerous.
#[must_use]
pub fn escape(bytes: &[u8]) -> impl Display {
    Escaped {
        bytes,
        single_spaces: false,
    }
}

/// Shows a path as text in which nothing is dangerous.
#[must_use]
pub fn path(path: &Path) -> impl Display {
    escape(path.as_os_str().as_encoded_bytes())
}

/// Like [`escape`], for a line whose parts are separated by two spaces: white space beside white
/// space or at either end is escaped as well (`\x20`), so that no value can look like two parts.
#[must_use]
pub fn escape_field(bytes: &[u8]) -> impl Display {
    Escaped {
        bytes,
        single_spaces: true,
    }
}

struct Escaped<'a> {
    bytes: &'a [u8],
    single_spaces: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut chunks = self.bytes.utf8_chunks().peekable();
        let mut after_space = self.single_spaces;
        while let Some(chunk) = chunks.next() {
            let mut characters = chunk.valid().chars().peekable();
            while let Some(character) = characters.next() {
                let is_space = self.single_spaces && character.is_whitespace();
                let is_last = characters.peek().is_none()
                    && chunk.invalid().is_empty()
                    && chunks.peek().is_none();
                if is_space && (after_space || is_last) {
                    write_escaped(character, f)?;
                } else {
                    write_character(character, f)?;
                }
                after_space = is_space;
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
                after_space = false;
            }
        }
        Ok(())
    }
}

fn write_character(character: char, f: &mut Formatter<'_>) -> fmt::Result {
    match character {
        '\\' => f.write_str("\\\\"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\x1b' => f.write_str("\\e"),
        _ if is_dangerous(character) => write_escaped(character, f),
        _ => f.write_char(character),
    }
}

/// A character by its number.
fn write_escaped(character: char, f: &mut Formatter<'_>) -> fmt::Result {
    let number = u32::from(character);
    if character.is_ascii() {
        write!(f, "\\x{number:02x}")
    } else {
        write!(f, "\\u{{{number:x}}}")
    }
}

/// A name or a sentence that may be anybody's, with what is dangerous in it by its number
/// (`\u{1b}`). Unlike [`escape`], for text that is no value: its backslashes stay as they are.
#[must_use]
pub fn harmless(text: &str) -> String {
    harmless_but(text, |_| false)
}

/// Like [`harmless`]; `may_stay`: characters that the format around it takes care of.
#[must_use]
pub fn harmless_but(text: &str, may_stay: impl Fn(char) -> bool) -> String {
    text.chars()
        .map(|it| {
            if is_dangerous(it) && !may_stay(it) {
                format!("\\u{{{:x}}}", u32::from(it))
            } else {
                it.to_string()
            }
        })
        .collect()
}

/// Whether a character must not reach a terminal as it is: a control, or one that is deceptive.
#[must_use]
pub fn is_dangerous(character: char) -> bool {
    character.is_control() || is_deceptive(character)
}

/// Whether a character, though no control, would act on the line or be invisible in it: the
/// general categories Cf, Zl and Zp, and `Default_Ignorable_Code_Point` (Unicode 17).
fn is_deceptive(character: char) -> bool {
    DECEPTIVE
        .binary_search_by(|&(first, last)| {
            if last < character {
                std::cmp::Ordering::Less
            } else if first > character {
                std::cmp::Ordering::Greater
            } else {
                std::cmp::Ordering::Equal
            }
        })
        .is_ok()
}

/// Ranges in order, both ends included.
const DECEPTIVE: [(char, char); 30] = [
    ('\u{ad}', '\u{ad}'),       // soft hyphen
    ('\u{34f}', '\u{34f}'),     // combining grapheme joiner
    ('\u{600}', '\u{605}'),     // Arabic number signs
    ('\u{61c}', '\u{61c}'),     // Arabic letter mark (bidi)
    ('\u{6dd}', '\u{6dd}'),     // Arabic end of ayah
    ('\u{70f}', '\u{70f}'),     // Syriac abbreviation mark
    ('\u{890}', '\u{891}'),     // Arabic pound and piastre marks
    ('\u{8e2}', '\u{8e2}'),     // Arabic disputed end of ayah
    ('\u{115f}', '\u{1160}'),   // Hangul fillers
    ('\u{17b4}', '\u{17b5}'),   // Khmer inherent vowels
    ('\u{180b}', '\u{180f}'),   // Mongolian variation selectors, vowel separator
    ('\u{200b}', '\u{200f}'),   // zero-width space and joiners, bidi marks
    ('\u{2028}', '\u{202e}'),   // line and paragraph separators, bidi embeddings and overrides
    ('\u{2060}', '\u{206f}'),   // word joiner, invisible operators, bidi isolates
    ('\u{2800}', '\u{2800}'),   // blank Braille pattern: looks like a space, is none
    ('\u{3164}', '\u{3164}'),   // Hangul filler
    ('\u{fe00}', '\u{fe0f}'),   // variation selectors
    ('\u{feff}', '\u{feff}'),   // byte order mark
    ('\u{ffa0}', '\u{ffa0}'),   // halfwidth Hangul filler
    ('\u{fff0}', '\u{fff8}'),   // reserved, ignorable
    ('\u{fff9}', '\u{fffb}'),   // interlinear annotations
    ('\u{110bd}', '\u{110bd}'), // Kaithi number sign
    ('\u{110cd}', '\u{110cd}'), // Kaithi number sign above
    ('\u{13430}', '\u{1343f}'), // Egyptian hieroglyph format controls
    ('\u{1bca0}', '\u{1bca3}'), // shorthand format controls
    ('\u{1d173}', '\u{1d17a}'), // musical symbol format controls
    ('\u{e0000}', '\u{e007f}'), // tags
    ('\u{e0080}', '\u{e00ff}'), // reserved, ignorable
    ('\u{e0100}', '\u{e01ef}'), // variation selectors
    ('\u{e01f0}', '\u{e0fff}'), // reserved, ignorable
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(bytes: impl AsRef<[u8]>) -> String {
        escape(bytes.as_ref()).to_string()
    }

    fn field(bytes: impl AsRef<[u8]>) -> String {
        escape_field(bytes.as_ref()).to_string()
    }

    #[test]
    fn printable_text_stays() {
        for text in [
            "READY=1",
            "Grüße, 世界 🎉",
            "a  b",
            "~!\"'",
            "نص",
            "e\u{301}",
        ] {
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn each_notation_is_the_documented_one() {
        for (bytes, expected) in [
            ("\n\r\t\x1b\\".as_bytes(), r"\n\r\t\e\\"),
            (b"\0\x07\x1f\x7f", r"\x00\x07\x1f\x7f"),
            ("\u{85}\u{9b}".as_bytes(), r"\u{85}\u{9b}"),
            (b"a\xffb\xc3", r"a\xffb\xc3"),
            (
                "\u{202e}\u{200b}\u{2028}\u{e0041}".as_bytes(),
                r"\u{202e}\u{200b}\u{2028}\u{e0041}",
            ),
        ] {
            assert_eq!(escaped(bytes), expected);
        }
    }

    #[test]
    fn a_terminal_sequence_becomes_harmless() {
        assert_eq!(escaped("\x1b]0;pwned\x07\x1b[2J"), r"\e]0;pwned\x07\e[2J");
    }

    #[test]
    fn every_c1_control_and_every_range_end_is_escaped() {
        for number in 0x80..=0x9f_u8 {
            assert!(escaped(char::from(number).to_string()).starts_with(r"\u{"));
        }
        for (first, last) in DECEPTIVE {
            for character in [first, last] {
                assert!(
                    escaped(character.to_string()).starts_with('\\'),
                    "{character:?}"
                );
            }
        }
        assert!(DECEPTIVE.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn in_a_field_only_single_inner_spaces_stay() {
        assert_eq!(field("Ready to serve"), "Ready to serve");
        assert_eq!(field(" a  b   c "), r"\x20a \x20b \x20\x20c\x20");
        assert_eq!(field("a \u{3000}b"), r"a \u{3000}b");
        assert_eq!(field(" "), r"\x20");
        assert_eq!(field(b"a \xff b"), r"a \xff b");
        assert_eq!(field(b"a \xff"), r"a \xff");
    }

    /// The opposite of [`escape`].
    fn unescape(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            if character != '\\' {
                bytes.extend_from_slice(character.to_string().as_bytes());
                continue;
            }
            let kind = rest.chars().next().expect("something is escaped");
            rest = &rest[1..];
            match kind {
                'n' => bytes.push(b'\n'),
                'r' => bytes.push(b'\r'),
                't' => bytes.push(b'\t'),
                'e' => bytes.push(0x1b),
                '\\' => bytes.push(b'\\'),
                'x' => {
                    bytes.push(u8::from_str_radix(&rest[..2], 16).expect("two digits"));
                    rest = &rest[2..];
                }
                'u' => {
                    let (digits, after) = rest[1..].split_once('}').expect("it ends");
                    let number = u32::from_str_radix(digits, 16).expect("digits");
                    let character = char::from_u32(number).expect("a character");
                    bytes.extend_from_slice(character.to_string().as_bytes());
                    rest = after;
                }
                other => panic!("unknown escape {other:?}"),
            }
        }
        bytes
    }

    fn anything() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            proptest::collection::vec(any::<char>(), 0..30)
                .prop_map(|text| text.into_iter().collect::<String>().into_bytes()),
            proptest::collection::vec(
                prop::sample::select(vec![
                    '\\', 'x', 'u', '{', '}', ' ', '\u{202e}', 'e', '\n', '0', '2', '\u{3000}'
                ]),
                0..30
            )
            .prop_map(|text| text.into_iter().collect::<String>().into_bytes()),
        ]
    }

    proptest! {
        #[test]
        fn nothing_dangerous_comes_out_and_nothing_is_lost(bytes in anything()) {
            for text in [escaped(&bytes), field(&bytes)] {
                prop_assert!(!text.chars().any(|c| c.is_control() || is_deceptive(c)));
                prop_assert_eq!(unescape(&text), &bytes[..]);
            }
        }

        #[test]
        fn a_field_never_has_space_beside_space_or_at_its_ends(bytes in anything()) {
            let text = field(&bytes);
            prop_assert_eq!(text.trim(), &text);
            let spaces: Vec<bool> = text.chars().map(char::is_whitespace).collect();
            prop_assert!(!spaces.windows(2).any(|pair| pair[0] && pair[1]));
        }
    }
}
