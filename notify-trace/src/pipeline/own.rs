//! What this process itself sends: an agent that is a service with `STATUS=` and a watchdog would
//! record itself, and have more to say because of that.

use crate::event::{Event, Process};
use crate::names::Recent;

/// Most notifications of ours whose updates may still come.
const OPEN: usize = 1_024;

/// Recognises it. Nobody else can have our pid: we are there.
#[derive(Debug)]
pub(super) struct Own {
    pid: u32,
    open: Recent<u64, ()>,
}

impl Default for Own {
    fn default() -> Self {
        Self::of_process(std::process::id())
    }
}

impl Own {
    fn of_process(pid: u32) -> Self {
        Self {
            pid,
            open: Recent::new(OPEN),
        }
    }

    /// Whether an event is about something that we sent.
    pub(super) fn is_of(&mut self, event: &Event) -> bool {
        match event {
            Event::Send(it) => {
                let is_ours = self.is_us(it.sender.as_ref());
                if is_ours {
                    self.open.insert(it.id, ());
                }
                is_ours
            }
            Event::Update(it) => self.is_us(it.sender.as_ref()) || self.open.get(&it.id).is_some(),
            Event::ConnectFailed(it) => self.is_us(Some(&it.sender)),
            Event::Session(_)
            | Event::ReceiverClosed(_)
            | Event::Exit(_)
            | Event::Unit(_)
            | Event::View(_)
            | Event::Loss(_)
            | Event::Summary(_) => false,
        }
    }

    fn is_us(&self, sender: Option<&Process>) -> bool {
        sender.is_some_and(|sender| sender.pid == self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::Sample;

    #[test]
    fn what_we_send_is_recognised_and_what_others_send_is_not() {
        let mut own = Own::of_process(100);
        let sent = |pid, id| {
            let sample = Sample::new("STATUS=well")
                .id(id)
                .from("agent", pid, "a.service");
            Event::Send(Box::new(sample.build()))
        };
        assert!(own.is_of(&sent(100, 1)));
        assert!(!own.is_of(&sent(101, 2)));
    }
}
