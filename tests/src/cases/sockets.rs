//! The verb `sockets`: what it says of sockets and processes that are known here.

use std::{
    collections::BTreeMap,
    env, fs,
    fs::File,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::Alone;
use crate::{
    need::{Home, Version},
    play::{play, this_program},
    raw::{self, process::Namespace},
    receiver::Behaviour,
    stage::{Stage, datagram_socket},
};

/// The first datagram that waits, and all of them.
const NEXT_BYTES: usize = 40;
const WAITING: usize = 3;
/// A user that nobody is.
const NOBODY: &str = "65534";
const WATCHDOG_USEC: u64 = 90_000_000;

/// A process with these variables, which does nothing.
fn service(variables: &[(&str, &str)]) -> Result<Child> {
    start(this_program().arg("wait"), variables)
}

fn start(command: &mut Command, variables: &[(&str, &str)]) -> Result<Child> {
    command
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("could not start a service")
}

/// An address as `NOTIFY_SOCKET` has it.
fn spelling(address: &[u8]) -> String {
    match address {
        [0, name @ ..] => format!("@{}", String::from_utf8_lossy(name)),
        path => String::from_utf8_lossy(path).into_owned(),
    }
}

/// Receivers and services of all kinds: an alias by bind mount, a network namespace of its own, a
/// relative name, and values that lead nowhere.
pub fn services_of_all_kinds(stage: &mut Stage) -> Result<()> {
    let odd = stage.receiver_at(&stage.path("odd"), Behaviour::HOLDS)?;
    let socket = datagram_socket()?;
    for length in (NEXT_BYTES..).take(WAITING) {
        raw::socket::send_to(socket.as_fd(), &vec![b'x'; length], &odd.address, 0)?;
    }
    drop(raw_bound(&stage.path("stale"))?);
    File::create(stage.dir.join("file")).context("no file")?;
    File::create(stage.dir.join("alias")).context("no place for the alias")?;
    let path = |name: &str| spelling(&stage.path(name));
    let name = stage.abstract_name(b"apart");
    let apart = spelling(&name);
    let mut services = BTreeMap::new();
    // Before this process leaves the namespaces of others.
    services.insert("elsewhere", service(&[("NOTIFY_SOCKET", &apart)])?);
    services.insert(
        "nobody",
        start(
            this_program().args(["as-user", NOBODY, "/proc/self/exe", "wait"]),
            &[("NOTIFY_SOCKET", &path("odd"))],
        )?,
    );
    for (service_name, value) in [
        ("gone", path("gone")),
        ("stale", path("stale")),
        ("file", path("file")),
        ("vsock", format!("vsock:2:{}", std::process::id())),
    ] {
        services.insert(service_name, service(&[("NOTIFY_SOCKET", &value)])?);
    }
    services.insert("unheard", service(&[("WATCHDOG_USEC", "1000000")])?);
    raw::process::unshare(Namespace::Mount).context("no mount namespace")?;
    raw::process::bind_mount(&stage.dir.join("odd"), &stage.dir.join("alias"))
        .context("no bind mount")?;
    services.insert("alias", service(&[("NOTIFY_SOCKET", &path("alias"))])?);
    raw::process::unshare(Namespace::Network).context("no network namespace")?;
    let usec = WATCHDOG_USEC.to_string();
    services.insert(
        "apart",
        service(&[
            ("NOTIFY_SOCKET", &apart),
            ("WATCHDOG_USEC", &usec),
            ("WATCHDOG_PID", "1"),
        ])?,
    );
    services.insert("relative", service(&[("NOTIFY_SOCKET", &path("bound"))])?);
    env::set_current_dir(&stage.dir)?;
    let apart = stage.receiver_at(&name, Behaviour::DEFAULT)?;
    let relative = stage.receiver_at(b"bound", Behaviour::DEFAULT)?;
    let mut facts: Vec<(&str, u32)> = services.iter().map(|(name, it)| (*name, it.id())).collect();
    facts.push(("stage", std::process::id()));
    for (of_pid, of_inode, receiver) in [
        ("owner of odd", "inode of odd", &odd),
        ("owner of apart", "inode of apart", &apart),
        ("owner of bound", "inode of bound", &relative),
    ] {
        facts.push((of_pid, receiver.pid));
        facts.push((of_inode, u32::try_from(receiver.inode)?));
    }
    let result = stage.gate(&facts);
    // They come first: they have copies of the services' inputs.
    for receiver in [odd, apart, relative] {
        receiver.stop()?;
    }
    for service in services.values_mut() {
        drop(service.stdin.take());
        service.wait().context("could not wait for a service")?;
    }
    result
}

/// A socket, which leaves its file behind when it is closed.
fn raw_bound(name: &[u8]) -> Result<std::os::fd::OwnedFd> {
    let socket = datagram_socket()?;
    raw::socket::bind(socket.as_fd(), name).context("could not bind")?;
    Ok(socket)
}

/// What the verb says.
fn look(command: &mut Command) -> Result<Value> {
    let output = command
        .args(["sockets", "-o", "json"])
        .stdin(Stdio::null())
        .output()
        .context("could not start the agent")?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && complaints.is_empty(),
        "it ended with {}: {complaints}",
        output.status
    );
    serde_json::from_slice(&output.stdout).context("it is no JSON document")
}

