//! Times, sizes and versions as they are written, in options, in settings, by the kernel. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time with its unit: 500ms, 30s, 5m, 2h; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
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
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
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
pub(crate) fn parse_file_size(text: &str) -> Result<u64, String> {
    parse_bytes(text).and_then(file_bytes)
}

/// The same as a number.
pub(crate) fn file_bytes(bytes: u64) -> Result<u64, String> {
    if bytes >= 1 << 20 {
        Ok(bytes)
    } else {
        Err("it must be 1M or more".to_owned())
    }
}

/// Size of a ring.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    parse_bytes(text).and_then(ring_bytes)
}

/// The same as a number.
pub(crate) fn ring_bytes(bytes: u64) -> Result<u64, String> {
    if (4096..=1 << 30).contains(&bytes) {
        Ok(bytes)
    } else {
        Err("it must be between 4K and 1024M".to_owned())
    }
}

/// Major and minor version of a kernel release.
#[must_use]
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A time in settings: `30d`, `500ms`; a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Span(pub Duration);

/// A number of bytes in settings: `1G`, `65536`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Size(pub u64);

/// Numbers may stand without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl Written {
    fn parse<T: FromStr<Err = String>>(self) -> Result<T, String> {
        match self {
            Self::Number(number) => number.to_string().parse(),
            Self::Text(text) => text.parse().map_err(|error| format!("{text:?}: {error}")),
        }
    }
}

impl TryFrom<Written> for Span {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        written.parse()
    }
}

impl TryFrom<Written> for Size {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        written.parse()
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Self)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_bytes(text).map(Self)
    }
}

impl fmt::Display for Span {
    /// In the largest unit that has no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_micros();
        let units = [
            (86_400_000_000, "d"),
            (3_600_000_000, "h"),
            (60_000_000, "m"),
            (1_000_000, "s"),
            (1_000, "ms"),
        ];
        let unit = units
            .iter()
            .find(|(unit, _)| us > 0 && us.is_multiple_of(*unit));
        match unit {
            Some((unit, name)) => write!(f, "{}{name}", us / unit),
            None if us == 0 => f.write_str("0s"),
            None => write!(f, "{us}us"),
        }
    }
}

impl fmt::Display for Size {
    /// In the largest unit that has no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = [(30, "G"), (20, "M"), (10, "K")]
            .into_iter()
            .find(|(shift, _)| self.0 > 0 && self.0.is_multiple_of(1 << shift));
        match unit {
            Some((shift, name)) => write!(f, "{}{name}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
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
    fn what_is_written_is_read_again() {
        for text in ["30d", "90m", "1h", "10s", "250ms", "7us", "0s"] {
            let span: Span = text.parse().expect("a time");
            assert_eq!(span.to_string(), text);
        }
        for text in ["1G", "3M", "65K", "1000", "0"] {
            let size: Size = text.parse().expect("a size");
            assert_eq!(size.to_string(), text);
        }
    }
}
