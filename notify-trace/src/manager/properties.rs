//! From a unit's properties to what matters of them. Pure.

use std::collections::HashMap;

use zbus::{OwnedVariant, Variant};

use crate::event::{Blob, UnitState};

/// Properties by name.
pub(super) type Properties = HashMap<&'static str, OwnedVariant>;

/// One property to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) interface: &'static str,
    pub(super) name: &'static str,
}

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// What changes when the unit does anything: asked for first, and last again.
const STATE: Wanted = Wanted {
    interface: UNIT,
    name: "StateChangeTimestampMonotonic",
};

/// Those of any unit.
const OF_UNIT: [&str; 6] = [
    "Id",
    "ActiveState",
    "SubState",
    "InvocationID",
    "InactiveExitTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
];

/// Those of a service besides.
const OF_SERVICE: [&str; 15] = [
    "Type",
    "NotifyAccess",
    "Result",
    "MainPID",
    "ControlPID",
    "ControlGroup",
    "TimeoutStartUSec",
    "TimeoutStopUSec",
    "WatchdogUSec",
    "FileDescriptorStoreMax",
    "NFileDescriptorStore",
    "NRestarts",
    "ExecMainStartTimestampMonotonic",
    "RootDirectory",
    "RootImage",
];

/// What to ask for, in this order; the first again at the end.
///
/// Not `GetAll`: of a service that is some 400 properties, for which the manager reads cgroup files
/// and formats each dependency.
pub(super) fn wanted(is_service: bool) -> Vec<Wanted> {
    let of = |interface, names: &'static [&'static str]| {
        names.iter().map(move |name| Wanted { interface, name })
    };
    let of_service = if is_service { &OF_SERVICE[..] } else { &[] };
    [STATE]
        .into_iter()
        .chain(of(UNIT, &OF_UNIT))
        .chain(of(SERVICE, of_service))
        .chain([STATE])
        .collect()
}

/// What the properties of a unit, those of its type among them, say. Time and manager are the
/// caller's to fill in. `None`: they are no unit's.
pub(super) fn unit_state(properties: &Properties) -> Option<UnitState> {
    let text = |name: &str| match properties.get(name).map(|it| &**it) {
        Some(Variant::Str(text)) if !text.is_empty() => Some(text.as_str().to_owned()),
        _ => None,
    };
    let number = |name: &str| match properties.get(name).map(|it| &**it) {
        Some(Variant::U32(number)) => Some(u64::from(*number)),
        Some(Variant::U64(number)) => Some(*number),
        _ => None,
    };
    // 0: there is none; the greatest: no limit.
    let given = |name: &str| number(name).filter(|it| *it != 0 && *it != u64::MAX);
    let pid = |name: &str| given(name).and_then(|pid| u32::try_from(pid).ok());
    let count = |name: &str| number(name).and_then(|count| u32::try_from(count).ok());
    let time_ns = |name: &str| given(name).and_then(|usec| usec.checked_mul(1_000));
    Some(UnitState {
        unit: text("Id")?,
        active_state: text("ActiveState")?,
        sub_state: text("SubState").unwrap_or_default(),
        result: text("Result").filter(|result| result != "success"),
        service_type: text("Type"),
        notify_access: text("NotifyAccess"),
        main_pid: pid("MainPID"),
        control_pid: pid("ControlPID"),
        invocation_id: invocation_id(properties),
        control_group: text("ControlGroup").map(|path| Blob(path.into_bytes().into())),
        timeout_start_usec: given("TimeoutStartUSec"),
        timeout_stop_usec: given("TimeoutStopUSec"),
        watchdog_usec: given("WatchdogUSec"),
        fd_store_max: count("FileDescriptorStoreMax"),
        fd_store_count: count("NFileDescriptorStore"),
        restarts: count("NRestarts"),
        inactive_exit_ns: time_ns("InactiveExitTimestampMonotonic"),
        active_enter_ns: time_ns("ActiveEnterTimestampMonotonic"),
        main_start_ns: time_ns("ExecMainStartTimestampMonotonic"),
        has_own_root: text("RootDirectory").is_some_and(|path| path != "/")
            || text("RootImage").is_some(),
        ..UnitState::default()
    })
}

/// 16 bytes as 32 digits.
fn invocation_id(properties: &Properties) -> Option<String> {
    let Some(Variant::Array(bytes)) = properties.get("InvocationID").map(|it| &**it) else {
        return None;
    };
    let digits: String = bytes
        .iter()
        .filter_map(|byte| match byte {
            Variant::U8(byte) => Some(format!("{byte:02x}")),
            _ => None,
        })
        .collect();
    (digits.len() == 32).then_some(digits)
}

/// The path of a unit's object: systemd's `bus_label_escape` (src/basic/bus-label.c).
pub(super) fn unit_path(unit: &str) -> String {
    use std::fmt::Write as _;

    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (position, byte) in unit.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphabetic() || (position > 0 && byte.is_ascii_digit());
        if is_plain {
            path.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(path, "_{byte:02x}");
        }
    }
    if unit.is_empty() {
        path.push('_');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(of: &[(&'static str, Variant<'static>)]) -> Properties {
        of.iter()
            .map(|(name, value)| {
                let value = value.try_clone().expect("no descriptor");
                let value = OwnedVariant::try_from(value).expect("no descriptor");
                (*name, value)
            })
            .collect()
    }

    #[test]
    fn what_is_unlimited_or_not_there_is_absent() {
        let state = unit_state(&properties(&[
            ("Id", Variant::from("app.service")),
            ("ActiveState", Variant::from("activating")),
            ("SubState", Variant::from("start")),
            ("Result", Variant::from("success")),
            ("Type", Variant::from("notify")),
            ("MainPID", Variant::from(42_u32)),
            ("ControlPID", Variant::from(0_u32)),
            ("TimeoutStartUSec", Variant::from(u64::MAX)),
            ("WatchdogUSec", Variant::from(2_000_000_u64)),
            ("FileDescriptorStoreMax", Variant::from(0_u32)),
            ("InactiveExitTimestampMonotonic", Variant::from(7_u64)),
            ("ActiveEnterTimestampMonotonic", Variant::from(0_u64)),
            ("RootDirectory", Variant::from("")),
            ("InvocationID", Variant::from(vec![0xab_u8; 16])),
        ]))
        .expect("a unit");
        assert_eq!(
            state,
            UnitState {
                unit: "app.service".to_owned(),
                active_state: "activating".to_owned(),
                sub_state: "start".to_owned(),
                service_type: Some("notify".to_owned()),
                main_pid: Some(42),
                watchdog_usec: Some(2_000_000),
                fd_store_max: Some(0),
                inactive_exit_ns: Some(7_000),
                invocation_id: Some("ab".repeat(16)),
                ..UnitState::default()
            }
        );
    }

    #[test]
    fn what_has_no_name_is_no_unit() {
        assert_eq!(unit_state(&Properties::new()), None);
    }

    #[test]
    fn paths_are_escaped_as_systemd_does() {
        assert_eq!(
            unit_path("systemd-logind.service"),
            "/org/freedesktop/systemd1/unit/systemd_2dlogind_2eservice"
        );
        assert_eq!(
            unit_path("1a@b\\x2d.service"),
            "/org/freedesktop/systemd1/unit/_31a_40b_5cx2d_2eservice"
        );
    }
}
