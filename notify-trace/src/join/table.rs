//! All open datagrams, found by id, by age, by deadline and by receiver.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::RandomState;

use super::datagram::Datagram;

/// The open datagrams. One that is taken out stays in the indexes, for most are put back as they were: it is
/// put back or let go of before anything else is asked of the table.
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
        self.open.remove(&id).unwrap_or_else(|| {
            self.arrived += 1;
            let mut datagram = self.free.pop().unwrap_or_default();
            datagram.arrival = self.arrived;
            self.by_age.insert(self.arrived, id);
            datagram
        })
    }

    /// Lets go of a datagram that was taken out.
    pub(super) fn let_go(&mut self, id: u64, mut datagram: Box<Datagram>) {
        self.by_age.remove(&datagram.arrival);
        self.set_deadline(id, &mut datagram, None);
        self.set_receiver(id, &mut datagram, 0);
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
        Some((id, self.open.remove(&id)?))
    }

    /// Takes out the one first heard of.
    pub(super) fn take_oldest(&mut self) -> Option<(u64, Box<Datagram>)> {
        let (_, &id) = self.by_age.first_key_value()?;
        Some((id, self.open.remove(&id)?))
    }

    /// Puts a datagram back.
    pub(super) fn put(&mut self, id: u64, mut datagram: Box<Datagram>, deadline_ns: Option<u64>) {
        self.set_deadline(id, &mut datagram, deadline_ns);
        let inode = datagram.receiver_inode();
        self.set_receiver(id, &mut datagram, inode);
        self.open.insert(id, datagram);
    }

    fn set_deadline(&mut self, id: u64, datagram: &mut Datagram, deadline_ns: Option<u64>) {
        let before_ns = std::mem::replace(&mut datagram.deadline_ns, deadline_ns);
        if before_ns == deadline_ns {
            return;
        }
        if let Some(before_ns) = before_ns {
            self.by_deadline.remove(&(before_ns, id));
        }
        if let Some(deadline_ns) = deadline_ns {
            self.by_deadline.insert((deadline_ns, id));
        }
    }

    /// Under which receiver it is found; 0: none.
    fn set_receiver(&mut self, id: u64, datagram: &mut Datagram, inode: u64) {
        let before = std::mem::replace(&mut datagram.found_by_receiver, inode);
        if before == inode {
            return;
        }
        if before != 0 {
            self.by_receiver.remove(&(before, datagram.arrival, id));
        }
        if inode != 0 {
            self.by_receiver.insert((inode, datagram.arrival, id));
        }
    }

    /// Ids of those whose receiver this is, the oldest first.
    pub(super) fn sent_to(&self, inode: u64) -> Vec<u64> {
        self.by_receiver
            .range((inode, 0, 0)..=(inode, u64::MAX, u64::MAX))
            .map(|(_, _, id)| *id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use notify_trace_common::record::Outcome;
    use zerocopy::FromZeros as _;

    use super::*;

    fn sent_to(inode: u64) -> Outcome {
        Outcome {
            receiver_inode: inode,
            ..Outcome::new_zeroed()
        }
    }

    #[test]
    fn what_is_put_back_is_found_by_what_is_known_of_it_now() {
        let mut table = Table::default();
        for id in [7, 8] {
            let datagram = table.take(id);
            table.put(id, datagram, Some(100 + id));
        }
        assert_eq!((table.len(), table.next_deadline_ns()), (2, Some(107)));
        let mut datagram = table.take(7);
        datagram.outcome = Some(sent_to(500));
        table.put(7, datagram, Some(300));
        assert_eq!(table.sent_to(500), [7]);
        assert_eq!(table.next_deadline_ns(), Some(108));
        assert!(table.take_due(107).is_none());
        let (id, datagram) = table.take_due(108).unwrap();
        assert_eq!(id, 8);
        table.put(id, datagram, None);
        assert_eq!(table.next_deadline_ns(), Some(300));
        let (id, datagram) = table.take_oldest().unwrap();
        assert_eq!(id, 7);
        table.put(id, datagram, Some(300));
        // It keeps its age.
        assert_eq!(table.take_oldest().map(|(id, _)| id), Some(7));
    }

    #[test]
    fn what_is_let_go_of_is_in_no_index() {
        let mut table = Table::default();
        for round in 0..3 {
            let mut datagram = table.take(7);
            assert!(datagram.outcome.is_none(), "room that was used before");
            datagram.outcome = Some(sent_to(500));
            table.put(7, datagram, Some(round));
            let datagram = table.take(7);
            table.let_go(7, datagram);
            assert_eq!((table.len(), table.next_deadline_ns()), (0, None));
            assert!(table.sent_to(500).is_empty());
            assert!(table.take_oldest().is_none());
        }
    }
}
