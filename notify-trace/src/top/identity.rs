//! Whose row a message belongs to.

use crate::correlate::outcome::Subject;
use crate::escape::escape_field;
use crate::event::{Process, UnitState};
use crate::unit::{SYSTEM_CLASS, UnitKey};
use crate::who;
use crate::words;

/// Most cells of a label.
const CELLS: usize = 120;

/// The label of messages whose sender isn't known.
pub const NOBODY: &str = "?";

/// A unit, a container, or what else messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// How it is called; rows are told apart by it.
    pub label: String,
    /// The unit that the manager who is told finds it in.
    pub key: Option<UnitKey>,
    /// It is a container.
    pub is_container: bool,
    /// It was looked up later, not at the moment of the message.
    pub is_later: bool,
}

impl Identity {
    /// Of a message's sender.
    #[must_use]
    pub fn of_sender(sender: Option<&Process>, class: &str) -> Self {
        let Some(sender) = sender else {
            return Self::without_unit(NOBODY.to_owned());
        };
        let Some(is_of) = sender.attribution.as_deref() else {
            return Self::without_unit(by_process(sender));
        };
        let key = UnitKey::of(is_of, class);
        let is_container = is_of.container.is_some();
        let label = match &key {
            // A user's manager tells the system's of itself: that is the unit user@.service.
            Some(key) if class == SYSTEM_CLASS && !is_container => of_key(key),
            _ => who::who(is_of).map_or_else(
                || by_process(sender),
                |label| label.trim_start_matches('~').to_owned(),
            ),
        };
        Self {
            label: words::cut(label, CELLS),
            key,
            is_container,
            is_later: is_of.is_later,
        }
    }

    /// Of a unit that its manager speaks of.
    #[must_use]
    pub fn of_unit(state: &UnitState) -> Self {
        let key = UnitKey::of_state(state);
        Self {
            label: words::cut(of_key(&key), CELLS),
            key: Some(key),
            is_container: false,
            is_later: false,
        }
    }

    const fn without_unit(label: String) -> Self {
        Self {
            label,
            key: None,
            is_container: false,
            is_later: false,
        }
    }
}

/// The label of what a verdict is about, if it names a unit or a container.
#[must_use]
pub fn of_subject(subject: &Subject) -> Option<String> {
    let unit = || {
        let name = subject.unit.clone()?;
        let user = subject.user;
        Some(of_key(&UnitKey { user, name }))
    };
    let label = subject.container.clone().or_else(unit)?;
    Some(words::cut(label.trim_start_matches('~'), CELLS))
}

fn of_key(key: &UnitKey) -> String {
    let name = words::unit(&key.name);
    match key.user {
        Some(uid) => format!("{name} (user {uid})"),
        None => name,
    }
}

/// A process of no unit goes by its name: its pid would make a row of each run.
fn by_process(process: &Process) -> String {
    format!("{} (no unit)", escape_field(&process.comm.0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::correlate::samples::process;
    use crate::event::{Attribution, Container, Runtime, Unit};

    fn unit(name: &str) -> Unit {
        Unit {
            name: name.to_owned(),
            template: None,
            instance: None,
        }
    }

    fn label(attribution: Attribution, class: &str) -> String {
        let mut sender = process("worker", 7, "x.service");
        sender.attribution = Some(Arc::new(attribution));
        Identity::of_sender(Some(&sender), class).label
    }

    #[test]
    fn a_users_service_is_told_from_the_users_manager() {
        let is_of = Attribution {
            unit: Some(unit("user@1000.service")),
            user: Some(1000),
            user_unit: Some(unit("mail.service")),
            ..Attribution::default()
        };
        assert_eq!(
            label(is_of.clone(), "systemd-user"),
            "mail.service (user 1000)"
        );
        assert_eq!(label(is_of, "systemd"), "user@1000.service");
    }

    #[test]
    fn a_container_goes_by_its_name() {
        let is_of = Attribution {
            unit: Some(unit("docker-0123.scope")),
            container: Some(Container {
                id: "0123".to_owned(),
                runtime: Some(Runtime::Docker),
                name: Some("web".to_owned()),
                is_monitor: false,
                unit: None,
                outer: None,
            }),
            is_later: true,
            ..Attribution::default()
        };
        assert_eq!(label(is_of, "systemd"), "docker:web");
    }

    #[test]
    fn a_process_of_no_unit_goes_by_its_name() {
        let mut sender = process("evil\x1b[2J", 7, "x.service");
        sender.attribution = None;
        let identity = Identity::of_sender(Some(&sender), "other");
        assert_eq!(identity.label, r"evil\e[2J (no unit)");
        assert_eq!(Identity::of_sender(None, "other").label, NOBODY);
    }

    #[test]
    fn verdicts_find_the_row_of_their_subject() {
        let subject = Subject {
            unit: Some("mail.service".to_owned()),
            user: Some(1000),
            ..Subject::default()
        };
        assert_eq!(
            of_subject(&subject).as_deref(),
            Some("mail.service (user 1000)")
        );
        let subject = Subject {
            container: Some("~docker:web".to_owned()),
            ..Subject::default()
        };
        assert_eq!(of_subject(&subject).as_deref(), Some("docker:web"));
        assert_eq!(of_subject(&Subject::default()), None);
    }
}
