//! What is asked of a struct or a union. There may be several with one name: those with an answer must agree.

use super::{Btf, BtfError, Type};

/// Members that one look-up may visit; `task_struct` has about 300.
const STEPS_MAX: u32 = 1 << 14;

/// The structs and unions with one name.
#[derive(Clone, Debug)]
pub struct Structure<'b, 'a> {
    btf: &'b Btf<'a>,
    name: &'b str,
    definitions: Vec<Type<'a>>,
}

impl<'b, 'a> Structure<'b, 'a> {
    pub(super) const fn new(btf: &'b Btf<'a>, name: &'b str, definitions: Vec<Type<'a>>) -> Self {
        Self {
            btf,
            name,
            definitions,
        }
    }

    /// What they are called.
    #[must_use]
    pub const fn name(&self) -> &'b str {
        self.name
    }

    /// The offset in bytes of a member, from the beginning.
    ///
    /// `path` is a member's name, or several joined by dots, each a member of the struct or union
    /// the one before is. Members of anonymous structs and unions count as their parent's, as in C.
    ///
    /// # Errors
    /// [`BtfError::NoStruct`] and [`BtfError::NoMember`] when this kernel hasn't got it; another
    /// one when it can't be addressed by a byte offset, or the BTF makes no sense.
    pub fn member(&self, path: &str) -> Result<u32, BtfError> {
        let mut steps = STEPS_MAX;
        let absent = || BtfError::NoMember {
            structure: self.name.to_owned(),
            path: path.to_owned(),
        };
        self.agree(path, absent, |definition| {
            self.btf.walk(definition, self.name, path, &mut steps)
        })
    }

    /// The size in bytes.
    ///
    /// # Errors
    /// As for [`Self::member`].
    pub fn size(&self) -> Result<u32, BtfError> {
        // Offsets are in bits, and there are 2^32 of them.
        let limit = u32::MAX / 8;
        let absent = || self.no_struct();
        self.agree("", absent, |definition| match definition.size_or_type {
            size if size <= limit => Ok(Some(size)),
            _ => Err(BtfError::TooLarge {
                structure: self.name.to_owned(),
            }),
        })
    }

    /// Asks all of them.
    fn agree(
        &self,
        path: &str,
        absent: impl Fn() -> BtfError,
        mut ask: impl FnMut(Type<'a>) -> Result<Option<u32>, BtfError>,
    ) -> Result<u32, BtfError> {
        let mut answer = None;
        for definition in &self.definitions {
            match (answer, ask(*definition)?) {
                (Some(first), Some(second)) if first != second => {
                    return Err(BtfError::Ambiguous {
                        structure: self.name.to_owned(),
                        path: path.to_owned(),
                        values: [first, second],
                    });
                }
                (None, new) => answer = new,
                _ => {}
            }
        }
        answer.ok_or_else(|| {
            if self.definitions.is_empty() {
                self.no_struct()
            } else {
                absent()
            }
        })
    }

    fn no_struct(&self) -> BtfError {
        BtfError::NoStruct {
            structure: self.name.to_owned(),
        }
    }
}
