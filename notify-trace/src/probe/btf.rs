//! Where a member lies in a kernel structure, read from BTF bytes (`/sys/kernel/btf/vmlinux`).
//!
//! Owns the format (`Documentation/bpf/btf.rst`) and the look-ups by name; which names matter is
//! `offsets`' business, reading the file its caller's. Pure: bytes in, numbers or a typed error out.
//! Keeps one `u32` per type, and two per structure, and nothing else that grows with the file. The bytes are not
//! trusted: counts, offsets and cycles that make no sense are errors, within a bounded number of steps.
//!
//! Left out: split BTF, the form a module has it in, whose ids and strings continue those of
//! vmlinux. Distributions have unix sockets built in; where a custom kernel has them as a module,
//! their structures are missing here and the look-up says so.

#[cfg(test)]
pub(super) mod builder;
mod error;
#[cfg(test)]
mod properties;
mod sections;
mod structure;
#[cfg(test)]
mod tests;
mod types;

pub use error::BtfError;
use sections::Entry;
pub use sections::Sections;
pub use structure::Structure;
use types::{HEAD, Head, index, u32_at};
pub use types::{Kind, Member, Type};

/// How deep typedefs and anonymous members may nest; the kernel's own limit is 32.
const DEPTH_MAX: u32 = 32;

/// The types of a kernel.
#[derive(Clone, Debug)]
pub struct Btf<'a> {
    sections: Sections<'a>,
    /// Where in the type section each type begins; type ids count from 1.
    starts: Vec<u32>,
    /// The structs and unions with a name and members, what look-ups go through: id, and where the name
    /// stands.
    definitions: Vec<(u32, u32)>,
}

impl<'a> Btf<'a> {
    /// Reads the header and walks the type section once.
    ///
    /// # Errors
    /// When the bytes aren't little-endian BTF version 1 of a whole kernel, hold a kind that isn't
    /// known here (its size isn't known then either), or end too early.
    pub fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        let sections = Sections::of(data)?;
        let mut btf = Self {
            sections,
            starts: Vec::new(),
            definitions: Vec::new(),
        };
        for entry in sections.entries() {
            let Entry {
                id,
                at,
                head,
                length,
            } = entry?;
            // The section's length came from a `u32`, and so did its number of types.
            btf.starts.push(u32::try_from(at).unwrap_or(u32::MAX));
            let has_members = Kind::from_number(head.kind_number()).is_some_and(Kind::has_members);
            // One without members, like a forward declaration, says nothing.
            if has_members && length > HEAD && head.name_off != 0 {
                btf.definitions.push((id, head.name_off));
            }
        }
        Ok(btf)
    }

    /// All types, in the order of their ids.
    pub fn types(&self) -> impl Iterator<Item = Type<'a>> {
        (1..)
            .zip(&self.starts)
            .filter_map(|(id, start)| self.look(index(*start), id))
    }

    /// The type with this id, which must not be 0 (`void`).
    ///
    /// # Errors
    /// [`BtfError::BadType`] when there is none.
    pub fn get(&self, id: u32) -> Result<Type<'a>, BtfError> {
        let start = id.checked_sub(1).and_then(|n| self.starts.get(index(n)));
        let at = index(*start.ok_or(BtfError::BadType { id })?);
        self.look(at, id)
            .ok_or_else(|| self.sections.why_not(at, id))
    }

    /// The string at an offset, without its NUL.
    ///
    /// # Errors
    /// [`BtfError::BadName`] when the offset is beyond the string section.
    pub fn name(&self, name_off: u32) -> Result<&'a [u8], BtfError> {
        let bytes = self
            .sections
            .strings
            .get(index(name_off)..)
            .unwrap_or_default();
        match bytes.iter().position(|byte| *byte == 0) {
            Some(end) => Ok(&bytes[..end]),
            None => Err(BtfError::BadName { offset: name_off }),
        }
    }

    /// The structs and unions with that name; there may be none.
    #[must_use]
    pub fn structure<'b>(&'b self, name: &'b str) -> Structure<'b, 'a> {
        let sought = Sought::new(name);
        let definitions = self
            .definitions
            .iter()
            .filter(|(_, name_off)| sought.stands_at(self.sections.strings, *name_off))
            .filter_map(|(id, _)| self.get(*id).ok())
            .collect();
        Structure::new(self, name, definitions)
    }

    /// Whether the kernel has a function of that name that a program can attach to by BTF.
    ///
    /// `false` doesn't mean that there is no such function: arm64 kernels of 5.10 describe no static
    /// ones, and a kprobe needs no description.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        let name = Sought::new(name);
        self.all_functions()
            .any(|(_, name_off)| name.stands_at(self.sections.strings, name_off))
    }

    /// All functions: id, and where the name stands.
    fn all_functions(&self) -> impl Iterator<Item = (u32, u32)> {
        (1..).zip(&self.starts).filter_map(|(id, start)| {
            let head = Head::at(self.sections.types, index(*start))?;
            head.is(Kind::Func).then_some((id, head.name_off))
        })
    }

    /// Follows a dotted path; `None` when a member on it doesn't exist.
    fn walk(
        &self,
        mut within: Type<'a>,
        structure: &str,
        path: &str,
        steps: &mut u32,
    ) -> Result<Option<u32>, BtfError> {
        let place = || (structure.to_owned(), path.to_owned());
        let mut bits = 0_u64;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let Some((member, at)) = self.find(&within, name, DEPTH_MAX, steps)? else {
                return Ok(None);
            };
            bits += at;
            if !bits.is_multiple_of(8) || self.is_bit_field(&member)? {
                let (structure, path) = place();
                return Err(BtfError::BitField { structure, path });
            }
            if names.peek().is_some() {
                within = match self.resolve(member.type_id)? {
                    Some(found) if found.kind.has_members() => found,
                    _ => {
                        let (structure, path) = place();
                        return Err(BtfError::NotNested {
                            structure,
                            path,
                            member: name.to_owned(),
                        });
                    }
                };
            }
        }
        u32::try_from(bits / 8)
            .ok()
            .filter(|bytes| *bytes <= u32::MAX / 8)
            .map(Some)
            .ok_or_else(|| BtfError::TooLarge {
                structure: structure.to_owned(),
            })
    }

    /// A member by name, also of anonymous members, with its offset in bits.
    fn find(
        &self,
        within: &Type<'a>,
        name: &str,
        depth: u32,
        steps: &mut u32,
    ) -> Result<Option<(Member, u64)>, BtfError> {
        if name.is_empty() {
            return Ok(None);
        }
        let deeper = depth.checked_sub(1);
        for member in within.members() {
            *steps = steps.checked_sub(1).ok_or(BtfError::TooComplex)?;
            if self.is_named(member.name_off, name) {
                return Ok(Some((member, u64::from(member.bits))));
            }
            if !self.is_named(member.name_off, "") {
                continue;
            }
            let nested = self.resolve(member.type_id)?;
            if let Some(nested) = nested.filter(|found| found.kind.has_members()) {
                let deeper = deeper.ok_or(BtfError::TooDeep { id: within.id })?;
                if let Some((found, at)) = self.find(&nested, name, deeper, steps)? {
                    return Ok(Some((found, u64::from(member.bits) + at)));
                }
            }
        }
        Ok(None)
    }

    /// What a type is without its typedefs and qualifiers; `None` is `void`.
    fn resolve(&self, id: u32) -> Result<Option<Type<'a>>, BtfError> {
        let mut at = id;
        for _ in 0..=DEPTH_MAX {
            if at == 0 {
                return Ok(None);
            }
            let found = self.get(at)?;
            if !found.kind.is_modifier() {
                return Ok(Some(found));
            }
            at = found.size_or_type;
        }
        Err(BtfError::TooDeep { id })
    }

    /// Without `kind_flag` it is the integer type that says how many of its bits are used.
    fn is_bit_field(&self, member: &Member) -> Result<bool, BtfError> {
        let Some(found) = self.resolve(member.type_id)? else {
            return Ok(member.width != 0);
        };
        let encoding = match found.kind {
            Kind::Int => u32_at(found.tail, 0).unwrap_or_default(),
            _ => return Ok(member.width != 0),
        };
        let (bits, offset) = (encoding & 0xff, encoding >> 16 & 0xff);
        Ok(
            member.width != 0
                || offset != 0
                || u64::from(bits) != u64::from(found.size_or_type) * 8,
        )
    }

    fn is_named(&self, name_off: u32, name: &str) -> bool {
        is_string_at(self.sections.strings, name_off, name)
    }

    /// The type that begins there, if it makes sense.
    fn look(&self, at: usize, id: u32) -> Option<Type<'a>> {
        let (head, length) = self.sections.measure(at)?;
        Some(Type {
            id,
            kind: Kind::from_number(head.kind_number())?,
            kind_flag: head.info >> 31 != 0,
            name_off: head.name_off,
            size_or_type: head.size_or_type,
            tail: self.sections.types.get(at + HEAD..at + length)?,
        })
    }
}

