//! Makes tiny BTF blobs for tests, valid or not. Owns the encoding, spelled out once more: a test
//! that encoded with the parser's own constants would agree with its mistakes.

use super::Kind;

/// A blob in the making. Types get the ids 1, 2, 3, …
pub(in crate::probe) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Builder {
    pub(in crate::probe) fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            count: 0,
        }
    }

    /// Any type at all: `info`'s three parts, and the words that follow.
    pub(in crate::probe) fn raw(
        &mut self,
        name: &str,
        (flag, kind, count): (u32, u32, u32),
        size_or_type: u32,
        tail: &[u32],
    ) -> u32 {
        let info = flag << 31 | kind << 24 | count;
        let name = self.name(name);
        for word in [name, info, size_or_type].iter().chain(tail) {
            self.types.extend(word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(in crate::probe) fn int(&mut self, bytes: u32) -> u32 {
        self.raw("int", (0, 1, 0), bytes, &[bytes * 8])
    }

    /// Members are name, type, offset in bits.
    pub(in crate::probe) fn structure(
        &mut self,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        self.composite(name, (0, 4), size, members)
    }

    pub(in crate::probe) fn union(
        &mut self,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        self.composite(name, (0, 5), size, members)
    }

    /// A struct with bit-fields: members are name, type, offset and width in bits.
    pub(in crate::probe) fn bit_fields(
        &mut self,
        name: &str,
        members: &[(&str, u32, u32, u32)],
    ) -> u32 {
        let members: Vec<_> = members
            .iter()
            .map(|&(name, id, at, width)| (name, id, width << 24 | at))
            .collect();
        self.composite(name, (1, 4), 64, &members)
    }

    pub(in crate::probe) fn modifier(&mut self, kind: Kind, name: &str, id: u32) -> u32 {
        self.raw(name, (0, kind.number(), 0), id, &[])
    }

    pub(in crate::probe) fn build(&self) -> Vec<u8> {
        let types = u32::try_from(self.types.len()).unwrap();
        let strings = u32::try_from(self.strings.len()).unwrap();
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types, types, strings] {
            bytes.extend(word.to_le_bytes());
        }
        [bytes, self.types.clone(), self.strings.clone()].concat()
    }

    fn composite(
        &mut self,
        name: &str,
        (flag, kind): (u32, u32),
        size: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        let count = u32::try_from(members.len()).unwrap();
        let mut tail = Vec::new();
        for &(name, id, at) in members {
            tail.extend([self.name(name), id, at]);
        }
        self.raw(name, (flag, kind, count), size, &tail)
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(name.bytes());
        self.strings.push(0);
        at
    }
}
