//! Parses `/proc/PID/net/unix`: the sockets of the process's network namespace, for everybody to
//! read. Pure.
//!
//! The kernel escapes nothing (`unix_seq_show`, net/unix/af_unix.c): a NUL in an abstract name
//! looks like an `@`, and a name with a line end in it makes a line of its own. Where `diag` works,
//! it is asked instead.

use super::bound::{Bound, Kind, Name};

/// The bound sockets of a table: `Num RefCount Protocol Flags Type St Inode Path`, all but the
/// inode number in hexadecimal. Lines of another form are left out.
pub fn parse(table: &[u8]) -> impl Iterator<Item = Bound> {
    table
        .split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(parse_line)
}

fn parse_line(line: &[u8]) -> Option<Bound> {
    // A name may have spaces in it, so only what stands before is split by them.
    let mut rest = line;
    let mut field = || {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let length = rest[start..].iter().position(|byte| *byte == b' ')?;
        let (field, after) = rest[start..].split_at(length);
        rest = after;
        std::str::from_utf8(field).ok()
    };
    let kind = std::iter::repeat_with(&mut field).nth(4)??;
    let _state = field()?;
    let inode = field()?.parse().ok()?;
    // One space, and then the name as it is.
    let name = rest.get(1..).filter(|name| !name.is_empty())?;
    let mut bytes = name.to_vec();
    if bytes[0] == b'@' {
        bytes[0] = 0;
    }
    Some(Bound {
        inode,
        kind: Kind::of(u16::from_str_radix(kind, 16).ok()?),
        name: Name {
            at_may_be_nul: bytes[0] == 0,
            bytes,
        },
        file: None,
        uid: None,
        next_datagram_bytes: None,
    })
}

/// The inode number of the datagram socket bound to `address`.
#[must_use]
pub fn inode_of(table: &[u8], address: &[u8]) -> Option<u64> {
    parse(table)
        .find(|bound| bound.kind == Kind::Datagram && bound.name.is(address))
        .map(|bound| bound.inode)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 17000 /run/app/ready\n\
        0000000000000000: 00000002 00000000 00000000 0002 01 17001 /run/app/ready\n\
        0000000000000000: 00000002 00000000 00000000 0002 01 17002 @odd@name\n\
        0000000000000000: 00000003 00000000 00000000 0002 03 17003\n\
        0000000000000000: 00000002 00000000 00000000 0002 01   174 relative  name \n";

    #[test]
    fn a_bound_datagram_socket_is_found_by_its_name() {
        assert_eq!(inode_of(TABLE, b"/run/app/ready"), Some(17001));
        assert_eq!(inode_of(TABLE, b"\0odd\0name"), Some(17002));
        assert_eq!(inode_of(TABLE, b"/run/app"), None);
        assert_eq!(inode_of(b"", b"/run/app"), None);
    }

    #[test]
    fn sockets_without_a_name_are_left_out_and_spaces_in_names_stay() {
        let bound: Vec<_> = parse(TABLE).collect();
        let inodes: Vec<_> = bound.iter().map(|bound| bound.inode).collect();
        assert_eq!(inodes, [17000, 17001, 17002, 174]);
        assert_eq!(bound[3].name.bytes, b"relative  name ");
        assert_eq!(bound[0].kind, Kind::Other);
        assert!(bound[2].name.is_abstract());
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_no_trouble(table in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&table).count();
        }

        #[test]
        fn a_line_cut_anywhere_is_no_trouble(length in 0..TABLE.len()) {
            prop_assert!(parse(&TABLE[..length]).count() <= 4);
        }
    }
}
