//! Cuts a kernel's BTF down to what the tests of `probe::offsets` need: the structures that
//! `fields::FIELDS` names, with all their members, and the functions that programs attach to.
//!
//! ```text
//! cargo run --example btf-extract -- /sys/kernel/btf/vmlinux out.btf
//! ```
//!
//! Sizes, offsets, bit-fields, anonymous members, namesakes and the typedefs and qualifiers on the
//! way to a field stay as the kernel has them. Any other member's type is cut to its size: pointers
//! point to `void`, structs and enums lose their name and content. The input is trusted: this is a
//! developer's tool.

use std::collections::BTreeMap;
use std::error::Error;

use notify_trace::probe::btf::{Btf, BtfError, Kind, Type};
use notify_trace_common::fields::FIELDS;

/// What the kernel programs may attach to.
const FUNCTIONS: [&str; 6] = [
    "unix_dgram_sendmsg",
    "skb_copy_datagram_from_iter",
    "security_unix_may_send",
    "__skb_try_recv_datagram",
    "unix_dgram_connect",
    "unix_release",
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        return Err("usage: btf-extract <raw BTF> <extract>".into());
    };
    let data = std::fs::read(from)?;
    let btf = Btf::parse(&data)?;
    std::fs::write(to, extract(&btf)?)?;
    Ok(())
}

fn extract(btf: &Btf<'_>) -> Result<Vec<u8>, Box<dyn Error>> {
    let wanted = wanted();
    let mut out = Writer::default();
    for found in btf.types() {
        let name = std::str::from_utf8(btf.name(found.name_off)?)?;
        if let Some(paths) = wanted.get(name).filter(|_| found.kind.has_members()) {
            out.whole(btf, &found, paths)?;
        } else if found.kind == Kind::Func && FUNCTIONS.contains(&name) {
            out.function(btf, &found)?;
        }
    }
    out.finish()
}

/// The structs that the fields name, each with the paths that lead on from there.
fn wanted() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut wanted = BTreeMap::<_, Vec<_>>::new();
    for candidate in FIELDS.iter().flat_map(|field| field.candidates) {
        let name = candidate
            .strip_prefix("sizeof(")
            .and_then(|rest| rest.strip_suffix(')'));
        let (structure, path) = match name {
            Some(structure) => (structure, ""),
            None => candidate.split_once('.').unwrap_or((candidate, "")),
        };
        wanted.entry(structure).or_default().push(path);
    }
    wanted
}

/// The extract in the making. A type that is there already isn't written again.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    ids: BTreeMap<Vec<u8>, u32>,
    strings: Vec<u8>,
    names: BTreeMap<Vec<u8>, u32>,
}

impl Writer {
    /// Keeps a type that `paths` lead through, with what it is made of.
    fn whole(&mut self, btf: &Btf<'_>, from: &Type<'_>, paths: &[&str]) -> Result<u32, BtfError> {
        let name = btf.name(from.name_off)?;
        if from.kind.is_modifier() {
            let inner = match from.size_or_type {
                0 => 0,
                id => self.whole(btf, &btf.get(id)?, paths)?,
            };
            return Ok(self.push(name, from.kind, 0, inner, &[]));
        }
        if !from.kind.has_members() {
            return self.shrunk(btf, from.id);
        }
        let mut members = Vec::new();
        for member in from.members() {
            let name = btf.name(member.name_off)?;
            let onward: Vec<&str> = paths
                .iter()
                .filter_map(|path| match path.split_once('.') {
                    _ if name.is_empty() => Some(*path),
                    Some((first, rest)) if first.as_bytes() == name => Some(rest),
                    _ => None,
                })
                .collect();
            let id = if name.is_empty() || !onward.is_empty() {
                self.whole(btf, &btf.get(member.type_id)?, &onward)?
            } else {
                self.shrunk(btf, member.type_id)?
            };
            let at = member.width << 24 | member.bits;
            members.extend([self.name(name), id, at]);
        }
        let flag = u32::from(from.kind_flag) << 31;
        let info = flag | count(members.len() / 3);
        Ok(self.push(name, from.kind, info, from.size_or_type, &members))
    }

    /// A type of the same size that needs no other structure.
    fn shrunk(&mut self, btf: &Btf<'_>, id: u32) -> Result<u32, BtfError> {
        let Some(from) = (match id {
            0 => None,
            id => Some(btf.get(id)?),
        }) else {
            return Ok(0);
        };
        Ok(match from.kind {
            kind if kind.is_modifier() => self.shrunk(btf, from.size_or_type)?,
            Kind::Int | Kind::Float => {
                let name = btf.name(from.name_off)?;
                self.push(name, from.kind, 0, from.size_or_type, &words(from.tail))
            }
            Kind::Array => {
                let [element, index, length] = words(from.tail)[..] else {
                    return Err(BtfError::Truncated { id });
                };
                let (element, index) = (self.shrunk(btf, element)?, self.shrunk(btf, index)?);
                self.push(b"", Kind::Array, 0, 0, &[element, index, length])
            }
            Kind::Struct | Kind::Union => self.push(b"", Kind::Struct, 0, from.size_or_type, &[]),
            Kind::Enum | Kind::Enum64 => self.push(b"", Kind::Enum, 0, from.size_or_type, &[]),
            _ => self.push(b"", Kind::Ptr, 0, 0, &[]),
        })
    }

    /// A function with its parameters' names.
    fn function(&mut self, btf: &Btf<'_>, from: &Type<'_>) -> Result<u32, BtfError> {
        let prototype = btf.get(from.size_or_type)?;
        let returned = self.shrunk(btf, prototype.size_or_type)?;
        let mut parameters = Vec::new();
        for pair in words(prototype.tail).chunks_exact(2) {
            let id = self.shrunk(btf, pair[1])?;
            parameters.extend([self.name(btf.name(pair[0])?), id]);
        }
        let info = count(parameters.len() / 2);
        let prototype = self.push(b"", Kind::FuncProto, info, returned, &parameters);
        Ok(self.push(btf.name(from.name_off)?, Kind::Func, 0, prototype, &[]))
    }

    fn push(&mut self, name: &[u8], kind: Kind, info: u32, size_or_type: u32, tail: &[u32]) -> u32 {
        let mut bytes = Vec::new();
        for word in [self.name(name), kind.number() << 24 | info, size_or_type] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(tail.iter().flat_map(|word| word.to_le_bytes()));
        let next = count(self.ids.len() + 1);
        *self.ids.entry(bytes).or_insert_with_key(|bytes| {
            self.types.extend(bytes);
            next
        })
    }

    fn name(&mut self, name: &[u8]) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        *self.names.entry(name.to_owned()).or_insert_with(|| {
            let at = count(self.strings.len());
            self.strings.extend(name);
            self.strings.push(0);
            at
        })
    }

    fn finish(self) -> Result<Vec<u8>, Box<dyn Error>> {
        if self.types.is_empty() {
            return Err("none of the structures is in there".into());
        }
        let types = count(self.types.len());
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types, types, count(self.strings.len())] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(self.types);
        bytes.extend(self.strings);
        Ok(bytes)
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let chunks = bytes.as_chunks::<4>().0;
    chunks.iter().copied().map(u32::from_le_bytes).collect()
}

/// Lengths of an extract: all far below 4 GiB.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
