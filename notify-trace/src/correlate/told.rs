//! Which verdicts were told: the same again is counted instead. Bounded.

use std::collections::{HashMap, HashSet};

use super::outcome::{Again, Kind, Moment, Outcome, Repeats, Subject, Verdict};
use super::verdict::Finding;

/// Most different verdicts that are remembered.
const TOLD: usize = 4_096;

/// By this a verdict is known as a repetition.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Same {
    kind: Kind,
    unit: Option<String>,
    user: Option<u32>,
    container: Option<String>,
    comm: Option<String>,
}

/// Verdicts that were told, and how often they were repeated.
#[derive(Debug, Default)]
pub(super) struct Told {
    told: HashMap<Same, Repeats>,
    /// How many verdicts there were.
    numbers: u64,
}

impl Told {
    /// The verdict, or that the same was told before; and what is known of verdicts that are forgotten
    /// for it.
    pub(super) fn verdict(
        &mut self,
        found: Finding,
        subject: Subject,
        at: Moment,
        about: Vec<u64>,
        out: &mut dyn FnMut(Outcome),
    ) {
        let same = Same {
            kind: found.kind,
            unit: subject.unit.clone(),
            user: subject.user,
            container: subject.container.clone(),
            comm: subject.comm.clone(),
        };
        if let Some(repeats) = self.told.get_mut(&same) {
            repeats.times += 1;
            repeats.at = at;
            out(Outcome::Again(Box::new(Again {
                verdict: repeats.verdict,
                at,
                kind: found.kind,
                about,
                what: found.what,
            })));
            return;
        }
        if self.told.len() >= TOLD {
            self.forget(out);
        }
        self.numbers += 1;
        let number = self.numbers;
        self.told.insert(
            same,
            Repeats {
                verdict: number,
                times: 0,
                at,
            },
        );
        let Finding {
            kind,
            certainty,
            what,
            evidence,
            rule,
            remedy,
        } = found;
        out(Outcome::Verdict(Box::new(Verdict {
            number,
            at,
            kind,
            certainty,
            subject,
            about,
            what,
            evidence,
            rule,
            remedy,
        })));
    }

    /// Forgets the half that was not repeated for longest: should it come again, it is told again.
    fn forget(&mut self, out: &mut dyn FnMut(Outcome)) {
        let mut all: Vec<Repeats> = self.told.values().copied().collect();
        all.sort_by_key(|it| (it.at.monotonic_ns, it.verdict));
        let gone: HashSet<u64> = all[..all.len() / 2].iter().map(|it| it.verdict).collect();
        self.told.retain(|_, it| !gone.contains(&it.verdict));
        let repeated = all.into_iter().filter(|it| it.times > 0);
        repeated
            .filter(|it| gone.contains(&it.verdict))
            .for_each(|it| out(Outcome::Repeats(it)));
    }

    /// What was repeated, in the order of the verdicts.
    pub(super) fn repeats(&self) -> Vec<Repeats> {
        let repeated = self.told.values().filter(|it| it.times > 0);
        let mut repeats: Vec<Repeats> = repeated.copied().collect();
        repeats.sort_by_key(|it| it.verdict);
        repeats
    }
}
