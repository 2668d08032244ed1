//! Which sockets are notify sockets: the rules, what the kernel side can check of them, and the
//! exact check of the rest. Pure.
//!
//! The kernel side knows whole addresses, beginnings, ends and inode numbers. A rule that these
//! can't express goes there as its longest literal end or beginning; [`Rules::class_of_name`] decides by
//! all rules.

use std::fmt;
use std::sync::Arc;

use notify_trace_common::address::ADDRESS_MAX;

use crate::event::{Address, SocketRule};
use crate::glob;

/// The kinds of notify sockets that are selected unless `--only-socket` is given: class, globs.
/// `docs/events.md` explains the classes; the paths are those of each program's source.
const DEFAULTS: &[(&str, &[&str])] = &[
    (
        "systemd",
        &["/run/systemd/notify", "@/org/freedesktop/systemd1/notify"],
    ),
    ("systemd-user", &["/run/user/*/systemd/notify"]),
    (
        "nspawn",
        &["**/run/host/notify", "**/run/systemd/nspawn/notify"],
    ),
    (
        "conmon",
        &[
            "/proc/self/fd/*/notify/notify.sock",
            "**/userdata/notify/notify.sock",
        ],
    ),
    ("runc", &["**/notify/notify.sock"]),
    ("crun", &["**/notify/notify"]),
    (
        "podman",
        // os.CreateTemp of Go puts its number behind the name.
        &[
            "/tmp/-podman-notify-proxy.sock*",
            "/var/tmp/-podman-notify-proxy.sock*",
        ],
    ),
    ("other", &["**/notify.sock"]),
];

/// Class of the sockets that systemd-udevd, importd and the like make for their own helpers.
pub const INTERNAL: &str = "internal";
/// Class of what `--socket` and `--only-socket` name.
pub const CUSTOM: &str = "custom";
/// Class of sockets found only through a running process's `NOTIFY_SOCKET`.
pub const ENVIRONMENT: &str = "environment";

/// What the kernel side is given for a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// The whole address.
    Exact(Vec<u8>),
    /// Its beginning.
    Prefix(Vec<u8>),
    /// Its end.
    Suffix(Vec<u8>),
    /// The receiving socket's inode number.
    Inode(u64),
}

/// A pattern that can't be a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It has no literal beginning or end for the kernel side to look up.
    TooWide(String),
    /// It is longer than an address can be.
    TooLong(String),
    /// It is empty.
    Empty,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooWide(pattern) => write!(
                f,
                "socket pattern {pattern:?} begins and ends with a wildcard; give it a literal \
                 beginning or end, such as /run/app/* or **/app.sock"
            ),
            Self::TooLong(pattern) => write!(
                f,
                "socket pattern {pattern:?} is longer than an address can be ({ADDRESS_MAX} bytes)"
            ),
            Self::Empty => write!(f, "a socket pattern is empty; give a path, or @NAME"),
        }
    }
}

impl std::error::Error for PatternError {}

#[derive(Clone, Debug)]
enum Pattern {
    Glob {
        text: String,
        bytes: Vec<u8>,
    },
    /// An abstract name of digits only, as `socket_autobind` of systemd makes them.
    Decimal,
    Inode(u64),
}

/// A rule: a pattern, and the kind of socket that it stands for.
#[derive(Clone, Debug)]
struct Rule {
    class: Arc<str>,
    pattern: Pattern,
}

