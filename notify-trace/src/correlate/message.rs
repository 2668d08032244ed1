//! What a message says, asked by key. Pure.

use crate::event::{Line, Notification};

/// Keys by which a hop is not recognised: they speak of the datagram or of the sender itself.
const NOT_CONTENT: [&[u8]; 4] = [b"BARRIER", b"FDSTORE", b"FDNAME", b"EXIT_STATUS"];

/// An assignment; its value is unknown where it was withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assignment<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

impl Assignment<'_> {
    /// Whether it can tell a message from others.
    pub(super) fn is_content(&self) -> bool {
        !NOT_CONTENT.contains(&self.key)
    }
}

/// All assignments in order.
pub(super) fn assignments(notification: &Notification) -> impl Iterator<Item = Assignment<'_>> {
    assignments_of(&notification.lines)
}

/// The same of a message's lines.
pub(super) fn assignments_of(lines: &[Line]) -> impl Iterator<Item = Assignment<'_>> {
    lines.iter().filter_map(|line| {
        Some(Assignment {
            key: &line.key()?.0,
            value: match line {
                Line::Assignment { value, .. } => Some(&value.0),
                Line::Redacted { .. } | Line::Other { .. } => None,
            },
        })
    })
}

/// The first assignment to a key, as systemd takes it.
pub(crate) fn find<'a>(notification: &'a Notification, key: &str) -> Option<Assignment<'a>> {
    assignments(notification).find(|it| it.key == key.as_bytes())
}

/// Whether `key=1` is said. A value that was withheld counts as 1: nothing else is in use.
pub(crate) fn says(notification: &Notification, key: &str) -> bool {
    find(notification, key).is_some_and(|it| it.value.is_none_or(|value| value == b"1"))
}

/// A number, where there is one.
pub(crate) fn number(notification: &Notification, key: &str) -> Option<u64> {
    let value = find(notification, key)?.value?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// Whether it has assignments, all of them to these keys.
pub(super) fn has_only(notification: &Notification, keys: &[&str]) -> bool {
    let is_one = |it: Assignment<'_>| keys.iter().any(|key| key.as_bytes() == it.key);
    assignments(notification).next().is_some() && assignments(notification).all(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::Sample;

    #[test]
    fn the_first_assignment_to_a_key_counts() {
        let it = Sample::new("READY=1\nSTATUS=a\nSTATUS=b\nMAINPID=17").build();
        assert!(says(&it, "READY") && !says(&it, "STOPPING"));
        assert_eq!(find(&it, "STATUS").and_then(|it| it.value), Some(&b"a"[..]));
        assert_eq!(number(&it, "MAINPID"), Some(17));
        assert_eq!(number(&it, "STATUS"), None);
        assert!(!says(&Sample::new("READY=0").build(), "READY"));
    }

    #[test]
    fn a_message_of_certain_keys_only() {
        let only = ["EXIT_STATUS", "ERRNO"];
        assert!(has_only(&Sample::new("EXIT_STATUS=0").build(), &only));
        assert!(!has_only(
            &Sample::new("EXIT_STATUS=0\nREADY=1").build(),
            &only
        ));
        assert!(!has_only(&Sample::new("").build(), &only));
    }
}
