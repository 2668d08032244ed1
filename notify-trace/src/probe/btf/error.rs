//! Why BTF bytes can't be read, or a look-up in them has no answer. Owns the wording.

use std::fmt;

/// Why BTF can't be read, or why it doesn't answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BtfError {
    /// Not even a header.
    TooShort {
        /// How many bytes there are.
        length: usize,
    },
    /// The magic number is another one.
    NotBtf {
        /// The first two bytes.
        magic: [u8; 2],
    },
    /// BTF of a big-endian kernel.
    BigEndian,
    /// A version that isn't known here; all kernels up to now have 1.
    Version {
        /// What the header says.
        version: u8,
    },
    /// The header gives itself an impossible length.
    Header {
        /// What the header says.
        length: usize,
    },
    /// A section reaches beyond the end.
    Section {
        /// Which of the two: `type` or `string`.
        name: &'static str,
    },
    /// The string section isn't one: it begins and ends with a NUL.
    Strings,
    /// The type section ends within a type.
    Truncated {
        /// The type's id.
        id: u32,
    },
    /// A kind newer than this program, so that not even its length is known.
    UnknownKind {
        /// The kind's number.
        number: u32,
        /// The type's id.
        id: u32,
    },
    /// A name beyond the end of the string section.
    BadName {
        /// Where it is said to be.
        offset: u32,
    },
    /// A reference to a type that doesn't exist.
    BadType {
        /// Its id.
        id: u32,
    },
    /// Typedefs or anonymous members that nest too deep, most likely in a circle.
    TooDeep {
        /// Where they were given up.
        id: u32,
    },
    /// A look-up visited more members than any kernel's structures have.
    TooComplex,
    /// A size or an offset that BTF can't express.
    TooLarge {
        /// The struct.
        structure: String,
    },
    /// No struct or union of that name has members.
    NoStruct {
        /// The name.
        structure: String,
    },
    /// The struct exists, the member doesn't.
    NoMember {
        /// The struct.
        structure: String,
        /// The member's path within it.
        path: String,
    },
    /// A member on the path has no members of its own.
    NotNested {
        /// The struct.
        structure: String,
        /// The whole path.
        path: String,
        /// The member that is neither a struct nor a union.
        member: String,
    },
    /// The member is a bit-field or doesn't begin at a byte.
    BitField {
        /// The struct.
        structure: String,
        /// The member's path within it.
        path: String,
    },
    /// Several structs of that name, and they disagree.
    Ambiguous {
        /// The struct.
        structure: String,
        /// The member's path within it; empty for the struct's size.
        path: String,
        /// Two of the answers, in bytes.
        values: [u32; 2],
    },
}

impl BtfError {
    /// Whether the kernel just hasn't got what was asked for, so that an older name is worth a try.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::NoStruct { .. } | Self::NoMember { .. })
    }
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { length } => {
                write!(f, "{length} bytes are too few for a BTF header")
            }
            Self::NotBtf {
                magic: [first, second],
            } => {
                write!(f, "no BTF: begins with {first:#04x} {second:#04x}")
            }
            Self::BigEndian => {
                f.write_str("BTF of a big-endian kernel; only little-endian ones are supported")
            }
            Self::Version { version } => write!(f, "BTF version {version} isn't known, only 1 is"),
            Self::Header { length } => write!(f, "a BTF header can't be {length} bytes long"),
            Self::Section { name } => {
                write!(f, "the {name} section reaches beyond the end of the BTF")
            }
            Self::Strings => {
                f.write_str("the string section doesn't begin and end with a NUL byte")
            }
            Self::Truncated { id } => write!(f, "the type section ends within type {id}"),
            Self::UnknownKind { number, id } => {
                write!(f, "type {id} is of kind {number}, which isn't known here")
            }
            Self::BadName { offset } => {
                write!(f, "a name at {offset} is beyond the string section")
            }
            Self::BadType { id } => write!(f, "there is no type {id}"),
            Self::TooDeep { id } => {
                write!(f, "type {id} nests too deep or contains itself")
            }
            Self::TooComplex => f.write_str("the look-up visits more members than a kernel has"),
            Self::TooLarge { structure } => {
                write!(f, "struct {structure} is larger than BTF can express")
            }
            Self::NoStruct { structure } => write!(f, "there is no struct {structure}"),
            Self::NoMember { structure, path } => {
                write!(f, "struct {structure} has no member {path}")
            }
            Self::NotNested {
                structure,
                path,
                member,
            } => {
                write!(
                    f,
                    "in {structure}.{path}, {member} is neither a struct nor a union"
                )
            }
            Self::BitField { structure, path } => {
                write!(f, "{structure}.{path} doesn't take up whole bytes")
            }
            Self::Ambiguous {
                structure,
                path,
                values: [first, second],
            } if path.is_empty() => {
                write!(
                    f,
                    "there are structs {structure} of {first} and of {second} bytes"
                )
            }
            Self::Ambiguous {
                structure,
                path,
                values: [first, second],
            } => {
                write!(
                    f,
                    "there are structs {structure} with {path} at {first} and at {second}"
                )
            }
        }
    }
}

impl std::error::Error for BtfError {}
