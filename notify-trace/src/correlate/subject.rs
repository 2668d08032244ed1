//! Whom an outcome concerns, in the words of its events.

use super::outcome::Subject;
use crate::escape::escape_field;
use crate::event::{Notification, Process};
use crate::unit::{USER_CLASS, UnitKey};
use crate::who;

/// A process, and the unit or the container that it is of.
pub(super) fn of_process(process: &Process) -> Subject {
    let is_of = process.attribution.as_deref();
    let unit = is_of.and_then(|it| it.user_unit.as_ref().or(it.unit.as_ref()));
    Subject {
        unit: unit.map(|unit| unit.name.clone()),
        user: is_of
            .filter(|it| it.user_unit.is_some())
            .and_then(|it| it.user),
        container: is_of.filter(|it| it.container.is_some()).and_then(who::who),
        pid: Some(process.pid),
        comm: Some(escape_field(&process.comm.0).to_string()),
    }
}

/// The sender of a notification; its unit is the one that the manager who is told would find.
pub(super) fn of_sender(it: &Notification) -> Subject {
    match &it.sender {
        Some(sender) => of_sending_process(sender, &it.class),
        None => Subject::default(),
    }
}

/// A process that sends to sockets of this class.
#[must_use]
pub fn of_sending_process(sender: &Process, class: &str) -> Subject {
    let mut subject = of_process(sender);
    if class != USER_CLASS
        && let Some(key) = UnitKey::of_sender(Some(sender), class)
    {
        subject.unit = Some(key.name);
        subject.user = None;
    }
    subject
}

/// A unit.
pub(super) fn of_unit(key: &UnitKey) -> Subject {
    Subject {
        unit: Some(key.name.clone()),
        user: key.user,
        ..Subject::default()
    }
}
