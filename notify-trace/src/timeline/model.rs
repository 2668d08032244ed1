//! What is drawn: plain values, in the order in which they are drawn. The page gets them as JSON.
//!
//! Times are nanoseconds since [`Timeline::origin`]: the wall time of the session's beginning and, from
//! there on, the traced host's `CLOCK_MONOTONIC`, so that a clock that is set stretches nothing.

use jiff::Timestamp;
use serde::Serialize;

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeline {
    /// Time 0.
    pub origin: Timestamp,
    /// The same, in milliseconds since 1970-01-01 UTC.
    pub origin_ms: i64,
    /// Seconds by which the zone of the times that are shown is ahead of UTC.
    pub zone_seconds: i32,
    /// The latest moment.
    pub end: i64,
    /// Sessions, by their beginnings.
    pub sections: Vec<Section>,
    /// What is said of messages; they refer to it by its position, for much of it is said of many.
    pub facts: Vec<Fact>,
}

/// A fact and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Fact {
    /// What it is about: `sender`.
    pub name: String,
    /// It.
    pub text: String,
    /// More of the same, such as the sender's unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<(String, String)>,
}

/// A session: one agent, one boot of one host.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Section {
    /// The host.
    pub host: String,
    /// Its boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Its kernel.
    pub kernel: String,
    /// When recording began.
    pub began: i64,
    /// When it ended, as far as is known.
    pub ended: i64,
    /// What one has to know to read it, each a sentence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// A start that took as long as this is a slow one.
    pub slow_ns: i64,
    /// By their first activity; what a lane passes its messages on to stands above it.
    pub lanes: Vec<Lane>,
    /// What was passed on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<Hop>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<VerdictRow>,
}

/// What one unit or container did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lane {
    /// The unit, the container, or what else is known of the senders.
    pub name: String,
    /// Position of the lane that it stands under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// The first moment of it.
    pub first: i64,
    /// Times that it took for something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// Messages, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// Times of watchdog pings that arrived, and of which nothing else is to be said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pings: Vec<i64>,
    /// Pings that are not drawn.
    #[serde(skip_serializing_if = "is_zero")]
    pub pings_left_out: u64,
    /// Other messages, none of which failed, that are not drawn.
    #[serde(skip_serializing_if = "is_zero")]
    pub marks_left_out: u64,
    /// What else is known of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// From its start to `READY=1`.
    Start,
    /// From `RELOADING=1` to `READY=1`.
    Reload,
    /// From `STOPPING=1` to the exit.
    Stop,
}

/// How a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanEnd {
    /// As it should.
    Done,
    /// It went on when the recording ended.
    Open,
    /// It failed.
    Failed,
}

/// A time that something took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Of what.
    pub kind: SpanKind,
    /// How it ended.
    pub end: SpanEnd,
    /// From when on.
    pub from: i64,
    /// Until when.
    pub to: i64,
    /// In words.
    pub text: String,
}

/// What a message is above all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// `READY=1`.
    Ready,
    /// `RELOADING=1`.
    Reloading,
    /// `STOPPING=1`.
    Stopping,
    /// `WATCHDOG=1`, which did not arrive, or of which something is to be said.
    Watchdog,
    /// `STATUS=`.
    Status,
    /// Something else.
    Other,
    /// No message: `connect(2)` failed.
    Connect,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkState {
    /// It arrived.
    Ok,
    /// It had not arrived yet when the recording ended, or nobody knows.
    Open,
    /// It arrived, and something is not as it should be.
    Warning,
    /// It was lost, or arrived for nothing.
    Failed,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    /// Its number in the recording; a failed connect has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// When it was sent.
    pub at: i64,
    /// Until it was taken out of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took: Option<u64>,
    /// What it is.
    pub kind: MarkKind,
    /// How it went.
    pub state: MarkState,
    /// Its lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// What became of it, where that is not what one expects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fate: Option<String>,
    /// Wall time by the clock of its moment, where that is not the axis's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Positions of [`Timeline::facts`].
    pub facts: Vec<usize>,
    /// Numbers of the verdicts about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<u64>,
}

/// A message that was sent because of another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hop {
    /// Number of the message that was told.
    pub told: u64,
    /// Its lane.
    pub from: usize,
    /// When the process that passes on took it.
    pub from_at: i64,
    /// Number of the message that was sent.
    pub sent: u64,
    /// Its lane.
    pub to: usize,
    /// When it was sent.
    pub to_at: i64,
    /// By whom, and what became of the fields.
    pub text: String,
}

/// Why something went wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerdictRow {
    /// Its number in this session.
    pub number: u64,
    /// Its lane.
    pub lane: usize,
    /// When it happened.
    pub at: i64,
    /// Its kind, as `docs/explain.md` has them.
    pub kind: String,
    /// Something is lost, not only odd.
    pub is_loss: bool,
    /// `certain` or `inferred`.
    pub certainty: String,
    /// Numbers of the messages that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<u64>,
    /// What happened.
    pub what: String,
    /// What says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// The receiver's rule behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
    /// How often the same was found again.
    #[serde(skip_serializing_if = "is_zero")]
    pub repeats: u64,
    /// The last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<i64>,
}

impl Timeline {
    /// Moves time 0 to the first moment of all, and finds the last.
    pub(super) fn settle(&mut self, zone_seconds: impl Fn(Timestamp) -> i32) {
        let first = |section: &Section| {
            let lanes = section.lanes.iter().map(|lane| lane.first);
            lanes.fold(section.began, i64::min)
        };
        let origin = self.sections.iter().map(first).min().unwrap_or(0);
        self.origin = Timestamp::from_nanosecond(origin.into()).unwrap_or(Timestamp::UNIX_EPOCH);
        self.origin_ms = self.origin.as_millisecond();
        self.zone_seconds = zone_seconds(self.origin);
        // Milliseconds are whole, so that both ways to say the origin are the same moment.
        let origin = self.origin_ms.saturating_mul(1_000_000);
        self.origin = Timestamp::from_millisecond(self.origin_ms).unwrap_or(self.origin);
        for section in &mut self.sections {
            section.each_time(&mut |time| *time -= origin);
        }
        self.end = self.sections.iter().map(|it| it.ended).max().unwrap_or(0);
    }
}

impl Section {
    fn each_time(&mut self, change: &mut dyn FnMut(&mut i64)) {
        change(&mut self.began);
        change(&mut self.ended);
        for lane in &mut self.lanes {
            change(&mut lane.first);
            lane.pings.iter_mut().for_each(&mut *change);
            for span in &mut lane.spans {
                change(&mut span.from);
                change(&mut span.to);
            }
            lane.marks.iter_mut().for_each(|mark| change(&mut mark.at));
        }
        for hop in &mut self.hops {
            change(&mut hop.from_at);
            change(&mut hop.to_at);
        }
        for verdict in &mut self.verdicts {
            change(&mut verdict.at);
            verdict.last.iter_mut().for_each(&mut *change);
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
