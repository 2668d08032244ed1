//! Moments, as options have them. Pure but for the wall clock, which only "ago" asks.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::quantity::parse_duration;

/// A moment: 2026-11-25, 2026-11-25T10:30, with a zone if it is not the local one, or a span before
/// now: 2h ago.
pub(super) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    moment(text, Timestamp::now(), &TimeZone::system())
}

fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Some(span) = text.strip_suffix("ago") {
        let span = parse_duration(span.trim())?;
        let span = SignedDuration::try_from(span).map_err(|error| error.to_string())?;
        return now.checked_sub(span).map_err(|error| error.to_string());
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let local = text
        .parse::<DateTime>()
        .or_else(|_| text.parse::<Date>().map(DateTime::from))
        .map_err(|_| {
            "use 2026-11-25, '2026-11-25 10:30', 2026-11-25T10:30:00Z or '2h ago'".to_owned()
        })?;
    local
        .to_zoned(zone.clone())
        .map(|zoned| zoned.timestamp())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates_times_or_spans_before_now() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("a time");
        let of = |text: &str| moment(text, now, &TimeZone::UTC).map(|it| it.to_string());
        assert_eq!(of("2026-11-24").as_deref(), Ok("2026-11-24T00:00:00Z"));
        assert_eq!(
            of("2026-11-24 10:30").as_deref(),
            Ok("2026-11-24T10:30:00Z")
        );
        assert_eq!(
            of("2026-11-24T10:30:00+02:00").as_deref(),
            Ok("2026-11-24T08:30:00Z")
        );
        assert_eq!(of("2h ago").as_deref(), Ok("2026-11-25T10:00:00Z"));
        assert!(of("yesterday").is_err());
    }
}
