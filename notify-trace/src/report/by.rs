//! What a report's groups are: which columns of a row tell them apart.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::store::SessionRow;
use crate::study::Study;
use crate::study::row::Flow;

/// What tells groups apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The sender's unit, and the user whose manager it is of.
    Unit,
    /// The traced host.
    Host,
    /// The boot of that host.
    Boot,
    /// The sender's container.
    Container,
    /// Who runs that container.
    Runtime,
    /// Who passed it on: the class of the socket on which it was told.
    Proxy,
    /// Version of the system's service manager.
    Version,
    /// The kernel.
    Kernel,
    /// Who is told.
    Manager,
    /// Kind of the notify socket.
    Class,
    /// Name of the sending process.
    Comm,
    /// Run of the agent, by its beginning.
    Session,
    /// Day.
    Day,
    /// Hour of the day.
    Hour,
    /// What a verdict is about.
    Cause,
}

/// A column's value; what isn't known is absent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Not known.
    Absent,
    /// A number.
    Number(i64),
    /// A word.
    Text(String),
}

impl Value {
    fn of(text: Option<&String>) -> Self {
        text.map_or(Self::Absent, |text| Self::Text(text.clone()))
    }
}

/// What is known of a row.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its session.
    pub session: &'a SessionRow,
    /// Who sends to whom.
    pub flow: &'a Flow,
    /// When, microseconds since 1970.
    pub at_us: i64,
    /// Class of the socket on which its sender was told of it.
    pub told_class: Option<&'a str>,
    /// For verdicts: what about, and how sure.
    pub cause: Option<(&'a str, &'a str)>,
}

const HOUR_US: i64 = 3_600_000_000;

impl By {
    /// All, with the names that the command line has for them.
    pub const ALL: [Self; 15] = [
        Self::Unit,
        Self::Host,
        Self::Boot,
        Self::Container,
        Self::Runtime,
        Self::Proxy,
        Self::Version,
        Self::Kernel,
        Self::Manager,
        Self::Class,
        Self::Comm,
        Self::Session,
        Self::Day,
        Self::Hour,
        Self::Cause,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Host => "host",
            Self::Boot => "boot",
            Self::Container => "container",
            Self::Runtime => "runtime",
            Self::Proxy => "proxy",
            Self::Version => "version",
            Self::Kernel => "kernel",
            Self::Manager => "manager",
            Self::Class => "class",
            Self::Comm => "comm",
            Self::Session => "session",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Cause => "cause",
        }
    }

    /// What a study's groups are, if nobody says otherwise: as its view has them.
    #[must_use]
    pub const fn of(study: Study) -> Self {
        match study {
            Study::Delivery => Self::Manager,
            Study::Relay => Self::Proxy,
            Study::Failed => Self::Cause,
            _ => Self::Unit,
        }
    }

    /// What was asked for, or else a study's own.
    #[must_use]
    pub fn chosen(asked: &[Self], study: Study) -> Vec<Self> {
        if asked.is_empty() {
            vec![Self::of(study)]
        } else {
            asked.to_vec()
        }
    }

    /// Names of its columns, as the views have them where they have them.
    #[must_use]
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Unit => &["unit", "uid"],
            Self::Boot => &["boot_id"],
            Self::Proxy => &["told_class"],
            Self::Version => &["manager_version"],
            Self::Cause => &["kind", "certainty"],
            Self::Host => &["host"],
            Self::Container => &["container"],
            Self::Runtime => &["runtime"],
            Self::Kernel => &["kernel"],
            Self::Manager => &["manager"],
            Self::Class => &["class"],
            Self::Comm => &["comm"],
            Self::Session => &["session"],
            Self::Day => &["day"],
            Self::Hour => &["hour"],
        }
    }

    /// Whether the time decides.
    #[must_use]
    pub const fn is_of_time(self) -> bool {
        matches!(self, Self::Day | Self::Hour)
    }

    /// The values of its columns.
    pub fn values(self, about: &About<'_>, zone: &TimeZone, out: &mut Vec<Value>) {
        let About {
            session,
            flow,
            at_us,
            told_class,
            cause,
        } = about;
        let text = |text: &str| Value::Text(text.to_owned());
        let time = |at: Timestamp, format: &str| {
            Value::Text(at.to_zoned(zone.clone()).strftime(format).to_string())
        };
        let at = Timestamp::from_microsecond(*at_us).unwrap_or_default();
        let value = match self {
            Self::Unit => {
                out.push(Value::of(flow.unit.as_ref()));
                flow.user
                    .map_or(Value::Absent, |uid| Value::Number(i64::from(uid)))
            }
            Self::Cause => {
                let (kind, certainty) = cause.unwrap_or_default();
                out.push(text(kind));
                text(certainty)
            }
            Self::Host => text(&session.host),
            Self::Boot => Value::of(session.boot_id.as_ref()),
            Self::Container => Value::of(flow.container.as_ref()),
            Self::Runtime => Value::of(flow.runtime.as_ref()),
            Self::Proxy => told_class.map_or(Value::Absent, text),
            Self::Version => Value::of(session.manager_version.as_ref()),
            Self::Kernel => text(&session.kernel),
            Self::Manager => text(&flow.manager),
            Self::Class => text(&flow.class),
            Self::Comm => Value::of(flow.comm.as_ref()),
            Self::Session => time(session.began, "%Y-%m-%d %H:%M:%S"),
            Self::Day => time(at, "%Y-%m-%d"),
            Self::Hour => time(at, "%H:00"),
        };
        out.push(value);
    }

    /// Rows of the same session and flow, and with the same of this, are of the same group.
    #[must_use]
    pub const fn slot(at_us: i64, is_of_time: bool) -> i64 {
        // A day, and an hour, may begin at any quarter of an hour of UTC.
        if is_of_time {
            at_us.div_euclid(HOUR_US / 4)
        } else {
            0
        }
    }
}
