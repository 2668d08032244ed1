//! The grammar of a payload: lines of `KEY=VALUE`, and what a receiver will object to.
//!
//! Follows systemd's `manager_invoke_notify_message` and `notify-recv.c`, the receiver that most
//! senders have in mind. Judges the datagram alone: whether the receiver knows the key, or lets
//! the sender speak at all, can't be seen in it.

use bytes::Bytes;

use crate::event::{Blob, Defect, Line};

/// Most bytes that systemd takes: `NOTIFY_BUFFER_MAX` in `src/basic/constants.h`, `PIPE_BUF`.
pub const LENGTH_MAX: u32 = 4096;

/// A payload taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its lines in order.
    pub lines: Vec<Line>,
    /// What a receiver will object to, in the order of [`Defect`].
    pub defects: Vec<Defect>,
}

/// Takes a payload apart. `length` is that of the whole datagram: if it is more than `payload`
/// has, the end is missing. `fds` is how many file descriptors came with it, if that is known.
#[must_use]
pub fn parse(payload: &[u8], length: u32, fds: Option<u32>) -> Message {
    parse_into(Vec::new(), &Bytes::copy_from_slice(payload), length, fds)
}

/// The same without copying anything: the lines share the payload's memory, and are put into the room of
/// `lines`, which is emptied.
#[must_use]
pub fn parse_into(mut lines: Vec<Line>, payload: &Bytes, length: u32, fds: Option<u32>) -> Message {
    let complete = usize::try_from(length).is_ok_and(|length| length <= payload.len());
    let body = if complete { body(payload) } else { payload };
    lines.clear();
    if !body.is_empty() {
        lines.extend(
            body.split(|byte| *byte == b'\n')
                .map(|text| line(text, |part| Blob(payload.slice_ref(part)))),
        );
    }

    let before_end = match payload.split_last() {
        Some((_, rest)) if complete => rest,
        _ => payload,
    };
    let has_assignment = lines
        .iter()
        .any(|line| matches!(line, Line::Assignment { .. }));
    let defects = [
        (length > LENGTH_MAX, Defect::TooLong),
        (before_end.contains(&0), Defect::EmbeddedNul),
        (length == 0, Defect::Empty),
        (length > 0 && !has_assignment, Defect::NoAssignment),
        (status_is_not_utf8(&lines, complete), Defect::StatusNotUtf8),
        (is_malformed_barrier(&lines, fds), Defect::MalformedBarrier),
    ];
    Message {
        lines,
        defects: defects
            .into_iter()
            .filter_map(|(found, defect)| found.then_some(defect))
            .collect(),
    }
}

/// Without one trailing NUL and, before it, one trailing newline.
fn body(payload: &[u8]) -> &[u8] {
    let payload = payload.strip_suffix(b"\0").unwrap_or(payload);
    payload.strip_suffix(b"\n").unwrap_or(payload)
}

fn line(text: &[u8], part: impl Fn(&[u8]) -> Blob) -> Line {
    match text.iter().position(|byte| *byte == b'=') {
        None | Some(0) => Line::Other { text: part(text) },
        Some(equals) => Line::Assignment {
            key: part(&text[..equals]),
            value: part(&text[equals + 1..]),
        },
    }
}

/// A value whose last character is missing because the end of the payload is, counts as UTF-8.
fn status_is_not_utf8(lines: &[Line], complete: bool) -> bool {
    lines.iter().enumerate().any(|(index, line)| match line {
        Line::Assignment { key, value } if *key.0 == *b"STATUS" => {
            match std::str::from_utf8(&value.0) {
                Ok(_) => false,
                Err(error) => {
                    let is_cut = !complete && index + 1 == lines.len();
                    !is_cut || error.error_len().is_some()
                }
            }
        }
        _ => false,
    })
}

