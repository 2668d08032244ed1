//! Which offset each field of [`FIELDS`] has on a kernel, and what can't be told without those it
//! hasn't got.
//!
//! Owns how a candidate is spelled (`struct.member[.member…]`, `sizeof(struct)`) and that the first
//! one the kernel has wins. Pure; the BTF itself is `btf`'s, handing the values to the kernel side
//! is `load`'s. Unix sockets are looked for in the kernel's own BTF only: split BTF, which they
//! would have as a module, isn't read, because no distribution's kernel has them as one.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;

use notify_trace_common::fields::{ABSENT, FIELDS, Feature, Field};

use super::btf::{Btf, BtfError, Structure};

#[cfg(test)]
mod tests;

/// Looks all fields up.
#[must_use]
pub fn resolve(btf: &Btf<'_>) -> Offsets {
    let mut structures = Structures { btf, last: None };
    Offsets(
        FIELDS
            .iter()
            .map(|field| look_up(&mut structures, field))
            .collect(),
    )
}

/// What became of each field, in the order of [`FIELDS`].
#[derive(Clone, Debug)]
pub struct Offsets(Vec<Result<u32, Missing>>);

impl Offsets {
    /// All fields with their offset (or size) in bytes, [`ABSENT`] for one that is missing.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Field, u32)> {
        FIELDS
            .iter()
            .zip(&self.0)
            .map(|(field, found)| (field, *found.as_ref().unwrap_or(&ABSENT)))
    }

    /// The fields that this kernel hasn't got, with the reason.
    pub fn missing(&self) -> impl Iterator<Item = (&'static Field, &Missing)> {
        FIELDS
            .iter()
            .zip(&self.0)
            .filter_map(|(field, found)| Some((field, found.as_ref().err()?)))
    }

    /// What can't be told, because at least one field is missing that it needs.
    #[must_use]
    pub fn unsupported(&self) -> BTreeSet<Feature> {
        self.missing().map(|(field, _)| field.feature).collect()
    }
}

/// Why a field has no offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The field.
    pub field: &'static Field,
    /// The candidates tried, in order, and what came back. A candidate that exists but can't be
    /// used is the last: an older name would be no better.
    pub tried: Vec<(&'static str, BtfError)>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is unknown on this kernel", self.field.global)?;
        for (n, (candidate, error)) in self.tried.iter().enumerate() {
            let joint = if n == 0 { ": looked for" } else { ", then for" };
            write!(f, "{joint} {candidate}, but {error}")?;
        }
        Ok(())
    }
}

impl Error for Missing {}

fn look_up(structures: &mut Structures<'_, '_>, field: &'static Field) -> Result<u32, Missing> {
    let mut tried = Vec::new();
    for &candidate in field.candidates {
        match candidate_value(structures, candidate) {
            Ok(value) => return Ok(value),
            Err(error) => {
                let go_on = error.is_absent();
                tried.push((candidate, error));
                if !go_on {
                    break;
                }
            }
        }
    }
    Err(Missing { field, tried })
}

fn candidate_value(
    structures: &mut Structures<'_, '_>,
    candidate: &'static str,
) -> Result<u32, BtfError> {
    let size_of = candidate
        .strip_prefix("sizeof(")
        .and_then(|rest| rest.strip_suffix(')'));
    match (size_of, candidate.split_once('.')) {
        (Some(name), _) => structures.find(name).size(),
        (None, Some((name, path))) => structures.find(name).member(path),
        // Not a spelling that the list has (a test sees to that): a struct has no nameless member.
        (None, None) => structures.find(candidate).member(""),
    }
}

/// Finds structures by name, of which the list asks several things in a row: each is looked for once.
struct Structures<'b, 'a> {
    btf: &'b Btf<'a>,
    last: Option<Structure<'b, 'a>>,
}

impl<'b, 'a> Structures<'b, 'a> {
    fn find(&mut self, name: &'static str) -> &Structure<'b, 'a> {
        let btf = self.btf;
        let last = self.last.take().filter(|last| last.name() == name);
        self.last
            .insert(last.unwrap_or_else(|| btf.structure(name)))
    }
}
