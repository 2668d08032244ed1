//! Which events are shown: `--unit`, `--container` and so on. Options of one name are alternatives,
//! different ones must all hold. Pure.

use crate::enrich::cgroup::has_suffix;
use crate::event::{
    Attribution, ConnectFailed, Container, DeliveryState, Line, Notification, Process,
    ReceiverClosed, Unit, UnitState,
};
use crate::glob;

/// Fewest characters of a container's id that stand for the whole.
const ID_PREFIX_MIN: usize = 4;

/// What is asked for; what is empty doesn't matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Globs of units and slices.
    pub units: Vec<String>,
    /// Globs of containers, machines and pods, or beginnings of their ids.
    pub containers: Vec<String>,
    /// Users by number, with how they were called.
    pub users: Vec<(u32, String)>,
    /// Globs of `comm`.
    pub comms: Vec<String>,
    /// Globs of keys of assignments.
    pub keys: Vec<String>,
    /// Globs of kinds of sockets.
    pub classes: Vec<String>,
    /// Only what did not arrive (yet).
    pub failed: bool,
}

/// Whether something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is.
    Yes,
    /// It isn't.
    No,
    /// It depends on what isn't known: the sender, or the payload.
    Unknown,
}

impl Filter {
    /// Whether everything is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// In words such as `unit=nginx.service`.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let Self {
            units,
            containers,
            users,
            comms,
            keys,
            classes,
            failed,
        } = self;
        let users: Vec<String> = users.iter().map(|(_, name)| name.clone()).collect();
        let lists = [
            ("unit", units),
            ("container", containers),
            ("user", &users),
            ("comm", comms),
            ("key", keys),
            ("class", classes),
        ];
        lists
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |value| format!("{name}={value}")))
            .chain(failed.then(|| "failed".to_owned()))
            .collect()
    }

    /// Whether a notification is asked for.
    #[must_use]
    pub fn notification(&self, notification: &Notification) -> Answer {
        let has_arrived = notification.delivery.state == DeliveryState::Delivered;
        if (self.failed && has_arrived)
            || !any(&self.classes, |class| is_like(class, &notification.class))
        {
            return Answer::No;
        }
        let by_sender = self.sender(notification.sender.as_ref());
        if by_sender == Answer::No || self.has_key(&notification.lines) {
            return by_sender;
        }
        // The key may be in what isn't known of the payload.
        if notification.payload.is_none() || notification.truncated {
            Answer::Unknown
        } else {
            Answer::No
        }
    }

    /// Whether a failed connect is asked for. It has no payload, so no key.
    #[must_use]
    pub fn connect_failed(&self, failed: &ConnectFailed) -> Answer {
        if !self.keys.is_empty() || !any(&self.classes, |class| is_like(class, &failed.class)) {
            return Answer::No;
        }
        self.sender(Some(&failed.sender))
    }

    /// Whether a closed receiver is asked for: by who closed it, and as a failure if datagrams went
    /// with it.
    #[must_use]
    pub fn receiver_closed(&self, closed: &ReceiverClosed) -> bool {
        let destroyed = closed.receiver.queue_length.unwrap_or(0);
        self.keys.is_empty()
            && (!self.failed || destroyed > 0)
            && any(&self.classes, |class| is_like(class, &closed.class))
            && self.sender(Some(&closed.closer)) == Answer::Yes
    }

    /// Whether what a manager says of a unit is asked for: only units can be told apart by it.
    #[must_use]
    pub fn unit_state(&self, state: &UnitState) -> bool {
        any(&self.units, |wanted| is_like(wanted, &state.unit))
    }

    /// Whether this unit is asked for by its name.
    #[must_use]
    pub fn asks_for_unit(&self, unit: &str) -> bool {
        self.units.iter().any(|wanted| is_like(wanted, unit))
    }

    fn has_key(&self, lines: &[Line]) -> bool {
        any(&self.keys, |wanted| {
            lines
                .iter()
                .filter_map(Line::key)
                .any(|key| glob::matches(wanted.as_bytes(), &key.0))
        })
    }

    fn sender(&self, sender: Option<&Process>) -> Answer {
        let asks_nothing = self.units.is_empty()
            && self.containers.is_empty()
            && self.users.is_empty()
            && self.comms.is_empty();
        if asks_nothing {
            return Answer::Yes;
        }
        let Some(sender) = sender else {
            return Answer::Unknown;
        };
        let unknown = Attribution::default();
        let is_of = sender.attribution.as_deref().unwrap_or(&unknown);
        let holds = any(&self.comms, |comm| {
            glob::matches(comm.as_bytes(), &sender.comm.0)
        }) && any(&self.users, |(uid, _)| {
            sender.uid == *uid || is_of.user == Some(*uid)
        }) && any(&self.units, |unit| is_in_unit(unit, is_of))
            && any(&self.containers, |container| {
                is_in_container(container, is_of)
            });
        if holds { Answer::Yes } else { Answer::No }
    }
}

/// Whether one of several alternatives holds; no alternatives ask for nothing.
fn any<T>(alternatives: &[T], holds: impl Fn(&T) -> bool) -> bool {
    alternatives.is_empty() || alternatives.iter().any(holds)
}

fn is_like(glob: &str, text: &str) -> bool {
    glob::matches(glob.as_bytes(), text.as_bytes())
}

/// A unit as the user typed it: `nginx` is `nginx.service`, as for systemctl(1).
#[must_use]
pub fn unit_pattern(typed: &str) -> String {
    if has_suffix(typed) || typed.contains(['*', '?']) {
        typed.to_owned()
    } else {
        format!("{typed}.service")
    }
}

/// A unit of the host, of a user, or inside of a container; its template or its slice.
fn is_in_unit(wanted: &str, is_of: &Attribution) -> bool {
    let units = [
        is_of.unit.as_ref(),
        is_of.user_unit.as_ref(),
        is_of.container.as_ref().and_then(|it| it.unit.as_ref()),
    ];
    let names = |unit: &Unit| {
        is_like(wanted, &unit.name) || unit.template.as_ref().is_some_and(|it| is_like(wanted, it))
    };
    let slices = [is_of.slice.as_ref(), is_of.user_slice.as_ref()];
    units.into_iter().flatten().any(names)
        || slices.into_iter().flatten().any(|it| is_like(wanted, it))
}

/// The container or one around it, the machine or the pod, by name, id or the id's beginning.
fn is_in_container(wanted: &str, is_of: &Attribution) -> bool {
    // Other ids are names, of which a beginning means nothing.
    let is_number = |id: &str| id.bytes().filter(u8::is_ascii_hexdigit).count() >= 32;
    let is_begun = |id: &str| wanted.len() >= ID_PREFIX_MIN && id.starts_with(wanted);
    let is_id = |id: &str| is_like(wanted, id) || (is_number(id) && is_begun(id));
    let is_name = |name: &Option<String>| name.as_ref().is_some_and(|it| is_like(wanted, it));
    let mut next = is_of.container.as_ref();
    while let Some(Container {
        id, name, outer, ..
    }) = next
    {
        if is_id(id) || is_name(name) {
            return true;
        }
        next = outer.as_deref();
    }
    is_name(&is_of.machine)
        || is_of
            .pod
            .as_ref()
            .is_some_and(|pod| is_id(&pod.uid) || is_name(&pod.name))
}
