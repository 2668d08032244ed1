//! The recordings of a report: which rows of which, and what is missing in them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::escape;
use crate::glob;
use crate::store::{Flows, Reader, SessionRow, Span, is_store};
use crate::study::project;
use crate::study::row::Flow;
use crate::words;

/// Which rows are taken. Of one list any must match; what is empty doesn't matter.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Globs of units.
    pub units: Vec<String>,
    /// Globs of containers, in the words of `who`, or of what stands behind the colon.
    pub containers: Vec<String>,
    /// Globs of hosts.
    pub hosts: Vec<String>,
    /// When.
    pub span: Span,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            units: Vec::new(),
            containers: Vec::new(),
            hosts: Vec::new(),
            span: Span::ALL,
        }
    }
}

impl Selection {
    /// Whether rows of this flow are taken.
    #[must_use]
    pub fn takes(&self, session: &SessionRow, flow: &Flow) -> bool {
        let is_one = |globs: &[String], text: Option<&str>| {
            globs.is_empty()
                || text.is_some_and(|text| {
                    let short = text.split_once(':').map_or(text, |(_, short)| short);
                    globs.iter().any(|glob| {
                        glob::matches(glob.as_bytes(), text.as_bytes())
                            || glob::matches(glob.as_bytes(), short.as_bytes())
                    })
                })
        };
        is_one(&self.units, flow.unit.as_deref())
            && is_one(&self.containers, flow.container.as_deref())
            && is_one(&self.hosts, Some(&session.host))
    }
}

/// A recording.
#[derive(Debug)]
pub struct Input {
    /// Its file.
    pub path: PathBuf,
    /// Its rows.
    pub reader: Reader,
    /// Its sessions.
    pub sessions: HashMap<i64, SessionRow>,
    /// Who sends to whom.
    pub flows: Flows,
}

/// All recordings.
#[derive(Debug)]
pub struct Inputs(pub Vec<Input>);

impl Inputs {
    /// Opens them.
    ///
    /// # Errors
    /// If one is no recording or can't be read.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        paths
            .iter()
            .map(|path| Input::open(path))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Events that are stored in all of them, for a bar of progress.
    #[must_use]
    pub fn events(&self) -> u64 {
        let sessions = self.0.iter().flat_map(|input| input.sessions.values());
        sessions.map(|it| it.stored - it.deleted).sum()
    }

    /// What is not in them, each a sentence.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for input in &self.0 {
            let name = escape::path(&input.path).to_string();
            missing.extend(input.reader.missing());
            let mut ids: Vec<&i64> = input.sessions.keys().collect();
            ids.sort();
            for id in ids {
                missing.extend(gaps(&name, &input.sessions[id]));
            }
        }
        missing
    }
}

impl Input {
    fn open(path: &Path) -> Result<Self> {
        let name = escape::path(path).to_string();
        if !is_store(path).with_context(|| format!("cannot open {name}"))? {
            bail!(
                "{name} is no recording: studies need one of notify-trace record (JSON Lines can be read by \
                 show and explain)"
            );
        }
        let reader = Reader::open(path)?;
        // A study passes several times over what may be growing.
        reader.snapshot()?;
        let sessions = reader.sessions()?.into_iter();
        Ok(Self {
            path: path.to_owned(),
            sessions: sessions.map(|session| (session.id, session)).collect(),
            flows: reader.flows()?,
            reader,
        })
    }
}

fn gaps(name: &str, session: &SessionRow) -> Vec<String> {
    let id = session.id;
    let mut gaps = Vec::new();
    let events = |count| words::count(count, "event", "events");
    if session.deleted > 0 {
        gaps.push(format!(
            "{name}, session {id}: the oldest {} of {} were deleted, by the limits that it was recorded with",
            session.deleted,
            events(session.stored)
        ));
    }
    if session.dropped > 0 {
        gaps.push(format!(
            "{name}, session {id}: {} could not be stored in time",
            events(session.dropped)
        ));
    }
    if !session.is_complete {
        let then = if session.is_concluded {
            ""
        } else {
            "; what was not concluded yet is missing (if it was cut off, notify-trace derive concludes it)"
        };
        gaps.push(format!(
            "{name}, session {id}: it has no summary: it was cut off, or goes on{then}"
        ));
    }
    if session.derived_by < project::VERSION {
        let then = if session.deleted == 0 {
            "; notify-trace derive draws them anew"
        } else {
            ""
        };
        gaps.push(format!(
            "{name}, session {id}: its conclusions are of an older version{then}"
        ));
    }
    gaps
}
