//! One service manager's D-Bus: on its private socket, which only its own user and root may use, or for
//! the system's on the bus of all. The only module that names zbus besides
//! `properties`.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::task::{JoinHandle, JoinSet};
use zbus::connection::Builder;
use zbus::export::ordered_stream::OrderedStreamExt as _;
use zbus::{Connection, MessageStream, OwnedVariant, message};

use super::properties::{Properties, Wanted, unit_path, unit_state, wanted};
use super::sender;
use crate::enrich::clock;
use crate::event::UnitState;
use crate::unit::is_service;

/// How long an answer is waited for. A manager that reloads its units needs seconds; one that hangs
/// holds up the questions to others for that long, and nothing else.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a unit is asked about that changes meanwhile.
const TRIES: usize = 3;

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A job of a manager began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// Whose manager.
    pub(super) user: Option<u32>,
    /// Of which unit.
    pub(super) unit: String,
    /// How it ended, such as `done`; `None`: it began.
    pub(super) result: Option<String>,
}

/// The system's bus (D-Bus Specification, "System message bus").
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// What of the bus is wanted: jobs.
const JOBS: &str = "type='signal',sender='org.freedesktop.systemd1',\
                    interface='org.freedesktop.systemd1.Manager',path='/org/freedesktop/systemd1'";

/// And who has that name: it is another connection when the manager executes itself anew.
const OWNERS: &str = "type='signal',sender='org.freedesktop.DBus',\
                      interface='org.freedesktop.DBus',member='NameOwnerChanged',\
                      arg0='org.freedesktop.systemd1'";

/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    connection: Connection,
    /// Who is called: on a private socket there is nobody else.
    name: Option<&'static str>,
    version: Option<String>,
    /// It holds the connection too, so it has to end with it.
    listener: JoinHandle<()>,
    passing: Option<JoinHandle<()>>,
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.listener.abort();
        if let Some(passing) = &self.passing {
            passing.abort();
        }
    }
}

/// The private socket of a manager (`bus_init_private`, src/core/dbus.c).
fn socket(user: Option<u32>) -> String {
    match user {
        None => "/run/systemd/private".to_owned(),
        Some(uid) => format!("/run/user/{uid}/systemd/private"),
    }
}

/// Why the system's manager can't be asked.
pub(super) fn trouble() -> Option<String> {
    let path = socket(None);
    let error = UnixStream::connect(&path).err()?;
    let is_refused = error.kind() == io::ErrorKind::PermissionDenied;
    if is_refused && UnixStream::connect(SYSTEM_BUS).is_ok() {
        return None;
    }
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => "only root may, and there is no system bus",
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "no systemd runs there",
        _ => "it does not answer",
    };
    Some(format!(
        "the system's manager can't be asked about units at {path} ({error}; {why}): verdicts that \
         need its word are missing"
    ))
}

/// A way to a manager.
struct Line {
    stream: UnixStream,
    /// The task that a private socket's bytes pass through; `None`: it is the bus of all.
    passing: Option<JoinHandle<()>>,
}

/// A stream to a manager's private socket, or to the system's bus where that is refused.
async fn dial(user: Option<u32>) -> io::Result<Line> {
    let manager = match tokio::net::UnixStream::connect(socket(user)).await {
        Ok(manager) => manager,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && user.is_none() => {
            let stream = UnixStream::connect(SYSTEM_BUS)?;
            stream.set_nonblocking(true)?;
            return Ok(Line {
                stream,
                passing: None,
            });
        }
        Err(error) => return Err(error),
    };
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let theirs = tokio::net::UnixStream::from_std(theirs)?;
    Ok(Line {
        stream: ours,
        passing: Some(tokio::spawn(sender::pass(manager, theirs))),
    })
}

