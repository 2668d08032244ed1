//! Values of options: times, spans, sizes. Pure but for the wall clock, which only "ago" asks.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A time with its unit: 500ms, 30s, 5m, 2h; a bare number is seconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds_per_unit = match unit.trim() {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        other => return Err(format!("unknown unit {other:?}; use us, ms, s, m, h or d")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "it must begin with a number, such as 30s".to_owned())?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|error| error.to_string())
}

/// A number of bytes: 65536, 64K, 1M, 2G.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let (number, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| {
            let number = text.strip_suffix([unit, unit.to_ascii_lowercase()])?;
            Some((number, shift))
        })
        .unwrap_or((text, 0));
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "it must be a number of bytes, such as 65536, 64K or 1M".to_owned())
}

/// How large a recording may get: there has to be room for some blocks.
pub(super) fn parse_file_size(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if bytes >= 1 << 20 {
        Ok(bytes)
    } else {
        Err("it must be 1M or more".to_owned())
    }
}

/// Size of a ring.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if (4096..=1 << 30).contains(&bytes) {
        Ok(bytes)
    } else {
        Err("it must be between 4K and 1024M".to_owned())
    }
}

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
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("3"), Ok(Duration::from_secs(3)));
        assert!(parse_duration("soon").is_err());
        assert!(parse_duration("3 parsecs").is_err());
        assert!(parse_duration("-1s").is_err());
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(parse_size("64K"), Ok(65536));
        assert!(parse_size("1").is_err());
        assert!(parse_size("99999999M").is_err());
        assert!(parse_size("99999999999999999999").is_err());
        assert_eq!(parse_file_size("2g"), Ok(2 << 30));
        assert!(parse_file_size("1K").is_err());
    }

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