/// Whether a string of the section begins there, and is that one.
fn is_string_at(strings: &[u8], at: u32, text: &str) -> bool {
    let bytes = strings.get(index(at)..).unwrap_or_default();
    // The end first: it tells most names apart, and costs no more than a look.
    bytes.get(text.len()) == Some(&0) && bytes.starts_with(text.as_bytes())
}

/// A name that is looked for among many: its first eight bytes, its NUL included, tell it from nearly all.
struct Sought<'n> {
    name: &'n str,
    first: u64,
    mask: u64,
}

impl<'n> Sought<'n> {
    fn new(name: &'n str) -> Self {
        let mut first = [0; 8];
        let mut mask = [0; 8];
        for (at, byte) in name.bytes().chain([0]).take(8).enumerate() {
            (first[at], mask[at]) = (byte, 0xff);
        }
        Self {
            name,
            first: u64::from_le_bytes(first),
            mask: u64::from_le_bytes(mask),
        }
    }

    #[inline]
    fn stands_at(&self, strings: &[u8], at: u32) -> bool {
        self.is(first_word(strings, at), strings, at)
    }

    /// The same of a string whose first word is known.
    #[inline]
    fn is(&self, first: u64, strings: &[u8], at: u32) -> bool {
        first & self.mask == self.first && is_string_at(strings, at, self.name)
    }
}

/// The first eight bytes from there on; zeros stand for those that the section hasn't got.
#[inline]
fn first_word(strings: &[u8], at: u32) -> u64 {
    let bytes = strings.get(index(at)..).unwrap_or_default();
    let word = bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut word = [0; 8];
        let (there, _) = word.split_at_mut(bytes.len());
        there.copy_from_slice(bytes);
        word
    });
    u64::from_le_bytes(word)
}
