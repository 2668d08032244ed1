//! Where the marks of a time axis stand, and what is written at them. Pure.

use jiff::Timestamp;
use jiff::tz::Offset;

const MS: i64 = 1_000_000;
const S: i64 = 1_000 * MS;

/// Steps that people count in.
const STEPS: [i64; 33] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    MS,
    2 * MS,
    5 * MS,
    10 * MS,
    20 * MS,
    50 * MS,
    100 * MS,
    200 * MS,
    500 * MS,
    S,
    2 * S,
    5 * S,
    10 * S,
    30 * S,
    60 * S,
    120 * S,
    300 * S,
    600 * S,
    1_800 * S,
    3_600 * S,
    2 * 3_600 * S,
    6 * 3_600 * S,
    12 * 3_600 * S,
    24 * 3_600 * S,
];

/// The smallest step with which there are at most so many marks.
#[must_use]
pub fn step(length: i64, most: i64) -> i64 {
    let least = length / most.max(1);
    let found = STEPS.into_iter().find(|step| *step >= least);
    found.unwrap_or_else(|| {
        let day = 24 * 3_600 * S;
        (least / day + 1) * day
    })
}

/// A time of day, as exact as the step is small.
#[must_use]
pub fn label(origin: Timestamp, zone_seconds: i32, at: i64, step: i64) -> String {
    let offset = Offset::from_seconds(zone_seconds).unwrap_or(Offset::UTC);
    let time = Timestamp::from_nanosecond(origin.as_nanosecond() + i128::from(at));
    let time = offset.to_datetime(time.unwrap_or(origin));
    let digits = match step {
        ..MS => 6,
        MS..10_000_000 => 3,
        10_000_000..100_000_000 => 2,
        100_000_000..S => 1,
        _ => 0,
    };
    let text = time.strftime("%H:%M:%S").to_string();
    if digits == 0 {
        return text;
    }
    let fraction = format!("{:09}", time.subsec_nanosecond());
    format!("{text}.{}", &fraction[..digits])
}

/// The marks from a multiple of the step on, in wall time of the zone.
pub fn ticks(
    origin: Timestamp,
    zone_seconds: i32,
    end: i64,
    step: i64,
) -> impl Iterator<Item = i64> {
    let local = origin.as_nanosecond() + i128::from(zone_seconds) * i128::from(S);
    let past = i64::try_from(local.rem_euclid(i128::from(step))).unwrap_or(0);
    let first = if past == 0 { 0 } else { step - past };
    (0..)
        .map(move |number: i64| first.saturating_add(number.saturating_mul(step)))
        .take_while(move |at| *at <= end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_that_people_count_in() {
        assert_eq!(step(60 * S, 12), 5 * S);
        assert_eq!(step(100 * MS, 10), 10 * MS);
        assert_eq!(step(0, 10), 1_000);
        assert_eq!(step(100 * 24 * 3_600 * S, 10), 11 * 24 * 3_600 * S);
    }

    #[test]
    fn marks_stand_at_whole_steps_of_local_time() {
        let origin: Timestamp = "2026-11-24T03:00:01.5Z".parse().expect("a time");
        let at: Vec<i64> = ticks(origin, 1_800, 20 * S, 5 * S).collect();
        assert_eq!(at, [3_500 * MS, 8_500 * MS, 13_500 * MS, 18_500 * MS]);
        assert_eq!(label(origin, 1_800, at[0], 5 * S), "03:30:05");
        assert_eq!(label(origin, 0, 250 * MS, 50 * MS), "03:00:01.75");
    }
}
