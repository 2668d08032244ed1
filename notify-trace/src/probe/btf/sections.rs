//! The two sections of the bytes, types and strings, and a walk over all types in the order of their ids: what is found
//! needs no table.

use super::types::{HEAD, Head, Kind, index, u32_at};
use super::{BtfError, Sought, first_word};

/// Length of the header's fixed part. Newer kernels may append fields; `hdr_len` says so.
const HEADER: usize = 24;

/// Where types and names stand.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a> {
    pub(super) types: &'a [u8],
    pub(super) strings: &'a [u8],
}

/// A type that the walk has come to.
pub(super) struct Entry {
    /// Type ids count from 1.
    pub(super) id: u32,
    /// Where in the type section it begins.
    pub(super) at: usize,
    pub(super) head: Head,
    /// Of all of it.
    pub(super) length: usize,
}

impl<'a> Sections<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// When the bytes aren't little-endian BTF version 1 of a whole kernel.
    pub fn of(data: &'a [u8]) -> Result<Self, BtfError> {
        let too_short = || BtfError::TooShort { length: data.len() };
        match data.first_chunk().ok_or_else(too_short)? {
            [0x9f, 0xeb] => {}
            [0xeb, 0x9f] => return Err(BtfError::BigEndian),
            magic => return Err(BtfError::NotBtf { magic: *magic }),
        }
        let version = *data.get(2).ok_or_else(too_short)?;
        if version != 1 {
            return Err(BtfError::Version { version });
        }
        if data.len() < HEADER {
            return Err(too_short());
        }
        let word = |at| u32_at(data, at).ok_or_else(too_short);
        let header = index(word(4)?);
        if header < HEADER {
            return Err(BtfError::Header { length: header });
        }
        let section = |name, at| {
            let (offset, length) = (index(word(at)?), index(word(at + 4)?));
            header
                .checked_add(offset)
                .and_then(|start| data.get(start..start.checked_add(length)?))
                .ok_or(BtfError::Section { name })
        };
        let types = section("type", 8)?;
        let strings = section("string", 16)?;
        if strings.first() != Some(&0) || strings.last() != Some(&0) {
            return Err(BtfError::Strings);
        }
        Ok(Self { types, strings })
    }

    /// The ids of the functions with these names, in their order; of several with one name, the first. Whether what
    /// stands behind the last one makes sense is not looked at.
    ///
    /// # Errors
    /// When what is walked over holds a kind that isn't known here, has a name beyond the strings, or ends too early.
    pub fn functions<'n>(self, names: &[&'n str]) -> Result<Vec<(u32, &'n str)>, BtfError> {
        let mut found = Vec::new();
        let mut wanted: Vec<_> = names.iter().map(|name| Sought::new(name)).collect();
        let mut entries = self.entries();
        while !wanted.is_empty()
            && let Some(entry) = entries.next()
        {
            let Entry { id, head, .. } = entry?;
            if !head.is(Kind::Func) {
                continue;
            }
            let first = first_word(self.strings, head.name_off);
            let is_this = |name: &Sought<'_>| name.is(first, self.strings, head.name_off);
            if let Some(at) = wanted.iter().position(is_this) {
                // The first one counts, as for those who look names up.
                found.push((id, wanted.swap_remove(at).name));
            }
        }
        Ok(found)
    }

    /// All types. After an error there are no more: where the next one begins isn't known.
    pub(super) fn entries(self) -> impl Iterator<Item = Result<Entry, BtfError>> {
        let (mut at, mut id) = (0, 0);
        std::iter::from_fn(move || {
            if at >= self.types.len() {
                return None;
            }
            id += 1;
            let start = at;
            let Some((head, length)) = self.measure(start) else {
                at = self.types.len();
                return Some(Err(self.why_not(start, id)));
            };
            at += length;
            Some(Ok(Entry {
                id,
                at: start,
                head,
                length,
            }))
        })
    }

    /// The head of the type that begins there, and the length of all of it, if it makes sense.
    #[inline(always)]
    pub(super) fn measure(&self, at: usize) -> Option<(Head, usize)> {
        let head = Head::at(self.types, at)?;
        let length = HEAD + head.tail_length()?;
        let makes_sense =
            index(head.name_off) < self.strings.len() && length <= self.types.len() - at;
        makes_sense.then_some((head, length))
    }

    /// Why no type begins there.
    #[cold]
    pub(super) fn why_not(&self, at: usize, id: u32) -> BtfError {
        let Some(head) = Head::at(self.types, at) else {
            return BtfError::Truncated { id };
        };
        let number = head.kind_number();
        if Kind::from_number(number).is_none() {
            BtfError::UnknownKind { number, id }
        } else if index(head.name_off) >= self.strings.len() {
            BtfError::BadName {
                offset: head.name_off,
            }
        } else {
            BtfError::Truncated { id }
        }
    }
}
