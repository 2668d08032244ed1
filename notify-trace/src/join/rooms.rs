//! Room for notifications: what was passed on, written and is done with is used again, so that the next one
//! has to ask nobody for memory.

use std::cell::RefCell;

use crate::event::{Event, Notification};

/// So many are kept.
const KEPT: usize = 64;

/// Room for so many lines is kept of each.
const LINES: usize = 64;

/// Boxes of notifications that are done with.
#[expect(clippy::vec_box, reason = "the boxes are what is kept")]
#[derive(Debug, Default)]
pub struct Rooms(RefCell<Vec<Box<Notification>>>);

impl Rooms {
    /// Keeps the room of an event that is done with, if it is one of a notification. Lets go of what the
    /// notification shares with others: a payload is a part of all that was read from a ring at once.
    pub fn give(&self, event: Event) {
        let Event::Send(mut room) = event else { return };
        let mut rooms = self.0.borrow_mut();
        if rooms.len() < KEPT {
            room.payload = None;
            room.lines.clear();
            room.lines.shrink_to(LINES);
            room.sender = None;
            room.receiver = None;
            room.destination = None;
            room.delivery.reader = None;
            rooms.push(room);
        }
    }

    /// A room; what is in it is of no meaning.
    pub(super) fn take(&self) -> Option<Box<Notification>> {
        self.0.borrow_mut().pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::Sample;

    #[test]
    fn a_room_is_used_again_and_holds_on_to_nothing() {
        let rooms = Rooms::default();
        let sample = Sample::new("STATUS=well")
            .from("web", 7, "web.service")
            .build();
        let room = Box::new(sample);
        let address = &raw const *room;
        rooms.give(Event::Send(room));
        let room = rooms.take().unwrap();
        assert_eq!(&raw const *room, address);
        assert!(room.payload.is_none() && room.lines.is_empty() && room.sender.is_none());
        assert!(room.lines.capacity() > 0);
        assert!(rooms.take().is_none());
    }

    #[test]
    fn not_more_are_kept_than_are_of_use() {
        let rooms = Rooms::default();
        for _ in 0..2 * KEPT {
            rooms.give(Event::Send(Box::new(Sample::new("READY=1").build())));
        }
        assert_eq!(rooms.0.borrow().len(), KEPT);
    }
}
