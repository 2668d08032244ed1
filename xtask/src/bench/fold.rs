//! Many rounds become one row: median and spread, and ratios of what was measured in the same round.
//! Pure.
//!
//! Rounds are compared pair by pair before anything is averaged, so that a machine that slows down
//! during the run changes both sides of a ratio.

use std::collections::BTreeMap;

use super::line::Measured;

/// The peer that the others are compared with.
pub const NOTHING: &str = "nothing";
/// The peer that is compared with the others.
pub const AGENT: &str = "agent";
/// What adds less than this share of the time under nothing is lost in the noise.
const NOISE: f64 = 0.05;
/// Units of what is no cost: losses, and how much was sent. It stands for itself.
const NO_COSTS: [&str; 3] = ["percent", "records", "datagrams_per_s"];

/// The middle and both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half are smaller, half are larger.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// What was measured of one thing under one peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// In which unit.
    pub unit: String,
    /// Under which peer.
    pub under: String,
    /// The values of all rounds.
    pub spread: Spread,
    /// How many rounds there are.
    pub rounds: usize,
    /// The values divided by those under nothing, where there are such.
    pub to_nothing: Option<Spread>,
    /// Of a tool that isn't the agent: what the agent costs divided by what this one costs. Where
    /// there is a measurement under nothing, costs are what is added to it; absent if what either
    /// adds is lost in the noise.
    pub agent_to_it: Option<Spread>,
}

/// Values by round.
type Rounds = BTreeMap<u64, f64>;
type Peers<'a> = Vec<(&'a str, Rounds)>;

