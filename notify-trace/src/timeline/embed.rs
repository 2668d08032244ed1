//! Text of others inside of markup: quoted so that it can end nothing and begin nothing.

use std::fmt::{self, Display, Formatter, Write as _};

use serde::Serialize;

/// JSON that may stand in a `<script>` element: nothing in it can end the element, begin a comment in it,
/// or end a line of a script.
///
/// # Errors
/// If it can't be written as JSON.
pub(super) fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(value)?;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        // Outside of strings JSON has none of these.
        if matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    Ok(out)
}

/// Text in an XML element or attribute. What XML does not allow at all, and what would act on the line,
/// becomes a notation as in [`crate::escape`]; as a rule it has before.
pub(super) fn xml(text: &str) -> impl Display {
    Xml(text)
}

struct Xml<'a>(&'a str);

impl Display for Xml<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' => f.write_str("&#10;")?,
                _ if crate::escape::is_dangerous(character) || is_no_character(character) => {
                    write!(f, "\\u{{{:x}}}", u32::from(character))?;
                }
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// XML has these in no form.
const fn is_no_character(character: char) -> bool {
    matches!(character, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_ends_no_script_and_stays_the_same_json() {
        let hostile = "</script><script>alert(1)</script><!-- & \u{2028}\u{2029} \" \\";
        let text = json(&hostile).expect("a string");
        assert!(!text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']));
        let back: String = serde_json::from_str(&text).expect("JSON");
        assert_eq!(back, hostile);
    }

    #[test]
    fn xml_has_no_markup_no_controls_and_nothing_that_turns_the_line() {
        let hostile = "</text>\"'&<b \u{1b}[2J\u{202e}x\u{0}\u{fffe}";
        let text = xml(hostile).to_string();
        assert_eq!(
            text,
            "&lt;/text&gt;&quot;&#39;&amp;&lt;b \\u{1b}[2J\\u{202e}x\\u{0}\\u{fffe}"
        );
    }
}
