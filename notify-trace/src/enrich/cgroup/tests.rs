//! Real paths: `tests/cgroup/paths.tsv` has each with what it must say and where it was seen,
//! `tests/cgroup/files.txt` whole `/proc/PID/cgroup` contents of v1 and hybrid hosts.

use super::*;
use crate::event::{Container, Qos};

const PATHS: &str = include_str!("../../../tests/cgroup/paths.tsv");
const FILES: &str = include_str!("../../../tests/cgroup/files.txt");

/// An attribution in the words of the tables.
fn words(attribution: Option<&Attribution>) -> String {
    let Some(it) = attribution else {
        return "-".to_owned();
    };
    let mut words = Vec::new();
    let mut say = |key: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("{key}={value}")));
    };
    let name = |unit: &Option<Unit>| unit.as_ref().map(|unit| unit.name.clone());
    say("slice", it.slice.clone());
    say("unit", name(&it.unit));
    say("user", it.user.map(|uid| uid.to_string()));
    say("session", it.session.clone());
    say("user_slice", it.user_slice.clone());
    say("user_unit", name(&it.user_unit));
    say("machine", it.machine.clone());
    if let Some(pod) = &it.pod {
        let qos = pod.qos.map_or("", |qos| match qos {
            Qos::Guaranteed => ":guaranteed",
            Qos::Burstable => ":burstable",
            Qos::BestEffort => ":besteffort",
        });
        say("pod", Some(format!("{}{qos}", pod.uid)));
    }
    let mut next = it.container.as_ref();
    while let Some(Container {
        id,
        runtime,
        name: _,
        is_monitor,
        unit,
        outer,
    }) = next
    {
        let runtime = runtime.map_or("?".to_owned(), |it| format!("{it:?}").to_lowercase());
        let key = if *is_monitor { "monitor" } else { "container" };
        say(key, Some(format!("{runtime}:{id}")));
        say("inside", name(unit));
        next = outer.as_deref();
    }
    words.join(" ")
}

/// Path, what it says, source.
fn table() -> impl Iterator<Item = [&'static str; 3]> {
    PATHS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            fields.try_into().expect(line)
        })
}

#[test]
fn real_paths_say_what_they_are_known_to_be() {
    let mut wrong = Vec::new();
    for [path, expected, _] in table() {
        let found = words(attribute(path.as_bytes()).as_ref());
        if found != expected {
            wrong.push(format!("{path}\t{found}\tbut {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of each file: where it was seen, its contents, what follows.
fn files() -> impl Iterator<Item = (&'static str, String, &'static str)> {
    FILES
        .split("\n\n")
        .filter(|block| !block.trim().is_empty() && !block.starts_with("##"))
        .map(|block| {
            let (mut source, mut expected, mut contents) = ("", "", String::new());
            for line in block.lines() {
                if let Some(text) = line.strip_prefix("# ") {
                    source = text;
                } else if let Some(text) = line.strip_prefix("= ") {
                    expected = text;
                } else {
                    contents.push_str(line);
                    contents.push('\n');
                }
            }
            (source, contents, expected)
        })
}

/// What the kernel's own v2 id leads to on such a host.
fn v2_path(contents: &str) -> &str {
    contents
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .filter(|path| !path.contains(".."))
        .unwrap_or("/")
}

#[test]
fn of_several_hierarchies_the_one_that_says_most_is_believed() {
    let mut wrong = Vec::new();
    for (source, contents, expected) in files() {
        let found = match later(contents.as_bytes(), Some(v2_path(&contents).as_bytes())) {
            None => "nothing to add".to_owned(),
            Some((line, attribution)) => {
                format!("{}: {}", line.hierarchy, words(Some(&attribution)))
            }
        };
        if found != expected {
            wrong.push(format!("{source}\t{found}\tbut {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_the_path_of_the_moment_the_v2_line_is_better_than_nothing() {
    let table = b"1:name=systemd:/user.slice\n0::/system.slice/a.service\n";
    let (line, it) = later(table, None).expect("a unit");
    assert_eq!(line.hierarchy, "");
    assert_eq!(it.unit.expect("a unit").name, "a.service");
    // Known, it says more than any later line could.
    assert_eq!(later(table, Some(b"/system.slice/b.service")), None);
}

#[test]
fn a_path_out_of_our_own_namespace_says_nothing() {
    assert_eq!(later(b"0::/../a.service\n", None), None);
    assert_eq!(later(b"not a line\n\xff:\xff:/x\n1:a\n", None), None);
}

proptest::proptest! {
    #[test]
    fn no_path_makes_trouble(path in "(/|[a-z0-9@.:_-]|\\.slice|\\.service|\\.scope|docker-|\\\\x2d|\u{fc}){0,60}") {
        if let Some(attribution) = attribute(path.as_bytes()) {
            proptest::prop_assert_ne!(attribution, Attribution::default());
        }
    }
}
