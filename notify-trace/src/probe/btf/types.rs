//! What a type section is made of: kinds, types and members, as views of the bytes. Owns the
//! encoding of each; finding types and names is the parent module's.

/// The kinds of type (`BTF_KIND_…`), with the numbers that the format gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the format's specification")]
pub enum Kind {
    Int = 1,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::Int,
        Self::Ptr,
        Self::Array,
        Self::Struct,
        Self::Union,
        Self::Enum,
        Self::Fwd,
        Self::Typedef,
        Self::Volatile,
        Self::Const,
        Self::Restrict,
        Self::Func,
        Self::FuncProto,
        Self::Var,
        Self::Datasec,
        Self::Float,
        Self::DeclTag,
        Self::TypeTag,
        Self::Enum64,
    ];

    /// Of the kinds in the order of their numbers, which begin at 1: bytes that follow the common part.
    const TAILS: [(usize, usize); Self::ALL.len()] = {
        let mut tails = [(0, 0); Self::ALL.len()];
        let mut at = 0;
        while at < tails.len() {
            tails[at] = Self::ALL[at].tail();
            at += 1;
        }
        tails
    };

    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(index(number.checked_sub(1)?)).copied()
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Bytes that follow the common part: a fixed number, and some per element.
    const fn tail(self) -> (usize, usize) {
        match self {
            Self::Int | Self::Var | Self::DeclTag => (4, 0),
            Self::Array => (12, 0),
            Self::Struct | Self::Union | Self::Datasec | Self::Enum64 => (0, 12),
            Self::Enum | Self::FuncProto => (0, 8),
            _ => (0, 0),
        }
    }

    /// Whether types of this kind have members.
    #[must_use]
    pub const fn has_members(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }

    /// Whether types of this kind only give another type a name or a qualifier.
    #[must_use]
    pub const fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }
}

/// Length of a [`Head`].
pub(super) const HEAD: usize = 12;

/// What all types begin with.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) name_off: u32,
    /// Kind, number of what follows, and a flag.
    pub(super) info: u32,
    pub(super) size_or_type: u32,
}

impl Head {
    /// The one that begins there, if there are as many bytes.
    #[inline]
    pub(super) fn at(types: &[u8], at: usize) -> Option<Self> {
        let words = types.get(at..)?.first_chunk::<HEAD>()?.as_chunks::<4>().0;
        let [name_off, info, size_or_type] = *words.first_chunk()?;
        Some(Self {
            name_off: u32::from_le_bytes(name_off),
            info: u32::from_le_bytes(info),
            size_or_type: u32::from_le_bytes(size_or_type),
        })
    }

    /// Up to Linux 7 there are 5 bits of kind and 16 of count, and the others are zero.
    pub(super) const fn kind_number(self) -> u32 {
        self.info >> 24 & 0x7f
    }

    /// How many members, parameters or the like follow.
    pub(super) fn count(self) -> usize {
        index(self.info & 0xff_ffff)
    }

    /// Length of what follows; `None`: of a kind that isn't known.
    #[inline]
    pub(super) fn tail_length(self) -> Option<usize> {
        let (fixed, each) = Kind::TAILS.get(index(self.kind_number().wrapping_sub(1)))?;
        // At most 12 times 2^24: no overflow, even in 32 bits.
        Some(fixed + each * self.count())
    }

    /// Whether it is of that kind.
    #[inline]
    pub(super) fn is(self, kind: Kind) -> bool {
        self.kind_number() == kind.number()
    }
}

/// One type of the type section.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    /// Its id: its place in the section, from 1. 0 is `void` and has no entry.
    pub id: u32,
    /// What it is, and thereby what the other fields mean.
    pub kind: Kind,
    /// For structs and unions: offsets of members are encoded with a bit-field's width.
    pub kind_flag: bool,
    /// Where its name stands in the string section; see [`Btf::name`](super::Btf::name).
    pub name_off: u32,
    /// A size in bytes, or the id of another type.
    pub size_or_type: u32,
    /// What follows the common part: members, parameters, an array's type and length.
    pub tail: &'a [u8],
}

impl<'a> Type<'a> {
    /// The members, if this is a struct or a union.
    pub fn members(&self) -> impl Iterator<Item = Member> + use<'a> {
        let kind_flag = self.kind_flag;
        let tail: &'a [u8] = if self.kind.has_members() {
            self.tail
        } else {
            &[]
        };
        tail.as_chunks::<12>().0.iter().filter_map(move |entry| {
            let offset = u32_at(entry, 8)?;
            Some(Member {
                name_off: u32_at(entry, 0)?,
                type_id: u32_at(entry, 4)?,
                bits: if kind_flag {
                    offset & 0xff_ffff
                } else {
                    offset
                },
                width: if kind_flag { offset >> 24 } else { 0 },
            })
        })
    }
}

/// A member of a struct or a union.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Where its name stands in the string section; an empty name means an anonymous member.
    pub name_off: u32,
    /// The type it has.
    pub type_id: u32,
    /// Where it begins, in bits.
    pub bits: u32,
    /// A bit-field's width in bits, 0 for anything else.
    pub width: u32,
}

/// The little-endian `u32` at an offset, if there is one.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A `u32` of the file as an index; eBPF needs a machine whose `usize` has at least as many bits.
pub(super) fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
