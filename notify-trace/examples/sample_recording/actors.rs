//! What each unit does.

use notify_trace::event::{Process, UnitState};

use crate::host::{BEGAN_NS, Host, MS, Message, S, US, in_container, process, time};
use crate::names;

/// Until when everything goes on.
const END_NS: u64 = 75 * S;

/// Time that a unit has to start.
const TIMEOUT_NS: u64 = 30 * S;

/// A unit while it lives.
struct Actor {
    number: u32,
    unit: String,
    main: Process,
    began_ns: u64,
    ready_ns: Option<u64>,
    watchdog_usec: Option<u64>,
    service_type: &'static str,
}

/// What is special about a unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Usual,
    Slow,
    /// It runs in a container, and says so to runc.
    Container,
    /// A helper says `READY=1` and exits at once.
    HelperGone,
    /// Only the main process may speak, and another does.
    Refused,
    /// The socket is not there yet.
    NoSocket,
    /// Its watchdog starves.
    Watchdog,
    /// It reloads without a time stamp.
    BadReload,
}

const fn fate(number: u32) -> Fate {
    match number % 100 {
        17 => Fate::HelperGone,
        18 => Fate::Refused,
        31 => Fate::NoSocket,
        24 => Fate::Watchdog,
        26 => Fate::BadReload,
        21 | 14 | 41 => Fate::Slow,
        27 | 42 | 44 | 46 | 73 | 88 => Fate::Container,
        _ => Fate::Usual,
    }
}

/// Plays the life of one unit of so many.
pub fn play(host: &mut Host, number: u32, units: u32) {
    let fate = fate(number);
    let unit = format!("{}.service", names::name(number));
    // Units start in waves, as their dependencies allow.
    let share = u64::from(number) * 1_000 / u64::from(units.max(1));
    let wave = share / 125;
    let began_ns = BEGAN_NS + 300 * MS + wave * 1_900 * MS + share * 4 * MS + host.random(700) * MS;
    let pid = host.pid();
    let comm = match fate {
        Fate::Container => "runc".to_owned(),
        _ => names::name(number),
    };
    let main = process(&comm, pid, &unit, began_ns + 4 * MS);
    let mut actor = Actor {
        number,
        unit,
        main,
        began_ns,
        ready_ns: None,
        watchdog_usec: (number.is_multiple_of(5) || fate == Fate::Watchdog).then_some(10_000_000),
        service_type: if number.is_multiple_of(9) || fate == Fate::BadReload {
            "notify-reload"
        } else {
            "notify"
        },
    };
    let took_ns = match fate {
        Fate::Slow => 7 * S + host.random(6_000) * MS,
        _ => (40 + host.random(300) + host.random(30) * host.random(40)) * MS,
    };
    state(
        host,
        &actor,
        began_ns + 15 * MS,
        "activating",
        "start",
        None,
    );
    let [first, second, third] = names::statuses(number);
    say(
        host,
        &actor,
        began_ns + took_ns / 5,
        &format!("STATUS={first}"),
    );
    say(
        host,
        &actor,
        began_ns + took_ns / 2,
        &format!("STATUS={second}"),
    );
    let ready_ns = began_ns + took_ns;
    let message = format!("READY=1\nSTATUS={third}");
    match fate {
        Fate::HelperGone | Fate::Refused => {
            never_ready(host, &actor, fate, ready_ns);
            return;
        }
        Fate::Container => through_runc(host, &actor, ready_ns, &message),
        Fate::NoSocket => {
            let mut it = Message::new(ready_ns - 30 * MS, &actor.main, &message);
            it.error = Some((111, "ECONNREFUSED"));
            host.send(it);
            say(host, &actor, ready_ns, &message);
        }
        _ => say(host, &actor, ready_ns, &message),
    }
    actor.ready_ns = Some(ready_ns + MS);
    state(host, &actor, ready_ns + 20 * MS, "active", "running", None);
    goes_on(host, &actor, fate, ready_ns);
}