impl Bus {
    /// Connects to a manager and listens to its jobs.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub(super) async fn open(user: Option<u32>, jobs: Sender<Job>) -> zbus::Result<Self> {
        let connect = async {
            let Line { stream, passing } = dial(user)
                .await
                .map_err(|error| zbus::Error::InputOutput(error.into()))?;
            let name = passing.is_none().then_some(NAME);
            let builder = Builder::unix_stream(stream).method_timeout(PATIENCE);
            let builder = match name {
                Some(_) => builder,
                None => builder.p2p(),
            };
            let connection = builder.build().await?;
            // Before it is subscribed to, so that no job is missed.
            let messages = MessageStream::from(&connection);
            let owner = match name {
                Some(name) => Some(listen_on_bus(&connection, name).await?),
                None => None,
            };
            let mut bus = Self {
                listener: tokio::spawn(listen(user, owner, messages, jobs)),
                connection,
                name,
                version: None,
                passing,
            };
            bus.connection
                .call_method(name, MANAGER_PATH, Some(MANAGER), "Subscribe", &())
                .await?;
            bus.version = bus
                .connection
                .call_method(
                    name,
                    MANAGER_PATH,
                    Some(PROPERTIES),
                    "Get",
                    &(MANAGER, "Version"),
                )
                .await
                .ok()
                .and_then(|reply| {
                    let value: OwnedVariant = reply.body().deserialize().ok()?;
                    String::try_from(value).ok()
                });
            Ok(bus)
        };
        match tokio::time::timeout(PATIENCE, connect).await {
            Ok(result) => result,
            Err(_) => Err(zbus::Error::Failure("no answer in time".to_owned())),
        }
    }

    /// What the manager says of a unit; `None` if it says nothing.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub(super) async fn unit(&self, unit: &str) -> zbus::Result<Option<UnitState>> {
        let path = unit_path(unit);
        let wanted = wanted(is_service(unit));
        let mut properties = Properties::new();
        let mut asked_ns = None;
        for _ in 0..TRIES {
            asked_ns = Some(clock::now());
            let mut answers = self.get(&path, &wanted).await?;
            // A unit that changed meanwhile would be of two moments.
            let has_stayed = answers.first() == answers.last();
            properties = wanted
                .iter()
                .zip(&mut answers)
                .filter_map(|(asked, answer)| Some((asked.name, answer.take()?)))
                .collect();
            if has_stayed {
                break;
            }
        }
        let mut state = unit_state(&properties);
        if let Some(state) = &mut state {
            state.manager_version.clone_from(&self.version);
            state.asked_ns = asked_ns;
        }
        Ok(state)
    }

    /// Asks for all of them at once; what the manager doesn't know is `None`.
    async fn get(&self, path: &str, wanted: &[Wanted]) -> zbus::Result<Vec<Option<OwnedVariant>>> {
        let mut answers = JoinSet::new();
        for (position, asked) in wanted.iter().copied().enumerate() {
            let connection = self.connection.clone();
            let name = self.name;
            let path = path.to_owned();
            answers.spawn(async move {
                let body = (asked.interface, asked.name);
                let reply = connection
                    .call_method(name, path, Some(PROPERTIES), "Get", &body)
                    .await;
                (position, reply)
            });
        }
        let mut values: Vec<_> = wanted.iter().map(|_| None).collect();
        while let Some(answer) = answers.join_next().await {
            let (position, reply) = answer.map_err(|error| {
                zbus::Error::Failure(format!("a question ended early: {error}"))
            })?;
            match reply {
                Ok(reply) => values[position] = Some(reply.body().deserialize()?),
                // A version that doesn't have it.
                Err(zbus::Error::MethodError(..)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(values)
    }
}

/// Has the bus pass on what the manager says, and who the manager is; who that is now: its unique name.
///
/// The rules are no filter: what others send to us alone comes, too.
async fn listen_on_bus(connection: &Connection, name: &str) -> zbus::Result<String> {
    let bus = Some(BUS);
    for rule in [JOBS, OWNERS] {
        connection
            .call_method(bus, BUS_PATH, bus, "AddMatch", &(rule,))
            .await?;
    }
    let reply = connection
        .call_method(bus, BUS_PATH, bus, "GetNameOwner", &(name,))
        .await?;
    reply.body().deserialize()
}

/// Whether a signal is the manager's own. On a private socket nobody else speaks.
fn is_managers(header: &message::Header<'_>, owner: Option<&str>) -> bool {
    let has = |interface: Option<&str>, path: Option<&str>| {
        interface == Some(MANAGER) && path == Some(MANAGER_PATH)
    };
    let sender = header.sender().map(|name| name.as_str());
    owner.is_none_or(|owner| sender == Some(owner))
        && has(
            header.interface().map(|name| name.as_str()),
            header.path().map(|path| path.as_str()),
        )
}

/// The manager's new name on the bus, if the bus itself says so.
fn new_owner(message: &zbus::Message) -> Option<String> {
    let header = message.header();
    if header.sender()?.as_str() != BUS || header.member()?.as_str() != "NameOwnerChanged" {
        return None;
    }
    let body = message.body();
    let (name, _, new): (String, String, String) = body.deserialize().ok()?;
    (name == NAME).then_some(new)
}

/// Passes on the jobs of services, until the manager goes away.
async fn listen(
    user: Option<u32>,
    mut owner: Option<String>,
    mut messages: MessageStream,
    jobs: Sender<Job>,
) {
    while let Some(Ok(message)) = messages.next().await {
        if message.message_type() != message::Type::Signal {
            continue;
        }
        if owner.is_some()
            && let Some(new) = new_owner(&message)
        {
            owner = Some(new);
            continue;
        }
        let header = message.header();
        if !is_managers(&header, owner.as_deref()) {
            continue;
        }
        let Some(member) = header.member() else {
            continue;
        };
        let body = message.body();
        let job = match member.as_str() {
            "JobNew" => body
                .deserialize::<(u32, zbus::OwnedObjectPath, String)>()
                .ok()
                .map(|(_, _, unit)| Job {
                    user,
                    unit,
                    result: None,
                }),
            "JobRemoved" => body
                .deserialize::<(u32, zbus::OwnedObjectPath, String, String)>()
                .ok()
                .map(|(_, _, unit, result)| Job {
                    user,
                    unit,
                    result: Some(result),
                }),
            _ => None,
        };
        if let Some(job) = job.filter(|job| is_service(&job.unit)) {
            // Full: a storm of jobs, of which the first are looked at. Waiting here would hold up
            // the answers that come on the same connection.
            let _ = jobs.try_send(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use zbus::Message;

    use super::*;

    fn signal(sender: &str, path: &str, interface: &str, member: &str) -> Message {
        Message::signal(path.to_owned(), interface.to_owned(), member.to_owned())
            .sender(sender.to_owned())
            .build(&(NAME, ":1.5", ":1.77"))
            .expect("a signal")
    }

    #[test]
    fn only_the_manager_speaks_of_its_jobs() {
        let is_its = |sender, path, interface| {
            let message = signal(sender, path, interface, "JobNew");
            is_managers(&message.header(), Some(":1.5"))
        };
        assert!(is_its(":1.5", MANAGER_PATH, MANAGER));
        assert!(!is_its(":1.6", MANAGER_PATH, MANAGER));
        assert!(!is_its(":1.5", "/somewhere", MANAGER));
        assert!(!is_its(":1.5", MANAGER_PATH, "org.example.Manager"));
    }

    #[test]
    fn only_the_bus_says_who_the_manager_is() {
        let says = |sender| new_owner(&signal(sender, BUS_PATH, BUS, "NameOwnerChanged"));
        assert_eq!(says(BUS).as_deref(), Some(":1.77"));
        assert_eq!(says(":1.6"), None);
    }
}
