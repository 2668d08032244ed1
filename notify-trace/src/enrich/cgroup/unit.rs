//! systemd's rules for the names of units, and for the names that they have as cgroups.
//!
//! Source: systemd's `src/basic/unit-name.c` and `src/basic/cgroup-util.c` (`cg_unescape`,
//! `cg_path_decode_unit`, `skip_slices`); unit names: systemd.unit(5).

use crate::event::{Blob, Unit};

/// `UNIT_NAME_MAX`: no name is as long.
const NAME_MAX_BYTES: usize = 256;

/// What a unit's name ends with.
const SUFFIXES: [&str; 11] = [
    ".service",
    ".scope",
    ".slice",
    ".socket",
    ".target",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".timer",
    ".path",
];

/// Whether a name ends as a unit's does.
#[must_use]
pub fn has_suffix(name: &str) -> bool {
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// The unit that a cgroup is named after; a template without an instance has no cgroup.
pub(super) fn of_component(component: &str) -> Option<Unit> {
    let name = unescape_cgroup(component);
    let suffix = SUFFIXES.iter().find(|suffix| name.ends_with(**suffix))?;
    let stem = &name[..name.len() - suffix.len()];
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if stem.is_empty() || name.len() >= NAME_MAX_BYTES || !name.bytes().all(is_allowed) {
        return None;
    }
    let Some((prefix, instance)) = stem.split_once('@') else {
        return Some(Unit {
            name: name.to_owned(),
            template: None,
            instance: None,
        });
    };
    if prefix.is_empty() || instance.is_empty() {
        return None;
    }
    Some(Unit {
        name: name.to_owned(),
        template: Some(format!("{prefix}@{suffix}")),
        instance: Some(Blob(unescape(instance).into())),
    })
}

/// The slice that a cgroup is named after.
pub(super) fn slice_of_component(component: &str) -> Option<&str> {
    let name = unescape_cgroup(component);
    let unit = of_component(component)?;
    (name.ends_with(".slice") && unit.template.is_none()).then_some(name)
}

/// Takes away the underscore that keeps a name apart from the kernel's own files (`cg_escape`).
pub(super) fn unescape_cgroup(component: &str) -> &str {
    component.strip_prefix('_').unwrap_or(component)
}

/// `unit_name_unescape`: `-` stands for `/`, `\xAB` for a byte. What is no such sequence stays.
pub(super) fn unescape(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'-', _) => bytes.push(b'/'),
            (b'\\', [b'x', high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'\\'),
            },
            _ => bytes.push(*first),
        }
    }
    bytes
}

/// Whether a machine could have this name (`hostname_is_valid`, roughly).
pub(super) fn is_machine_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= 64 && name.chars().all(is_allowed)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(component: &str) -> Option<String> {
        let unit = of_component(component)?;
        String::from_utf8(unit.instance?.0.into()).ok()
    }

    #[test]
    fn names_are_told_from_other_cgroups_as_systemd_does() {
        for name in [
            "foo.service",
            "foo-bar.scope",
            "a@b.service",
            "dev-sda.swap",
        ] {
            assert_eq!(
                of_component(name).map(|unit| unit.name).as_deref(),
                Some(name)
            );
        }
        let long = format!("{}.service", "x".repeat(NAME_MAX_BYTES));
        for name in [
            "foo",
            ".service",
            "@.service",
            "foo@.service",
            "a b.service",
            "docker",
            "payload",
            "\u{fc}.service",
            &long,
        ] {
            assert_eq!(of_component(name), None, "{name}");
        }
    }

    #[test]
    fn the_underscore_of_the_cgroup_file_system_is_no_part_of_the_name() {
        let name = |component| of_component(component).map(|unit| unit.name);
        assert_eq!(name("_cpu.service").as_deref(), Some("cpu.service"));
        assert_eq!(name("__foo.service").as_deref(), Some("_foo.service"));
    }

    #[test]
    fn a_template_and_its_instance_are_taken_apart() {
        let unit = of_component("getty@tty1.service").expect("a unit");
        assert_eq!(unit.template.as_deref(), Some("getty@.service"));
        assert_eq!(instance("getty@tty1.service").as_deref(), Some("tty1"));
        assert_eq!(
            instance(r"systemd-fsck@dev-disk-by\x2duuid-8f2a.service").as_deref(),
            Some("dev/disk/by-uuid/8f2a")
        );
        assert_eq!(instance("a@b@c.service").as_deref(), Some("b@c"));
    }

    #[test]
    fn what_is_no_escape_sequence_stays() {
        assert_eq!(unescape(r"a\x2"), br"a\x2");
        assert_eq!(unescape(r"a\xzz"), br"a\xzz");
        assert_eq!(unescape(r"\x2d\xff"), b"-\xff");
    }

    #[test]
    fn slices_are_told_from_other_units() {
        assert_eq!(slice_of_component("system.slice"), Some("system.slice"));
        assert_eq!(slice_of_component("a.service"), None);
        assert_eq!(
            slice_of_component("user-1000.slice"),
            Some("user-1000.slice")
        );
        assert_eq!(slice_of_component(".slice"), None);
    }
}