/// systemd counts every line but empty ones, and answers a barrier by closing its one descriptor.
fn is_malformed_barrier(lines: &[Line], fds: Option<u32>) -> bool {
    let is_barrier = |line: &Line| matches!(line, Line::Assignment { key, value } if *key.0 == *b"BARRIER" && *value.0 == *b"1");
    let is_empty = |line: &&Line| matches!(line, Line::Other { text } if text.0.is_empty());
    let count = lines.iter().filter(|line| !is_empty(line)).count();
    lines.iter().any(is_barrier) && (count > 1 || fds.is_some_and(|fds| fds != 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assignment(key: &str, value: &str) -> Line {
        Line::Assignment {
            key: key.into(),
            value: value.into(),
        }
    }

    fn other(text: &str) -> Line {
        Line::Other { text: text.into() }
    }

    fn whole(payload: &[u8], fds: Option<u32>) -> Message {
        let length = u32::try_from(payload.len()).expect("test payloads are short");
        parse(payload, length, fds)
    }

    fn defects(payload: &[u8]) -> Vec<Defect> {
        whole(payload, Some(0)).defects
    }

    #[test]
    fn a_line_is_split_at_its_first_equals_sign() {
        let message = whole(b"READY=1\nSTATUS=a=b\nX_=", Some(0));
        assert_eq!(
            message.lines,
            [
                assignment("READY", "1"),
                assignment("STATUS", "a=b"),
                assignment("X_", "")
            ]
        );
        assert_eq!(message.defects, []);
    }

    #[test]
    fn one_trailing_newline_and_one_trailing_nul_are_tolerated() {
        for payload in ["READY=1", "READY=1\n", "READY=1\0", "READY=1\n\0"] {
            let message = whole(payload.as_bytes(), None);
            assert_eq!(message.lines, [assignment("READY", "1")], "{payload:?}");
            assert_eq!(message.defects, [], "{payload:?}");
        }
        assert_eq!(
            whole(b"READY=1\n\n", None).lines,
            [assignment("READY", "1"), other("")]
        );
    }

    #[test]
    fn lines_without_a_key_are_kept_as_they_are() {
        let message = whole(b"hello\n=1\nREADY=1", None);
        assert_eq!(
            message.lines,
            [other("hello"), other("=1"), assignment("READY", "1")]
        );
        assert_eq!(message.defects, []);
    }

    #[test]
    fn a_payload_over_4096_bytes_is_too_long_and_no_shorter_one() {
        let payload = [b"STATUS=".as_slice(), &[b'x'; 4089]].concat();
        assert_eq!(parse(&payload, 4096, None).defects, []);
        assert_eq!(parse(&payload, 4097, None).defects, [Defect::TooLong]);
    }

    #[test]
    fn a_nul_before_the_end_is_a_defect() {
        assert_eq!(defects(b"READY=1\0\nSTATUS=x"), [Defect::EmbeddedNul]);
        assert_eq!(defects(b"READY=1\0\0"), [Defect::EmbeddedNul]);
        assert_eq!(defects(b"READY=1\0\n"), [Defect::EmbeddedNul]);
    }

    #[test]
    fn a_nul_at_the_end_of_what_was_captured_is_embedded_if_more_follows() {
        assert_eq!(parse(b"READY=1\0", 9, None).defects, [Defect::EmbeddedNul]);
    }

    #[test]
    fn nothing_at_all_is_empty_and_has_no_other_defect() {
        assert_eq!(whole(b"", None).defects, [Defect::Empty]);
        assert_eq!(whole(b"", None).lines, []);
    }

    #[test]
    fn a_payload_without_any_assignment_says_so() {
        for payload in ["\n", "\0", "hello", "=1", "a\nb"] {
            assert_eq!(defects(payload.as_bytes()), [Defect::NoAssignment]);
        }
    }

    #[test]
    fn only_a_status_must_be_utf8() {
        assert_eq!(defects(b"STATUS=\xff"), [Defect::StatusNotUtf8]);
        assert_eq!(defects(b"X_BLOB=\xff"), []);
        assert_eq!(defects("STATUS=grün".as_bytes()), []);
    }

    #[test]
    fn a_status_cut_inside_a_character_by_the_capture_is_no_defect() {
        assert_eq!(
            parse(b"STATUS=gr\xc3", 5000, None).defects,
            [Defect::TooLong]
        );
        assert_eq!(
            parse(b"STATUS=gr\xff", 5000, None).defects,
            [Defect::TooLong, Defect::StatusNotUtf8]
        );
        assert_eq!(defects(b"STATUS=gr\xc3"), [Defect::StatusNotUtf8]);
    }

    #[test]
    fn a_barrier_stands_alone_with_one_file_descriptor() {
        let of = |payload: &[u8], fds| whole(payload, fds).defects;
        assert_eq!(of(b"BARRIER=1", Some(1)), []);
        assert_eq!(of(b"BARRIER=1\n", Some(1)), []);
        assert_eq!(of(b"BARRIER=1\n\n", Some(1)), []);
        assert_eq!(of(b"BARRIER=1", None), []);
        for fds in [0, 2] {
            assert_eq!(of(b"BARRIER=1", Some(fds)), [Defect::MalformedBarrier]);
        }
        for payload in ["READY=1\nBARRIER=1", "BARRIER=1\nx", "BARRIER=1\nBARRIER=1"] {
            for fds in [None, Some(1)] {
                assert_eq!(of(payload.as_bytes(), fds), [Defect::MalformedBarrier]);
            }
        }
        assert_eq!(of(b"BARRIER=2\nREADY=1", Some(3)), []);
    }

    fn bytes_of(line: &Line) -> Vec<u8> {
        match line {
            Line::Assignment { key, value } => [&key.0[..], b"=", &value.0].concat(),
            Line::Other { text } => text.0.to_vec(),
            Line::Redacted { .. } => unreachable!("the parser withholds nothing"),
        }
    }

    proptest! {
        #[test]
        fn lines_reassemble_to_the_payload_without_its_end(
            payload in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                proptest::collection::vec(
                    prop::sample::select(b"A=\n\0\xff1".to_vec()), 0..20),
            ],
            missing in prop_oneof![Just(0_u32), 1_u32..5000],
            fds in proptest::option::of(0_u32..3),
        ) {
            let length = u32::try_from(payload.len())? + missing;
            let message = parse(&payload, length, fds);
            let lines: Vec<_> = message.lines.iter().map(bytes_of).collect();
            let joined = lines.join(&b"\n"[..]);
            let ends: &[&[u8]] = if missing == 0 { &[b"", b"\n", b"\0", b"\n\0"] } else { &[b""] };
            prop_assert!(ends.iter().any(|end| [&joined, *end].concat() == payload));
            prop_assert!(message.defects.is_sorted());
            for line in &message.lines {
                if let Line::Assignment { key, .. } = line {
                    prop_assert!(!key.0.is_empty() && !key.0.contains(&b'='));
                }
            }
        }
    }
}
