//! All open datagrams, found by id, by age, by deadline and by receiver.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::RandomState;

use super::datagram::Datagram;

/// The open datagrams. One that is taken out is in no index until it is put back.
#[expect(clippy::vec_box, reason = "the boxes are what is kept")]
#[derive(Debug, Default)]
pub(super) struct Table {
    open: HashMap<u64, Box<Datagram>, RandomState>,
    /// Arrival to id.
    by_age: BTreeMap<u64, u64>,
    /// Deadline and id.
    by_deadline: BTreeSet<(u64, u64)>,
    /// Receiver's inode number, arrival and id.
    by_receiver: BTreeSet<(u64, u64, u64)>,
    arrived: u64,
    /// Empty ones, to be used again.
    free: Vec<Box<Datagram>>,
}

/// So many empty ones are kept.
const FREE: usize = 64;

impl Table {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        self.by_deadline
            .first()
            .map(|(deadline_ns, _)| *deadline_ns)
    }

    /// Takes a datagram out; a new one if nothing is known of it.
    pub(super) fn take(&mut self, id: u64) -> Box<Datagram> {
        self.remove(id).unwrap_or_else(|| {
            self.arrived += 1;
            let mut datagram = self.free.pop().unwrap_or_default();
            datagram.arrival = self.arrived;
            datagram
        })
    }

    /// Nothing more is wanted of a datagram that was taken out.
    pub(super) fn give_back(&mut self, mut datagram: Box<Datagram>) {
        if self.free.len() < FREE {
            *datagram = Datagram::default();
            self.free.push(datagram);
        }
    }

    /// Takes out the one with the earliest deadline, if that has come.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<(u64, Box<Datagram>)> {
        let &(deadline_ns, id) = self.by_deadline.first()?;
        if deadline_ns > now_ns {
            return None;
        }
        Some((id, self.remove(id)?))
    }

    /// Takes out the one first heard of.
    pub(super) fn take_oldest(&mut self) -> Option<(u64, Box<Datagram>)> {
        let (_, &id) = self.by_age.first_key_value()?;
        Some((id, self.remove(id)?))
    }

    /// Puts a datagram in, or back.
    pub(super) fn put(&mut self, id: u64, mut datagram: Box<Datagram>, deadline_ns: Option<u64>) {
        datagram.deadline_ns = deadline_ns;
        self.by_age.insert(datagram.arrival, id);
        if let Some(deadline_ns) = deadline_ns {
            self.by_deadline.insert((deadline_ns, id));
        }
        let inode = datagram.receiver_inode();
        if inode != 0 {
            self.by_receiver.insert((inode, datagram.arrival, id));
        }
        self.open.insert(id, datagram);
    }

    /// Ids of those whose receiver this is, the oldest first.
    pub(super) fn sent_to(&self, inode: u64) -> Vec<u64> {
        self.by_receiver
            .range((inode, 0, 0)..=(inode, u64::MAX, u64::MAX))
            .map(|(_, _, id)| *id)
            .collect()
    }

    fn remove(&mut self, id: u64) -> Option<Box<Datagram>> {
        let datagram = self.open.remove(&id)?;
        self.by_age.remove(&datagram.arrival);
        if let Some(deadline_ns) = datagram.deadline_ns {
            self.by_deadline.remove(&(deadline_ns, id));
        }
        let inode = datagram.receiver_inode();
        self.by_receiver.remove(&(inode, datagram.arrival, id));
        Some(datagram)
    }
}
