//! What an answer means, and how long is waited after it. Pure.
//!
//! The rules are those of OTLP/HTTP, but for one: what it calls not retryable is kept, if whoever runs the
//! receiver can mend it (a wrong path, a token that has expired). The recording has room for that.

use std::time::Duration;

use prost::Message;

/// The shortest and the longest time between two tries.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// What receivers are sent, and what they answer with.
pub(super) const PROTOBUF: &str = "application/x-protobuf";

/// Most characters of what a receiver says that are repeated.
const SAID: usize = 200;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was taken, but for so many items; what is said of these.
    Taken {
        /// Items that the receiver doesn't want, and will not.
        rejected: u64,
        /// Why.
        why: String,
    },
    /// It is too much at once.
    TooLarge,
    /// It will never be taken as it is.
    Refused(String),
    /// Perhaps later.
    Later {
        /// When the receiver wants to be asked again.
        after: Option<Duration>,
        /// Why.
        why: String,
    },
}

/// Of partial success: the same fields for each signal.
#[derive(Clone, PartialEq, Message)]
struct Reply {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`, which is what a receiver says when it fails.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// An answer, as far as it matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said<'a> {
    pub(super) status: u16,
    /// `Retry-After:`
    pub(super) retry_after: Option<&'a str>,
    /// `Content-Type:`
    pub(super) kind: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// Judges an answer.
pub(super) fn judge(said: &Said<'_>) -> Answer {
    let Said {
        status,
        retry_after,
        kind,
        body,
    } = *said;
    match status {
        200..=299 => {
            let is_ours = kind.is_some_and(|kind| kind.starts_with(PROTOBUF));
            let reply = if body.is_empty() {
                Some(Reply::default())
            } else {
                Reply::decode(body).ok().filter(|_| is_ours)
            };
            // Many servers say that all is well, whatever they are sent.
            let Some(reply) = reply else {
                return Answer::Later {
                    after: None,
                    why: format!("it answers with status {status}, but not as a receiver of OTLP"),
                };
            };
            let partial = reply.partial_success.unwrap_or_default();
            Answer::Taken {
                rejected: u64::try_from(partial.rejected).unwrap_or(0),
                why: words(&partial.error_message),
            }
        }
        413 => Answer::TooLarge,
        400 | 422 => Answer::Refused(refusal(status, body)),
        _ => Answer::Later {
            after: retry_after
                .and_then(|text| text.trim().parse().ok())
                .map(Duration::from_secs),
            why: refusal(status, body),
        },
    }
}

fn refusal(status: u16, body: &[u8]) -> String {
    let message = Status::decode(body)
        .map(|status| status.message)
        .unwrap_or_default();
    let message = words(&message);
    if message.is_empty() {
        format!("it answers with status {status}")
    } else {
        format!("it answers with status {status}: {message}")
    }
}

/// What somebody else wrote, for a line of ours.
pub(super) fn words(text: &str) -> String {
    let text = crate::escape::escape_field(text.trim().as_bytes()).to_string();
    crate::words::cut(text, SAID)
}

/// How long to wait, longer each time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It was taken.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// It was not: until the next try. `spread`: 0 to 1, so that not all hosts come at once.
    pub(super) fn next(&mut self, after: Option<Duration>, spread: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled
            .min(LONGEST)
            .mul_f64(0.75 + spread.clamp(0.0, 1.0) / 2.0);
        // Somebody who asks for a year means that it doesn't want us.
        wait.max(after.unwrap_or_default().min(10 * LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_in_part_says_how_much_is_not() {
        let taken = |rejected, why: &str| Answer::Taken {
            rejected,
            why: why.to_owned(),
        };
        let answer = |kind, body| {
            judge(&Said {
                status: 200,
                kind,
                body,
                ..Said::default()
            })
        };
        assert_eq!(answer(None, b""), taken(0, ""));
        for (kind, body) in [
            (Some("text/html"), &b"<html>"[..]),
            (Some(PROTOBUF), b"<html>"),
            (None, b"\x0a\x00"),
        ] {
            assert!(
                matches!(answer(kind, body), Answer::Later { .. }),
                "{kind:?}"
            );
        }
        assert_eq!(answer(Some(PROTOBUF), b"\x0a\x00"), taken(0, ""));
        let reply = Reply {
            partial_success: Some(PartialSuccess {
                rejected: 3,
                error_message: "no\x1b[2J".to_owned(),
            }),
        };
        let reply = reply.encode_to_vec();
        assert_eq!(answer(Some(PROTOBUF), &reply), taken(3, "no\\e[2J"));
    }

    #[test]
    fn only_what_can_never_be_taken_is_refused() {
        let status = Status {
            code: 3,
            message: "bad".to_owned(),
        }
        .encode_to_vec();
        let refused = Answer::Refused("it answers with status 400: bad".to_owned());
        let answer = |status, body| {
            judge(&Said {
                status,
                retry_after: Some("7"),
                kind: None,
                body,
            })
        };
        assert_eq!(answer(400, &status), refused);
        assert_eq!(answer(413, b""), Answer::TooLarge);
        for status in [301, 401, 403, 404, 408, 429, 500, 502, 503, 504] {
            let answer = answer(status, b"");
            let Answer::Later { after, why } = answer else {
                panic!("{status}: {answer:?}")
            };
            assert_eq!(after, Some(Duration::from_secs(7)));
            assert!(why.contains(&status.to_string()));
        }
    }

    #[test]
    fn waits_grow_and_end_growing() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..9).map(|_| backoff.next(None, 0.5).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        for _ in 0..u8::MAX {
            backoff.next(None, 1.0);
        }
        assert_eq!(backoff.next(None, 1.0), Duration::from_secs(75));
        backoff.reset();
        assert_eq!(backoff.next(None, 0.0), Duration::from_millis(750));
        let asked = Some(Duration::from_secs(30));
        assert_eq!(backoff.next(asked, 0.5), Duration::from_secs(30));
        let asked = Some(Duration::from_secs(1 << 40));
        assert_eq!(backoff.next(asked, 0.5), Duration::from_secs(600));
    }
}