/// Pings, reloads and the end.
fn goes_on(host: &mut Host, actor: &Actor, fate: Fate, ready_ns: u64) {
    if actor.watchdog_usec.is_some() {
        let mut at_ns = ready_ns + 5 * S;
        while at_ns < END_NS {
            say(host, actor, at_ns, "WATCHDOG=1");
            let is_starved = fate == Fate::Watchdog && at_ns > 35 * S && at_ns < 42 * S;
            at_ns += if is_starved {
                13 * S
            } else {
                4_950 * MS + host.random(100) * MS
            };
        }
    }
    if actor.service_type == "notify-reload" {
        let at_ns = 38 * S + host.random(9_000) * MS;
        let stamp = if fate == Fate::BadReload {
            String::new()
        } else {
            format!("\nMONOTONIC_USEC={}", (at_ns - 200 * US) / US)
        };
        say(
            host,
            actor,
            at_ns,
            &format!("RELOADING=1{stamp}\nSTATUS=Reloading configuration"),
        );
        let took_ns = (120 + host.random(1_500)) * MS;
        say(
            host,
            actor,
            at_ns + took_ns,
            "READY=1\nSTATUS=Configuration reloaded",
        );
    }
    if actor.number % 15 == 11 {
        let at_ns = 55 * S + host.random(8_000) * MS;
        say(
            host,
            actor,
            at_ns,
            "STOPPING=1\nSTATUS=Draining connections",
        );
        let gone_ns = at_ns + (200 + host.random(2_500)) * MS;
        host.exit(&actor.main, gone_ns);
    }
}

/// `READY=1` is said, and nobody hears it.
fn never_ready(host: &mut Host, actor: &Actor, fate: Fate, at_ns: u64) {
    let pid = host.pid();
    let comm = if fate == Fate::Refused {
        "sh"
    } else {
        "systemd-notify"
    };
    let helper = process(comm, pid, &actor.unit, at_ns - 3 * MS);
    let mut it = Message::new(at_ns, &helper, "READY=1");
    it.is_gone = fate == Fate::HelperGone;
    host.send(it);
    host.exit(
        &helper,
        at_ns + if fate == Fate::Refused { S } else { 20 * US },
    );
    state(host, actor, at_ns + 60 * MS, "activating", "start", None);
    let limit_ns = actor.began_ns + TIMEOUT_NS;
    state(host, actor, limit_ns, "failed", "failed", Some("timeout"));
}

/// A container says `READY=1` to runc, and runc to the manager.
fn through_runc(host: &mut Host, actor: &Actor, at_ns: u64, message: &str) {
    let id = actor.unit.trim_end_matches(".service").replace('@', "-");
    let inode = 30_000 + u64::from(actor.number);
    let address = format!("/run/runc/{id}/notify/notify.sock");
    let pid = host.pid();
    let inside = in_container(process("app", pid, &actor.unit, at_ns - 80 * MS), &id);
    let told_ns = at_ns - 9 * MS;
    let mut it = Message::new(told_ns, &inside, message);
    it.to = ("runc", inode, &address, actor.main.clone());
    host.send(it);
    say(host, actor, at_ns, "READY=1");
    say(
        host,
        actor,
        at_ns + 400 * US,
        &format!("MAINPID={}", actor.main.pid),
    );
}

fn say(host: &mut Host, actor: &Actor, at_ns: u64, payload: &str) {
    host.send(Message::new(at_ns, &actor.main, payload));
}

fn state(
    host: &mut Host,
    actor: &Actor,
    at_ns: u64,
    active: &str,
    sub: &str,
    result: Option<&str>,
) {
    host.unit(UnitState {
        time: time(at_ns),
        monotonic_ns: at_ns,
        asked_ns: Some(at_ns - 2 * MS),
        manager_version: Some("257.13-1~deb13u1".to_owned()),
        unit: actor.unit.clone(),
        active_state: active.to_owned(),
        sub_state: sub.to_owned(),
        result: result.map(ToOwned::to_owned),
        service_type: Some(actor.service_type.to_owned()),
        notify_access: Some("main".to_owned()),
        main_pid: Some(actor.main.pid),
        timeout_start_usec: Some(TIMEOUT_NS / US),
        watchdog_usec: actor.watchdog_usec,
        fd_store_max: Some(0),
        fd_store_count: Some(0),
        inactive_exit_ns: Some(actor.began_ns),
        active_enter_ns: actor.ready_ns,
        main_start_ns: Some(actor.began_ns + 4 * MS),
        ..UnitState::default()
    });
}
