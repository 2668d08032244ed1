//! How a service manager reads a payload, and how it writes it in its log.

/// The fields of a payload as systemd writes them in its log, joined; none if it can't split it.
///
/// `strv_split_newlines` (`src/basic/strv.c`) drops empty lines and takes a backslash for an escape: it
/// vanishes, and what follows it stays, even the end of a line. With a newline in it, only the first
/// line of a message has its words in front.
pub fn logged(payload: &[u8]) -> Option<Vec<u8>> {
    let fields = split(text_of(payload))?;
    if fields.is_empty() {
        return Some(b"n/a".to_vec());
    }
    let joined = fields.join(&b", "[..]);
    let line = joined.split(|byte| is_newline(*byte)).next();
    line.map(<[u8]>::to_vec)
}

/// Whether the manager can't make fields of it: a backslash is its last byte, and escapes nothing.
pub fn is_unsplittable(payload: &[u8]) -> bool {
    split(text_of(payload)).is_none()
}

/// Whether the manager takes a payload for a barrier, well formed or not.
pub fn is_barrier(payload: &[u8]) -> bool {
    split(text_of(payload)).is_some_and(|fields| fields.iter().any(|field| field == b"BARRIER=1"))
}

/// Whether there is a NUL before the last byte.
pub fn has_embedded_nul(payload: &[u8]) -> bool {
    payload
        .split_last()
        .is_some_and(|(_, rest)| rest.contains(&0))
}

/// Without the one NUL that may end it.
fn text_of(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(b"\0").unwrap_or(payload)
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn split(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut fields = Vec::new();
    let mut field = Vec::new();
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            field.push(bytes.next()?);
        } else if !is_newline(byte) {
            field.push(byte);
        } else if !field.is_empty() {
            fields.push(std::mem::take(&mut field));
        }
    }
    if !field.is_empty() {
        fields.push(field);
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_without_the_empty_ones() {
        assert_eq!(
            logged(b"READY=1\nSTATUS=a, b\n").unwrap(),
            b"READY=1, STATUS=a, b"
        );
        assert_eq!(logged(b"\n\nA=1\r\n\nB=2").unwrap(), b"A=1, B=2");
        assert_eq!(logged(b"A=1\0").unwrap(), b"A=1");
    }

    #[test]
    fn nothing_is_not_available() {
        assert_eq!(logged(b"").unwrap(), b"n/a");
        assert_eq!(logged(b"\n").unwrap(), b"n/a");
    }

    #[test]
    fn a_backslash_vanishes() {
        assert_eq!(logged(br"STATUS=a\b\\c").unwrap(), br"STATUS=ab\c");
    }

    #[test]
    fn a_backslash_hides_the_end_of_a_line() {
        assert_eq!(logged(b"STATUS=a\\\nREADY=1").unwrap(), b"STATUS=a");
        assert!(!is_barrier(b"STATUS=a\\\nBARRIER=1"));
    }

    #[test]
    fn a_backslash_at_the_end_escapes_nothing() {
        assert!(is_unsplittable(br"READY=1\"));
        assert!(is_unsplittable(b"READY=1\\\0"));
        assert!(!is_unsplittable(br"READY=1\\"));
        assert_eq!(logged(br"READY=1\"), None);
    }

    #[test]
    fn a_barrier_is_one_whatever_stands_beside_it() {
        assert!(is_barrier(b"BARRIER=1"));
        assert!(is_barrier(b"STATUS=a\nBARRIER=1\n"));
        assert!(!is_barrier(b"X_BARRIER=1"));
        assert!(!is_barrier(b"BARRIER=11"));
    }

    #[test]
    fn only_the_last_byte_may_be_a_nul() {
        assert!(has_embedded_nul(b"A=1\0B=2"));
        assert!(!has_embedded_nul(b"A=1\0"));
        assert!(!has_embedded_nul(b""));
    }
}
