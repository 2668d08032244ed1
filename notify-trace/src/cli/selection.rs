//! Which rows of recordings a study is about: options that the studies' verbs share.

use clap::Args;
use jiff::Timestamp;

use super::parse::parse_moment;
use crate::report::inputs::Selection;
use crate::store::Span;
use crate::view::filter::unit_pattern;

/// Which rows.
#[derive(Clone, Debug, Default, Args)]
#[command(
    next_help_heading = "What is taken (options of one name are alternatives, different ones must all hold)"
)]
pub struct SelectionArgs {
    /// Only what is sent from this unit: nginx, 'app-*'
    #[arg(long, value_name = "GLOB")]
    pub unit: Vec<String>,

    /// Only what is sent from this container: docker:web, web, 'podman:*'
    #[arg(long, value_name = "GLOB")]
    pub container: Vec<String>,

    /// Only what was recorded on this host
    #[arg(long, value_name = "GLOB")]
    pub host: Vec<String>,

    /// From this moment: 2026-11-25, '2026-11-25 10:30', 2026-11-25T10:30:00Z, '2h ago'
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub since: Option<Timestamp>,

    /// Before this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub until: Option<Timestamp>,
}

impl SelectionArgs {
    /// What is meant.
    #[must_use]
    pub fn selection(&self) -> Selection {
        Selection {
            units: self.unit.iter().map(|typed| unit_pattern(typed)).collect(),
            containers: self.container.clone(),
            hosts: self.host.clone(),
            span: Span {
                since_us: self.since.map_or(i64::MIN, Timestamp::as_microsecond),
                until_us: self.until.map_or(i64::MAX, Timestamp::as_microsecond),
            },
        }
    }
}