/// Folds measurements; things and peers keep the order in which they came first.
pub fn fold(measured: &[Measured]) -> Vec<Row> {
    let mut things: Vec<((&str, &str), Peers<'_>)> = Vec::new();
    for one in measured {
        let peers = entry(&mut things, (one.what.as_str(), one.unit.as_str()));
        entry(peers, one.under.as_str()).insert(one.round, one.value);
    }
    let rows = things.iter().flat_map(|((what, unit), peers)| {
        peers.iter().filter_map(move |(under, values)| {
            Some(Row {
                what: (*what).to_owned(),
                unit: (*unit).to_owned(),
                under: (*under).to_owned(),
                spread: spread(values.values().copied())?,
                rounds: values.len(),
                to_nothing: to_nothing(peers, under),
                agent_to_it: if NO_COSTS.contains(unit) {
                    None
                } else {
                    agent_to_it(peers, under)
                },
            })
        })
    });
    rows.collect()
}

/// The value of a key, made when it isn't there yet.
fn entry<K: PartialEq, V: Default>(list: &mut Vec<(K, V)>, key: K) -> &mut V {
    let at = match list.iter().position(|(known, _)| *known == key) {
        Some(at) => at,
        None => {
            list.push((key, V::default()));
            list.len() - 1
        }
    };
    &mut list[at].1
}

fn of<'a>(peers: &'a Peers<'_>, name: &str) -> Option<&'a Rounds> {
    let (_, rounds) = peers.iter().find(|(under, _)| *under == name)?;
    Some(rounds)
}

fn to_nothing(peers: &Peers<'_>, under: &str) -> Option<Spread> {
    if under == NOTHING {
        return None;
    }
    ratio(of(peers, under)?, of(peers, NOTHING)?)
}

fn agent_to_it(peers: &Peers<'_>, under: &str) -> Option<Spread> {
    if under == NOTHING || under == AGENT {
        return None;
    }
    let (agent, other) = (of(peers, AGENT)?, of(peers, under)?);
    match of(peers, NOTHING) {
        Some(nothing) => {
            let (agent, other) = (added(agent, nothing), added(other, nothing));
            let is_cost = |rounds: &Rounds| is_cost(rounds, nothing);
            (is_cost(&agent) && is_cost(&other)).then(|| ratio(&agent, &other))?
        }
        None => ratio(agent, other),
    }
}

/// What `values` have more than `base` in the same round.
fn added(values: &Rounds, base: &Rounds) -> Rounds {
    let pairs = values
        .iter()
        .filter_map(|(round, value)| Some((*round, value - base.get(round)?)));
    pairs.collect()
}

/// Whether what is added is something in every round, and mostly more than noise.
fn is_cost(added: &Rounds, nothing: &Rounds) -> bool {
    let share = ratio(added, nothing);
    share.is_some_and(|share| share.min > 0.0 && share.median >= NOISE)
}

/// The ratios of rounds that both have. None if in any of them the lower part isn't above zero: then
/// it is no cost that something could be compared with.
fn ratio(upper: &Rounds, lower: &Rounds) -> Option<Spread> {
    let ratios: Option<Vec<f64>> = upper
        .iter()
        .filter_map(|(round, value)| Some((value, lower.get(round)?)))
        .map(|(value, base)| (*base > 0.0).then(|| value / base))
        .collect();
    spread(ratios?)
}

fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    };
    Some(Spread { median, min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(under: &str, values: &[f64]) -> Vec<Measured> {
        let one = |(round, value): (u64, &f64)| Measured {
            what: "write".into(),
            under: under.into(),
            round,
            unit: "ns_per_op".into(),
            value: *value,
        };
        (1..).zip(values).map(one).collect()
    }

    fn rows(peers: &[(&str, &[f64])]) -> Vec<Row> {
        let all: Vec<_> = peers
            .iter()
            .flat_map(|(under, values)| measured(under, values))
            .collect();
        fold(&all)
    }

    const fn spread_of(median: f64, min: f64, max: f64) -> Spread {
        Spread { median, min, max }
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_both_middles() {
        assert_eq!(spread([3.0, 1.0, 8.0]), Some(spread_of(3.0, 1.0, 8.0)));
        assert_eq!(spread([4.0, 1.0, 2.0, 9.0]), Some(spread_of(3.0, 1.0, 9.0)));
        assert_eq!(spread([]), None);
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        // The machine becomes ten times slower in the third round; the ratio doesn't.
        let rows = rows(&[
            (NOTHING, &[10.0, 10.0, 100.0]),
            (AGENT, &[12.0, 13.0, 120.0]),
        ]);
        assert_eq!(rows[0].to_nothing, None);
        assert_eq!(rows[1].to_nothing, Some(spread_of(1.2, 1.2, 1.3)));
    }

    #[test]
    fn a_round_that_only_one_side_has_counts_for_no_ratio() {
        let rows = rows(&[(NOTHING, &[10.0]), (AGENT, &[20.0, 90.0])]);
        assert_eq!(rows[1].to_nothing, Some(spread_of(2.0, 2.0, 2.0)));
        assert_eq!((rows[1].rounds, rows[1].spread.max), (2, 90.0));
    }

    #[test]
    fn tools_are_compared_by_what_they_add() {
        let rows = rows(&[(NOTHING, &[10.0]), (AGENT, &[12.0]), ("other", &[14.0])]);
        assert_eq!(rows[2].agent_to_it, Some(spread_of(0.5, 0.5, 0.5)));
        assert_eq!(rows[1].agent_to_it, None);
    }

    #[test]
    fn what_nothing_has_not_is_compared_as_it_is() {
        let rows = rows(&[(AGENT, &[30.0]), ("other", &[60.0])]);
        assert_eq!(rows[1].agent_to_it, Some(spread_of(0.5, 0.5, 0.5)));
        assert_eq!(rows[1].to_nothing, None);
    }

    #[test]
    fn a_tool_that_adds_nothing_measurable_is_not_compared() {
        let rows = rows(&[
            (NOTHING, &[10.0, 10.0]),
            (AGENT, &[12.0, 12.0]),
            ("other", &[14.0, 9.9]),
        ]);
        assert_eq!(rows[2].agent_to_it, None);
        let rows = self::rows(&[(NOTHING, &[10.0]), (AGENT, &[9.0]), ("other", &[14.0])]);
        assert_eq!(rows[2].agent_to_it, None);
        let rows = self::rows(&[(NOTHING, &[10.0]), (AGENT, &[12.0]), ("other", &[10.4])]);
        assert_eq!(rows[2].agent_to_it, None);
        let rows = self::rows(&[(AGENT, &[3.0]), ("other", &[0.0])]);
        assert_eq!(rows[1].agent_to_it, None);
    }

    #[test]
    fn the_same_thing_in_two_units_is_two_rows() {
        let mut all = measured(AGENT, &[1.0]);
        all.extend(measured(AGENT, &[5.0]).into_iter().map(|one| Measured {
            unit: "rss_bytes".into(),
            ..one
        }));
        let units: Vec<_> = fold(&all).into_iter().map(|row| row.unit).collect();
        assert_eq!(units, ["ns_per_op", "rss_bytes"]);
    }
}
