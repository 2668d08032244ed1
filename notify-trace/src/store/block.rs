//! Lines of JSON, compressed together. Pure.

use std::io;

/// Most bytes of lines in a block; one that is longer has a block of its own.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// zstd's own default: twice as fast as reading from a disk, ten times smaller than the text.
const LEVEL: i32 = 3;

/// A block that is being filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) lines: Vec<u8>,
    pub(super) events: u64,
    pub(super) first_us: i64,
    pub(super) last_us: i64,
    /// The lowest number of a notification that its lines may speak of.
    pub(super) first_notification: Option<u64>,
    /// The lowest number of a flow that rows of its lines, and of later ones, may have.
    pub(super) first_flow: Option<u64>,
}

impl Block {
    /// Whether a line of that many bytes should begin another one.
    pub(super) fn is_full_for(&self, bytes: usize) -> bool {
        self.events > 0 && self.lines.len() + bytes > BLOCK_BYTES
    }

    /// Adds a line, of a time somewhere between the two.
    pub(super) fn push(&mut self, line: &[u8], first_us: i64, last_us: i64) {
        if self.events == 0 {
            (self.first_us, self.last_us) = (first_us, last_us);
        }
        self.first_us = self.first_us.min(first_us);
        self.last_us = self.last_us.max(last_us);
        self.lines.extend_from_slice(line);
        self.events += 1;
    }

    /// Lines were added that speak of no lower numbers than these.
    pub(super) fn speaks_of(&mut self, notification: Option<u64>, flow: Option<u64>) {
        let lower = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.first_notification = lower(self.first_notification, notification);
        self.first_flow = lower(self.first_flow, flow);
    }

    /// The lines as they are stored.
    pub(super) fn compressed(&self) -> io::Result<Vec<u8>> {
        zstd::bulk::compress(&self.lines, LEVEL)
    }
}

/// The lines again.
pub(super) fn decompressed(data: &[u8], bytes: usize) -> io::Result<Vec<u8>> {
    let lines = zstd::bulk::decompress(data, bytes)?;
    if lines.len() == bytes {
        Ok(lines)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a block is shorter than it says",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were() {
        let mut block = Block::default();
        for number in 0..100_i64 {
            block.push(format!("{{\"id\":{number}}}\n").as_bytes(), number, number);
        }
        assert_eq!((block.events, block.first_us, block.last_us), (100, 0, 99));
        let data = block.compressed().expect("memory");
        assert!(data.len() < block.lines.len() / 2);
        assert_eq!(
            decompressed(&data, block.lines.len()).expect("whole"),
            block.lines
        );
        assert!(decompressed(&data[..data.len() / 2], block.lines.len()).is_err());
        assert!(decompressed(&data, block.lines.len() + 1).is_err());
    }

    #[test]
    fn a_block_is_bounded_unless_a_line_is_longer() {
        let mut block = Block::default();
        assert!(!block.is_full_for(BLOCK_BYTES + 1));
        block.push(b"x\n", 0, 0);
        assert!(block.is_full_for(BLOCK_BYTES));
        assert!(!block.is_full_for(BLOCK_BYTES - 2));
    }
}