/// A list of the report.
fn list<'a>(report: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    report[name]
        .as_array()
        .with_context(|| format!("there is no list {name}"))
}

/// The one of a list in which a field has this value.
fn one<'a>(list: &'a [Value], field: &str, value: &Value) -> Result<&'a Value> {
    let mut found = list.iter().filter(|it| it[field] == *value);
    match (found.next(), found.next()) {
        (Some(found), None) => Ok(found),
        (None, _) => bail!("none has {field} {value}: {list:?}"),
        (Some(_), Some(_)) => bail!("several have {field} {value}"),
    }
}

fn expect(what: &str, found: &Value, wanted: impl Into<Value>) -> Result<()> {
    let wanted = wanted.into();
    ensure!(*found == wanted, "{what} is {found}, not {wanted}");
    Ok(())
}

fn pids(of: &Value, list_name: &str) -> Result<Vec<u64>> {
    let list = list(of, list_name)?;
    list.iter()
        .map(|it| it["pid"].as_u64().context("a process without a pid"))
        .collect()
}

fn network_namespace(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/ns/net");
    Ok(fs::metadata(&path)
        .with_context(|| format!("no {path}"))?
        .ino())
}

/// Plays all kinds of services, and compares while they live.
fn with_services(
    alone: &Alone<'_>,
    compare: impl FnOnce(&BTreeMap<String, u32>, &str) -> Result<()>,
) -> Result<()> {
    let mut playing = play("services_of_all_kinds", alone.root)?;
    let dir = playing.dir_text();
    let facts = playing.ready()?;
    let compared = compare(&facts, &dir);
    playing.go()?;
    playing.finish()?;
    compared
}

pub fn the_verb_sockets_shows_each_with_its_owner_and_its_processes(
    alone: &Alone<'_>,
) -> Result<()> {
    with_services(alone, |facts, dir| {
        let report = look(&mut Command::new(alone.agents.path()))?;
        compare_sockets(&report, facts, dir, alone.home)?;
        compare_unresolved(&report, facts, dir)
    })
}

fn fact(facts: &BTreeMap<String, u32>, name: &str) -> Result<u32> {
    let fact = facts.get(name).copied();
    fact.ok_or_else(|| anyhow!("the case itself does not tell {name}"))
}

fn compare_sockets(
    report: &Value,
    facts: &BTreeMap<String, u32>,
    dir: &str,
    home: Home,
) -> Result<()> {
    let sockets = list(report, "sockets")?;
    let namespaces = list(report, "network_namespaces")?;
    // Where it can't be, the report says why.
    let is_countable = !list(report, "warnings")?.iter().any(|warning| {
        warning
            .as_str()
            .is_some_and(|it| it.contains("queue lengths"))
    });
    let is_new = Version::running()? >= Version(5, 15);
    ensure!(
        is_countable == is_new || home == Home::Native,
        "queues are counted: {is_countable}: {}",
        report["warnings"]
    );
    for (name, address, users) in [
        ("odd", format!("{dir}/odd"), &["nobody", "alias"][..]),
        ("apart", format!("@{dir}/apart"), &["apart"]),
        ("bound", "bound".to_owned(), &["relative"]),
    ] {
        let inode = fact(facts, &format!("inode of {name}"))?;
        let owner = fact(facts, &format!("owner of {name}"))?;
        let socket = one(sockets, "inode", &json!(inode))?;
        expect("the address", &socket["address"], address)?;
        expect("the class", &socket["class"], "environment")?;
        let namespace = network_namespace(owner)?;
        expect("the namespace", &socket["network_namespace"], namespace)?;
        let owners = pids(socket, "owners")?;
        ensure!(owners == [u64::from(owner)], "owners of {name}: {owners:?}");
        let mut wanted: Vec<u64> = Vec::new();
        for user in users {
            wanted.push(fact(facts, user)?.into());
        }
        wanted.sort_unstable();
        let found = pids(socket, "processes")?;
        ensure!(
            found == wanted,
            "users of {name}: {found:?}, not {wanted:?}"
        );
        let entry = one(namespaces, "inode", &json!(namespace))?;
        if home == Home::Guest {
            // There, unix_diag is a module, and there are no modules.
            expect("where it was listed", &entry["source"], "table")?;
        }
        compare_queue(socket, entry, name == "odd", is_countable)?;
    }
    let apart = one(sockets, "inode", &json!(fact(facts, "inode of apart")?))?;
    let user = &list(apart, "processes")?[0];
    expect("the watchdog", &user["watchdog"]["usec"], WATCHDOG_USEC)?;
    expect("its process", &user["watchdog"]["pid"], 1)?;
    expect("whether it applies", &user["watchdog"]["applies"], false)?;
    expect("the parent", &user["parent_pid"], fact(facts, "stage")?)?;
    expect("the depth", &user["depth"], 0)?;
    let skipped = list(report, "skipped")?;
    ensure!(skipped.is_empty(), "root is refused: {skipped:?}");
    Ok(())
}