/// The rules in force, the first match deciding.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// The rules by default, behind those of the user.
    ///
    /// # Errors
    /// If a pattern of the user's can't be one.
    pub fn new(
        additional: &[String],
        only: &[String],
        internal: bool,
    ) -> Result<Self, PatternError> {
        let mut rules = Self::default();
        for pattern in only.iter().chain(additional) {
            rules.add_glob(CUSTOM, pattern)?;
        }
        if only.is_empty() {
            for (class, patterns) in DEFAULTS {
                for pattern in *patterns {
                    rules.add_glob(class, pattern)?;
                }
            }
        }
        if internal {
            rules.rules.push(Rule {
                class: INTERNAL.into(),
                pattern: Pattern::Decimal,
            });
        }
        Ok(rules)
    }

    /// Adds a rule at the end.
    ///
    /// # Errors
    /// If the pattern can't be one.
    pub fn add_glob(&mut self, class: &str, pattern: &str) -> Result<(), PatternError> {
        if pattern.is_empty() {
            return Err(PatternError::Empty);
        }
        let bytes = Address::from_spelling(pattern).0;
        if entries_of_glob(&bytes).is_empty() {
            return Err(PatternError::TooWide(pattern.to_owned()));
        }
        if entries_of_glob(&bytes)
            .iter()
            .any(|entry| entry.len() > ADDRESS_MAX)
        {
            return Err(PatternError::TooLong(pattern.to_owned()));
        }
        self.rules.push(Rule {
            class: class.into(),
            pattern: Pattern::Glob {
                text: pattern.to_owned(),
                bytes: bytes.to_vec(),
            },
        });
        Ok(())
    }

    /// Adds one socket by its inode number.
    pub fn add_inode(&mut self, class: &str, inode: u64) {
        self.rules.push(Rule {
            class: class.into(),
            pattern: Pattern::Inode(inode),
        });
    }

    /// What the kernel side is to be given, each with the number of the rule that it stands for.
    /// Numbers begin at 1.
    #[must_use]
    pub fn entries(&self) -> Vec<(Entry, u32)> {
        let mut entries: Vec<(Entry, u32)> = Vec::new();
        for (number, rule) in (1_u32..).zip(&self.rules) {
            let of_rule = match &rule.pattern {
                Pattern::Glob { bytes, .. } => entries_of_glob(bytes),
                Pattern::Decimal => (b'0'..=b'9')
                    .map(|digit| Entry::Prefix(vec![0, digit]))
                    .collect(),
                Pattern::Inode(inode) => vec![Entry::Inode(*inode)],
            };
            for entry in of_rule {
                if !entries.iter().any(|(present, _)| *present == entry) {
                    entries.push((entry, number));
                }
            }
        }
        entries
    }

    /// The kind of socket that an address is of, `None` if no rule selects it after all.
    #[must_use]
    pub fn class_of_name(&self, address: &[u8]) -> Option<&Arc<str>> {
        self.by_name(address).map(|rule| &rule.class)
    }

    /// The kind of socket that a rule selects by inode number: the number of the rule, which the kernel
    /// side gives, is all there is to know it by. `None` if it is a rule of names.
    #[must_use]
    pub fn class_of_inode(&self, rule: u32) -> Option<&Arc<str>> {
        let index = usize::try_from(rule).ok()?.checked_sub(1)?;
        let rule = self.rules.get(index)?;
        matches!(rule.pattern, Pattern::Inode(_)).then_some(&rule.class)
    }

    /// Whether an address is selected.
    #[must_use]
    pub fn selects(&self, address: &[u8]) -> bool {
        self.by_name(address).is_some()
    }

    /// The rule that selects an address, as the output shows it.
    #[must_use]
    pub fn rule_of(&self, address: &[u8]) -> Option<SocketRule> {
        self.by_name(address).map(Rule::describe)
    }

    /// The first rule that an address matches.
    fn by_name(&self, address: &[u8]) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches(address))
    }

    /// The rules as the session event shows them.
    pub fn describe(&self) -> impl Iterator<Item = SocketRule> {
        self.rules.iter().map(Rule::describe)
    }
}

impl Rule {
    fn describe(&self) -> SocketRule {
        SocketRule {
            class: self.class.to_string(),
            matches: match &self.pattern {
                Pattern::Glob { text, .. } => text.clone(),
                Pattern::Decimal => "@<decimal>".to_owned(),
                Pattern::Inode(inode) => format!("inode {inode}"),
            },
        }
    }

