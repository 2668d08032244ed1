//! Globs over bytes: addresses of sockets, names of units and the like.

/// `*` is any run of bytes but `/`, `**` any run at all, `?` any byte but `/`, and a leading `**/`
/// also nothing. Without allocation: whatever does not fit is tried again from the last star, which
/// takes one byte more; a single star that would have to take a `/` gives way to the last double one.
#[must_use]
pub fn matches(glob: &[u8], text: &[u8]) -> bool {
    if let Some(rest) = glob.strip_prefix(b"**/")
        && matches_here(rest, text)
    {
        return true;
    }
    matches_here(glob, text)
}

/// Where to go on if what follows a star does not fit: in the glob behind it, in the text at the
/// byte that it takes next.
#[derive(Clone, Copy)]
struct Retry {
    glob: usize,
    text: usize,
}

fn matches_here(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    let (mut single, mut double): (Option<Retry>, Option<Retry>) = (None, None);
    loop {
        match (glob.get(at), text.get(here)) {
            (Some(b'*'), _) => {
                if glob.get(at + 1) == Some(&b'*') {
                    at += 2;
                    double = Some(Retry {
                        glob: at,
                        text: here,
                    });
                    single = None;
                } else {
                    at += 1;
                    single = Some(Retry {
                        glob: at,
                        text: here,
                    });
                }
                continue;
            }
            (None, None) => return true,
            (Some(&want), Some(&have)) if want == have || (want == b'?' && have != b'/') => {
                at += 1;
                here += 1;
                continue;
            }
            _ => {}
        }
        let can_take = |retry: &Retry| text.get(retry.text).is_some_and(|byte| *byte != b'/');
        let retry = match (&mut single, &mut double) {
            (Some(single), _) if can_take(single) => single,
            (_, Some(double)) if double.text < text.len() => {
                single = None;
                double
            }
            _ => return false,
        };
        retry.text += 1;
        (at, here) = (retry.glob, retry.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_star_stops_at_a_slash() {
        assert!(!matches(b"/a/*/d", b"/a/b/c/d"));
        assert!(matches(b"/a/**/d", b"/a/b/c/d"));
        assert!(matches(b"/a*", b"/a"));
        assert!(!matches(b"/a?", b"/a/"));
    }

    /// The definition, as slow as it is plain.
    fn matches_by_definition(glob: &[u8], text: &[u8]) -> bool {
        match glob {
            [] => text.is_empty(),
            [b'*', b'*', rest @ ..] => {
                (0..=text.len()).any(|taken| matches_by_definition(rest, &text[taken..]))
            }
            [b'*', rest @ ..] => (0..=text.len())
                .take_while(|taken| !text[..*taken].contains(&b'/'))
                .any(|taken| matches_by_definition(rest, &text[taken..])),
            [want, rest @ ..] => text.split_first().is_some_and(|(have, text)| {
                (want == have || (*want == b'?' && *have != b'/'))
                    && matches_by_definition(rest, text)
            }),
        }
    }

    proptest::proptest! {
        #[test]
        fn globs_match_as_they_are_defined(glob in "[ab/*?]{0,7}", text in "[ab/]{0,9}") {
            let (glob, text) = (glob.as_bytes(), text.as_bytes());
            proptest::prop_assert_eq!(matches_here(glob, text), matches_by_definition(glob, text));
        }
    }
}