fn compare_queue(
    socket: &Value,
    namespace: &Value,
    is_full: bool,
    is_countable: bool,
) -> Result<()> {
    let (length, next) = if is_full {
        (json!(WAITING), json!(NEXT_BYTES))
    } else {
        (json!(0), json!(0))
    };
    let length = if is_countable { length } else { Value::Null };
    match namespace["source"].as_str() {
        Some("diag") => {
            expect("the next datagram", &socket["next_datagram_bytes"], next)?;
            expect("the user", &socket["uid"], 0)?;
        }
        Some("table") => {
            ensure!(
                namespace["no_diag"].is_string(),
                "no reason for the table: {namespace}"
            );
            let next = &socket["next_datagram_bytes"];
            expect("the next datagram", next, Value::Null)?;
        }
        other => bail!("the sockets were listed by {other:?}"),
    }
    expect("the queue", &socket["queue_length"], length)
}

fn compare_unresolved(report: &Value, facts: &BTreeMap<String, u32>, dir: &str) -> Result<()> {
    let unresolved = list(report, "unresolved")?;
    let stage = fact(facts, "stage")?;
    // Outside of a guest, something may be beyond even root's sight.
    let hidden = report["unreadable"]["network_namespaces"].as_u64();
    let nobody = if hidden == Some(0) {
        "nobody_bound"
    } else {
        "not_visible"
    };
    for (name, value, reason) in [
        ("gone", format!("{dir}/gone"), "no_file"),
        ("stale", format!("{dir}/stale"), nobody),
        ("file", format!("{dir}/file"), "not_a_socket"),
        ("vsock", format!("vsock:2:{stage}"), "vsock"),
        ("elsewhere", format!("@{dir}/apart"), "nobody_bound"),
    ] {
        let entry = one(unresolved, "notify_socket", &json!(value))?;
        expect(name, &entry["reason"], reason)?;
        let found = pids(entry, "processes")?;
        let wanted = u64::from(fact(facts, name)?);
        ensure!(found == [wanted], "{name}: {found:?}, not {wanted}");
    }
    let unheard = pids(report, "without_socket")?;
    let wanted = u64::from(fact(facts, "unheard")?);
    ensure!(unheard.contains(&wanted), "without a socket: {unheard:?}");
    Ok(())
}

pub fn the_verb_sockets_without_privileges_says_what_it_could_not_see(
    alone: &Alone<'_>,
) -> Result<()> {
    // Another user may not be allowed to look into the folder that the agent was built in.
    let copy = alone.root.join("notify-trace-sockets");
    let agent = if alone.home == Home::Native {
        fs::copy(alone.agents.path(), &copy).context("could not copy the agent")?;
        copy.as_path()
    } else {
        alone.agents.path()
    };
    with_services(alone, |facts, dir| {
        let report = look(this_program().args(["as-user", NOBODY]).arg(agent))?;
        let refused = report["unreadable"]["environments"].as_u64();
        ensure!(refused > Some(0), "nothing was refused: {report}");
        let own = one(list(&report, "network_namespaces")?, "is_own", &json!(true))?;
        let process = u64::from(fact(facts, "nobody")?);
        if own["source"] == "diag" {
            let inode = fact(facts, "inode of odd")?;
            let socket = one(list(&report, "sockets")?, "inode", &json!(inode))?;
            let (owners, users) = (pids(socket, "owners")?, pids(socket, "processes")?);
            ensure!(owners.is_empty(), "it sees owners: {owners:?}");
            ensure!(users == [process], "it sees {users:?}, not {process}");
        } else {
            // Whose file it is, only its owner could tell.
            let value = json!(format!("{dir}/odd"));
            let entry = one(list(&report, "unresolved")?, "notify_socket", &value)?;
            expect("the reason", &entry["reason"], "not_visible")?;
        }
        Ok(())
    })
}