    fn matches(&self, address: &[u8]) -> bool {
        match &self.pattern {
            Pattern::Glob { bytes, .. } => glob::matches(bytes, address),
            Pattern::Decimal => match address {
                [0, digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
                _ => false,
            },
            Pattern::Inode(_) => false,
        }
    }
}

impl Entry {
    fn len(&self) -> usize {
        match self {
            Self::Exact(bytes) | Self::Prefix(bytes) | Self::Suffix(bytes) => bytes.len(),
            Self::Inode(_) => 0,
        }
    }
}

fn is_wild(byte: u8) -> bool {
    byte == b'*' || byte == b'?'
}

/// What the kernel side can look up for a glob: a superset of what it matches.
fn entries_of_glob(glob: &[u8]) -> Vec<Entry> {
    let Some(first) = glob.iter().position(|&byte| is_wild(byte)) else {
        return vec![Entry::Exact(glob.to_vec())];
    };
    let last = glob
        .iter()
        .rposition(|&byte| is_wild(byte))
        .unwrap_or(first);
    let (beginning, end) = (&glob[..first], &glob[last + 1..]);
    if end.len() >= beginning.len() && !end.is_empty() {
        let mut entries = vec![Entry::Suffix(end.to_vec())];
        if let Some(rest) = glob.strip_prefix(b"**/")
            && !rest.iter().any(|&byte| is_wild(byte))
        {
            entries.push(Entry::Exact(rest.to_vec()));
        }
        entries
    } else if beginning.is_empty() {
        Vec::new()
    } else {
        vec![Entry::Prefix(beginning.to_vec())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Rules {
        Rules::new(&[], &[], false).expect("the defaults are valid")
    }

    fn class_of(address: &[u8]) -> Option<String> {
        defaults().class_of_name(address).map(ToString::to_string)
    }

    #[test]
    fn each_runtimes_socket_has_its_class() {
        for (address, class) in [
            (&b"/run/systemd/notify"[..], "systemd"),
            (b"\0/org/freedesktop/systemd1/notify", "systemd"),
            (b"/run/user/1000/systemd/notify", "systemd-user"),
            (b"/run/host/notify", "nspawn"),
            (b"/var/lib/machines/deb/run/host/notify", "nspawn"),
            (b"/proc/self/fd/7/notify/notify.sock", "conmon"),
            (b"/run/runc/web/notify/notify.sock", "runc"),
            (b"/run/notify/notify.sock", "runc"),
            (b"/run/crun/web/notify/notify", "crun"),
            (b"/run/systemd/notify/notify", "crun"),
            (b"/tmp/-podman-notify-proxy.sock1234567890", "podman"),
            (b"/var/tmp/-podman-notify-proxy.sock1", "podman"),
            (b"/srv/app/notify.sock", "other"),
        ] {
            assert_eq!(class_of(address).as_deref(), Some(class), "{address:?}");
        }
    }

    #[test]
    fn journald_syslog_and_helpers_are_not_selected() {
        for address in [
            &b"/run/systemd/journal/socket"[..],
            b"/run/systemd/journal/dev-log",
            b"/dev/log",
            b"/run/user/1000/x/systemd/notify",
            b"\x0012345",
            b"",
        ] {
            assert_eq!(class_of(address), None, "{address:?}");
        }
    }

    #[test]
    fn an_inode_rule_counts_only_by_its_number() {
        let mut rules = defaults();
        rules.add_inode(ENVIRONMENT, 77);
        let number = u32::try_from(rules.rules.len()).unwrap();
        let class = rules.class_of_inode(number);
        assert_eq!(class.map(|it| &**it), Some(ENVIRONMENT));
        assert_eq!(rules.class_of_inode(1), None);
        assert!(rules.entries().contains(&(Entry::Inode(77), number)));
    }

    #[test]
    fn internal_sockets_are_decimal_abstract_names() {
        let rules = Rules::new(&[], &[], true).unwrap();
        let class = rules.class_of_name(b"\x001234567");
        assert_eq!(class.map(|it| &**it), Some(INTERNAL));
        assert_eq!(rules.class_of_name(b"\x0012ab"), None);
    }

    #[test]
    fn the_first_rule_that_matches_is_the_one_named() {
        let rule = defaults().rule_of(b"/run/user/7/systemd/notify").unwrap();
        assert_eq!(rule.class, "systemd-user");
        assert_eq!(rule.matches, "/run/user/*/systemd/notify");
        assert_eq!(defaults().rule_of(b"/dev/log"), None);
    }

    #[test]
    fn only_socket_replaces_the_defaults() {
        let rules = Rules::new(&[], &["/run/app/*".to_owned()], false).unwrap();
        assert!(rules.selects(b"/run/app/sock"));
        assert!(!rules.selects(b"/run/app/deeper/sock"));
        assert!(!rules.selects(b"/run/systemd/notify"));
    }

    #[test]
    fn the_kernels_entries_cover_whatever_a_glob_matches() {
        for (glob, address) in [
            (
                "/run/user/*/systemd/notify",
                &b"/run/user/0/systemd/notify"[..],
            ),
            ("**/notify.sock", b"notify.sock"),
            ("**/notify.sock", b"/a/notify.sock"),
            ("@app-*", b"\0app-1"),
            ("/a/?/c", b"/a/b/c"),
            ("**x", b"/long/way/x"),
        ] {
            let bytes = Address::from_spelling(glob).0;
            assert!(glob::matches(&bytes, address), "{glob}");
            let covered = entries_of_glob(&bytes).iter().any(|entry| match entry {
                Entry::Exact(exact) => exact == address,
                Entry::Prefix(prefix) => address.starts_with(prefix),
                Entry::Suffix(suffix) => address.ends_with(suffix),
                Entry::Inode(_) => false,
            });
            assert!(covered, "{glob}");
        }
    }

    #[test]
    fn a_pattern_without_a_literal_end_is_refused() {
        assert!(matches!(
            Rules::new(&["*x*".to_owned()], &[], false),
            Err(PatternError::TooWide(_))
        ));
        assert!(matches!(
            Rules::new(&[String::new()], &[], false),
            Err(PatternError::Empty)
        ));
        let long = format!("/{}", "a".repeat(200));
        assert!(matches!(
            Rules::new(&[long], &[], false),
            Err(PatternError::TooLong(_))
        ));
    }
}
