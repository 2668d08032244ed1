//! What the agent says, read by a reader of its own: the format is what `docs/events.md` promises,
//! not what the agent's types happen to be.

use std::{collections::BTreeMap, error::Error, fmt};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

/// Bytes that are a string where they are UTF-8, else an object with base64.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Text {
    /// UTF-8.
    Plain(String),
    /// Anything.
    Raw {
        /// The bytes.
        base64: String,
    },
}

impl Text {
    /// The bytes; those of broken base64 are none.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Plain(text) => text.clone().into_bytes(),
            Self::Raw { base64 } => BASE64.decode(base64).unwrap_or_default(),
        }
    }

    /// The bytes of an address, whose leading `@` stands for a NUL.
    pub fn address(&self) -> Vec<u8> {
        match self {
            Self::Plain(text) if text.starts_with('@') => [b"\0", &text.as_bytes()[1..]].concat(),
            Self::Plain(_) | Self::Raw { .. } => self.bytes(),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => write!(f, "{text:?}"),
            Self::Raw { base64 } => write!(f, "base64 {base64}"),
        }
    }
}

/// A `send` with all its `update`s applied.
#[derive(Clone, Debug, Deserialize)]
pub struct Datagram {
    pub id: u64,
    pub monotonic_ns: u64,
    pub sender: Option<Process>,
    pub socket_inode: Option<u64>,
    pub destination: Option<Destination>,
    pub receiver: Option<Receiver>,
    pub class: String,
    pub length_bytes: u32,
    pub payload: Option<Text>,
    #[serde(default)]
    pub truncated: bool,
    pub fds: Option<u32>,
    pub claimed: Option<Credentials>,
    pub result: Option<Outcome>,
    pub delivery: Delivery,
    pub retry_of: Option<u64>,
    pub timing: Timing,
    #[serde(default)]
    pub unknown: Vec<String>,
}

/// An `update`.
#[derive(Clone, Debug, Deserialize)]
struct Update {
    id: u64,
    sender: Option<Process>,
    receiver: Option<Receiver>,
    result: Option<Outcome>,
    delivery: Delivery,
    timing: Timing,
}

/// A process.
#[derive(Clone, Debug, Deserialize)]
pub struct Process {
    pub pid: u32,
    pub tid: u32,
    pub comm: Text,
    pub uid: u32,
    pub gid: u32,
    pub parent_pid: Option<u32>,
    pub namespace_pid: Option<u32>,
    pub pid_namespace: Option<u64>,
    pub start_boottime_ns: Option<u64>,
    pub cgroup: Option<Cgroup>,
    #[serde(default)]
    pub io_uring_worker: bool,
    pub attribution: Option<Value>,
    pub later: Option<Later>,
}

/// What was looked up later.
#[derive(Clone, Debug, Deserialize)]
pub struct Later {
    pub executable: Option<Text>,
    #[serde(default)]
    pub command_line: Vec<Text>,
    pub cgroup: Option<Value>,
}

/// A cgroup.
#[derive(Clone, Debug, Deserialize)]
pub struct Cgroup {
    pub id: u64,
    pub path: Option<Text>,
}

/// Where it was sent.
#[derive(Clone, Debug, Deserialize)]
pub struct Destination {
    pub address: Text,
    pub connected: bool,
}

/// Where it arrived.
#[derive(Clone, Debug, Deserialize)]
pub struct Receiver {
    pub inode: u64,
    pub address: Option<Text>,
    pub queue_length: Option<u32>,
}

/// What the call returned.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    SentBytes(u32),
    Failed(Errno),
}

/// An error number.
#[derive(Clone, Debug, Deserialize)]
pub struct Errno {
    pub errno: i32,
    pub name: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Delivery {
    pub state: String,
    pub reader: Option<Process>,
    pub trimmed_to_bytes: Option<u32>,
    pub credentials: Option<Credentials>,
    pub sender_present: Option<bool>,
    pub left_in_queue: Option<u32>,
}

/// A process, a user and a group.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct Credentials {
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
}

/// When what happened.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Timing {
    pub entry_ns: Option<u64>,
    pub queued_ns: Option<u64>,
    pub returned_ns: Option<u64>,
    pub dequeued_ns: Option<u64>,
    pub queue_tries: Option<u32>,
}

/// A failed connect.
#[derive(Clone, Debug, Deserialize)]
pub struct ConnectFailed {
    pub monotonic_ns: u64,
    pub sender: Process,
    pub socket_inode: Option<u64>,
    pub address: Text,
    pub error: Errno,
}

/// A receiver's end.
#[derive(Clone, Debug, Deserialize)]
pub struct ReceiverClosed {
    pub closer: Process,
    pub receiver: Receiver,
}

/// A sender's end.
#[derive(Clone, Debug, Deserialize)]
pub struct Exit {
    pub monotonic_ns: u64,
    pub pid: u32,
    pub start_boottime_ns: Option<u64>,
}

/// The first line.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    pub format_version: u32,
    pub monotonic_ns: u64,
    pub kernel: String,
    pub host: String,
    pub machine: String,
    pub boot_id: Option<String>,
    pub cpus: u32,
    pub ring_bytes: u64,
    pub plan: Plan,
    pub rules: Vec<IgnoredAny>,
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// How the kernel is traced.
#[derive(Clone, Debug, Deserialize)]
pub struct Plan {
    pub name: String,
    pub reason: String,
    #[serde(default)]
    pub limits: Vec<String>,
    pub programs: BTreeMap<String, String>,
}

