//! Who sends to whom, numbered as it is met. Bounded.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use crate::correlate::subject_of;
use crate::event::{Attribution, Blob, Process};
use crate::study::row::{Flow, Rows};
use crate::unit::USER_CLASS;
use crate::who;

/// Most flows that are remembered.
const FLOWS: usize = 8_192;

/// Numbers of flows.
#[derive(Debug, Default)]
pub(super) struct Flows {
    /// By a hash of what follows, which finds nearly all.
    known: HashMap<u64, Vec<Known>>,
    hasher: RandomState,
    count: usize,
    last: u64,
    /// The lowest number that may still be given.
    pub(super) since: u64,
}

/// What tells flows apart.
#[derive(Debug)]
struct Known {
    attribution: Option<Arc<Attribution>>,
    comm: Option<Blob>,
    class: String,
    number: u64,
}

impl Known {
    fn is(&self, class: &str, sender: Option<&Process>) -> bool {
        self.class == class
            && self.comm.as_ref() == sender.map(|sender| &sender.comm)
            && self.attribution.as_deref() == sender.and_then(|it| it.attribution.as_deref())
    }
}

impl Flows {
    pub(super) fn number(&mut self, class: &str, sender: Option<&Process>, rows: &mut Rows) -> u64 {
        // Of what tells most of them apart; the rest is compared.
        let is_of = sender.and_then(|sender| sender.attribution.as_deref());
        let hash = self.hasher.hash_one((
            class,
            sender.map(|sender| &sender.comm),
            is_of.and_then(|is_of| Some(&is_of.unit.as_ref()?.name)),
            is_of.and_then(|is_of| Some(&is_of.user_unit.as_ref()?.name)),
            is_of.and_then(|is_of| Some(&is_of.container.as_ref()?.id)),
        ));
        let same = self.known.get(&hash).into_iter().flatten();
        if let Some(known) = same.into_iter().find(|known| known.is(class, sender)) {
            return known.number;
        }
        if self.count >= FLOWS {
            self.forget();
        }
        self.last += 1;
        self.count += 1;
        self.known.entry(hash).or_default().push(Known {
            attribution: sender.and_then(|sender| sender.attribution.clone()),
            comm: sender.map(|sender| sender.comm.clone()),
            class: class.to_owned(),
            number: self.last,
        });
        rows.flows.push((self.last, flow(class, sender)));
        self.last
    }

    /// All are told anew; numbers that were given stay good.
    pub(super) fn tell_again(&mut self) {
        self.known.clear();
        self.count = 0;
    }

    /// All are told anew, with numbers of their own: those of before belong to nothing that comes.
    pub(super) fn forget(&mut self) {
        self.tell_again();
        self.since = self.last + 1;
    }
}

fn flow(class: &str, sender: Option<&Process>) -> Flow {
    let subject = sender
        .map(|sender| subject_of(sender, class))
        .unwrap_or_default();
    let is_of = sender.and_then(|sender| sender.attribution.as_deref());
    let user = is_of.and_then(|is_of| is_of.user);
    Flow {
        unit: subject.unit,
        user: subject.user,
        owner: user,
        container: subject.container,
        runtime: is_of
            .and_then(|is_of| is_of.container.as_ref()?.runtime)
            .map(|runtime| who::runtime(runtime).to_owned()),
        comm: subject.comm,
        class: class.to_owned(),
        manager: match user {
            Some(uid) if class == USER_CLASS => format!("{USER_CLASS} (user {uid})"),
            _ => class.to_owned(),
        },
    }
}
