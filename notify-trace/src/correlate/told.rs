//! Which verdicts were told: the same again is counted instead. Bounded.

use std::collections::HashMap;

use super::outcome::{Kind, Moment, Repeats, Subject, Verdict};
use super::verdict::Finding;

/// Most different verdicts that are told.
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
}

impl Told {
    /// The verdict, unless the same was told before.
    pub(super) fn verdict(
        &mut self,
        found: Finding,
        subject: Subject,
        at: Moment,
        about: Vec<u64>,
    ) -> Option<Verdict> {
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
            return None;
        }
        if self.told.len() >= TOLD {
            return None;
        }
        let number = u64::try_from(self.told.len()).unwrap_or(u64::MAX) + 1;
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
        Some(Verdict {
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
        })
    }

    /// What was repeated, in the order of the verdicts.
    pub(super) fn repeats(&self) -> Vec<Repeats> {
        let repeated = self.told.values().filter(|it| it.times > 0);
        let mut repeats: Vec<Repeats> = repeated.copied().collect();
        repeats.sort_by_key(|it| it.verdict);
        repeats
    }
}