/// The last line.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    pub notifications: u64,
    pub delivered: u64,
    pub failed: u64,
    pub connect_failed: u64,
    #[serde(default)]
    pub left_out: u64,
    pub records_attempted: u64,
    pub records_received: u64,
    pub losses: Losses,
}

/// Losses by cause; what is absent is 0, but for what a kernel doesn't count.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Losses {
    #[serde(default)]
    pub ring_full: u64,
    #[serde(default)]
    pub no_ring: u64,
    #[serde(default)]
    pub calls_full: u64,
    #[serde(default)]
    pub queued_full: u64,
    #[serde(default)]
    pub unreadable: u64,
    #[serde(default)]
    pub returns_missed: u64,
    #[serde(default)]
    pub undecided: u64,
    pub programs_skipped: Option<u64>,
    #[serde(default)]
    pub undecodable: u64,
    #[serde(default)]
    pub join_evicted: u64,
}

impl Losses {
    /// All but what the kernel skipped: a skipped program need not be a lost fact, and a missed
    /// return costs a result that is then said to be unknown.
    pub fn of_records(&self) -> u64 {
        let Self {
            ring_full,
            no_ring,
            calls_full,
            queued_full,
            unreadable,
            returns_missed: _,
            undecided,
            programs_skipped: _,
            undecodable,
            join_evicted,
        } = self;
        ring_full
            + no_ring
            + calls_full
            + queued_full
            + unreadable
            + undecided
            + undecodable
            + join_evicted
    }
}

/// The kernel skipped runs of programs, the agent counted them, and something is missing or wrong.
#[derive(Debug)]
pub struct SkippedRuns {
    /// How many.
    pub runs: u64,
    /// What is wrong.
    pub problems: String,
}

impl fmt::Display for SkippedRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (the kernel skipped {} program runs)",
            self.problems, self.runs
        )
    }
}

impl Error for SkippedRuns {}

/// All that an agent said.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    pub session: Option<Session>,
    pub datagrams: Vec<Datagram>,
    pub connects: Vec<ConnectFailed>,
    pub closed: Vec<ReceiverClosed>,
    pub exits: Vec<Exit>,
    pub losses: Vec<Losses>,
    pub summary: Option<Summary>,
}

impl Shown {
    /// Program runs that the kernel skipped, as the summary counts them.
    pub fn skipped_runs(&self) -> u64 {
        let summary = self.summary.as_ref();
        summary.map_or(0, |it| it.losses.programs_skipped.unwrap_or(0))
    }

    /// Reads all lines; the first one that breaks a promise of the format is an error.
    pub fn read(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let mut shown = Self::default();
        let mut by_id = BTreeMap::new();
        for (index, line) in lines.into_iter().enumerate() {
            let line = line.as_ref();
            shown
                .take(line, index == 0, &mut by_id)
                .with_context(|| format!("line {} of the agent: {line}", index + 1))?;
        }
        Ok(shown)
    }

    fn take(&mut self, line: &str, is_first: bool, by_id: &mut BTreeMap<u64, usize>) -> Result<()> {
        let value: Value = serde_json::from_str(line)?;
        let kind = value
            .get("type")
            .and_then(Value::as_str)
            .context("no type")?
            .to_owned();
        if is_first != (kind == "session") {
            bail!("the session is not the first line and no other");
        }
        if self.summary.is_some() {
            bail!("the summary is not the last line");
        }
        match kind.as_str() {
            "session" => self.session = Some(serde_json::from_value(value)?),
            "send" => {
                let datagram: Datagram = serde_json::from_value(value)?;
                if by_id.insert(datagram.id, self.datagrams.len()).is_some() {
                    bail!("a second send of this id");
                }
                self.datagrams.push(datagram);
            }
            "update" => {
                let update: Update = serde_json::from_value(value)?;
                let index = by_id.get(&update.id).context("an update of no send")?;
                self.datagrams[*index].apply(update);
            }
            "connect_failed" => self.connects.push(serde_json::from_value(value)?),
            "receiver_closed" => self.closed.push(serde_json::from_value(value)?),
            "exit" => self.exits.push(serde_json::from_value(value)?),
            "loss" => {
                let losses = value
                    .get("losses")
                    .cloned()
                    .context("a loss without losses")?;
                self.losses.push(serde_json::from_value(losses)?);
            }
            "summary" => self.summary = Some(serde_json::from_value(value)?),
            other => bail!("a line of type {other}"),
        }
        Ok(())
    }
}

impl Datagram {
    fn apply(&mut self, update: Update) {
        let Update {
            id: _,
            sender,
            receiver,
            result,
            delivery,
            timing,
        } = update;
        let mut now_known = |is_known: bool, names: &[&str]| {
            if is_known {
                self.unknown
                    .retain(|unknown| !names.contains(&unknown.as_str()));
            }
        };
        now_known(sender.is_some(), &["sender"]);
        now_known(result.is_some(), &["result"]);
        now_known(
            receiver.as_ref().is_some_and(|it| it.address.is_some()),
            &["receiver_address"],
        );
        self.sender = sender.or(self.sender.take());
        self.receiver = receiver.or(self.receiver.take());
        self.result = result.or(self.result.take());
        self.delivery = delivery;
        self.timing = timing;
    }

    /// Whether this says that a fact is unknown.
    pub fn says_unknown(&self, fact: &str) -> bool {
        self.unknown.iter().any(|unknown| unknown == fact)
    }
}
