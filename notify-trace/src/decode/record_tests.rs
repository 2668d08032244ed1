use proptest::prelude::*;
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::*;

/// The bytes of a record with the header's size set right and `padding` bytes after it.
fn wire<T: IntoBytes + Immutable>(kind: u16, record: &T, tail: &[u8], padding: usize) -> Bytes {
    let mut bytes = record.as_bytes().to_vec();
    bytes.extend_from_slice(tail);
    let size = u32::try_from(bytes.len()).expect("records are small");
    bytes[..4].copy_from_slice(&size.to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes.resize(bytes.len() + padding, 0xaa);
    bytes.into()
}

fn send(len: u32, captured: u32) -> Send {
    Send {
        len,
        captured,
        ..Send::new_zeroed()
    }
}

fn cgroup(names: &[u8], depth: u32, flags: u32) -> Result<Vec<u8>, DecodeError> {
    let cgroup = Cgroup {
        len: u32::try_from(names.len()).expect("test paths are short"),
        depth,
        flags,
        ..Cgroup::new_zeroed()
    };
    match decode(&wire(7, &cgroup, names, 0))? {
        Record::Cgroup { path, .. } => Ok(path.to_vec()),
        other => panic!("not a cgroup: {other:?}"),
    }
}

#[test]
fn the_payload_is_a_slice_of_the_bytes_given() {
    let bytes = wire(1, &send(7, 7), b"READY=1", 1);
    let Record::Send { payload, .. } = decode(&bytes).expect("well-formed") else {
        panic!("not a send");
    };
    assert_eq!(payload, "READY=1");
    assert_eq!(payload.as_ptr(), bytes[size_of::<Send>()..].as_ptr());
}

#[test]
fn a_cgroup_path_is_turned_root_first() {
    assert_eq!(
        cgroup(b"b.service\0a.slice\0", 2, 0),
        Ok(b"/a.slice/b.service".to_vec())
    );
}

#[test]
fn the_root_cgroup_is_a_slash_with_or_without_its_empty_name() {
    assert_eq!(cgroup(b"", 0, 0), Ok(b"/".to_vec()));
    assert_eq!(cgroup(b"\0", 1, 0), Ok(b"/".to_vec()));
    assert_eq!(cgroup(b"a.slice\0\0", 2, 0), Ok(b"/a.slice".to_vec()));
}

#[test]
fn a_truncated_cgroup_path_begins_with_an_ellipsis() {
    assert_eq!(
        cgroup(b"c\0b\0", 2, CGROUP_TRUNCATED),
        Ok("…/b/c".as_bytes().to_vec())
    );
    assert_eq!(
        cgroup(b"", 0, CGROUP_TRUNCATED),
        Ok("…/".as_bytes().to_vec())
    );
}

#[test]
fn cgroup_names_that_are_not_as_many_as_said_are_refused() {
    let error = Err(DecodeError::CgroupNames { depth: 2 });
    assert_eq!(cgroup(b"a\0", 2, 0), error);
    assert_eq!(cgroup(b"a\0b", 2, 0), error);
}

#[test]
fn a_record_cut_short_is_refused() {
    let bytes = wire(1, &send(7, 7), b"READY=1", 0);
    let has = bytes.len() - 1;
    assert_eq!(
        decode(&bytes.slice(..has)).expect_err("cut"),
        DecodeError::TooShort {
            needs: has + 1,
            has
        }
    );
    assert_eq!(
        decode(&Bytes::new()).expect_err("empty"),
        DecodeError::TooShort { needs: 32, has: 0 }
    );
}

#[test]
fn an_unknown_kind_is_named() {
    for kind in [0, 10, u16::MAX] {
        assert_eq!(
            decode(&wire(kind, &Exit::new_zeroed(), b"", 0)).expect_err("no such kind"),
            DecodeError::UnknownKind(kind)
        );
    }
}

#[test]
fn lengths_that_do_not_add_up_are_refused() {
    assert_eq!(
        decode(&wire(1, &send(9, 9), b"READY=1", 0)).expect_err("two bytes missing"),
        DecodeError::SizeMismatch {
            size: 279,
            expected: 281
        }
    );
    assert_eq!(
        decode(&wire(1, &send(3, 7), b"READY=1", 0)).expect_err("more than there was"),
        DecodeError::Captured {
            captured: 7,
            len: 3
        }
    );
    assert_eq!(
        decode(&wire(1, &send(5000, 4097), &[b'x'; 4097], 0)).expect_err("too much"),
        DecodeError::Captured {
            captured: 4097,
            len: 5000
        }
    );
    assert_eq!(
        decode(&wire(6, &Exit::new_zeroed(), &[0; 8], 0)).expect_err("a tail where none is"),
        DecodeError::SizeMismatch {
            size: 56,
            expected: 48
        }
    );
}

#[test]
fn padding_of_seven_bytes_is_accepted_and_eight_are_not() {
    let exit = Exit::new_zeroed();
    assert!(decode(&wire(6, &exit, b"", 7)).is_ok());
    assert_eq!(
        decode(&wire(6, &exit, b"", 8)).expect_err("more than padding"),
        DecodeError::Overlong { size: 48, has: 56 }
    );
}

#[test]
fn unknown_flag_bits_are_no_error() {
    let record = Send {
        flags: u32::MAX,
        ..send(0, 0)
    };
    assert!(decode(&wire(1, &record, b"", 0)).is_ok());
}

#[test]
fn an_error_says_what_is_wrong_in_words() {
    assert_eq!(
        DecodeError::TooShort { needs: 32, has: 3 }.to_string(),
        "the record needs 32 bytes, but there are only 3"
    );
}

/// Fills a wire struct with arbitrary bytes.
fn filled<T: FromBytes + IntoBytes + Immutable>(seed: &[u8]) -> T {
    let mut bytes = vec![0; size_of::<T>()];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = seed[index % seed.len()].wrapping_add(u8::try_from(index % 251).unwrap_or(0));
    }
    T::read_from_bytes(&bytes).expect("the exact size")
}

/// Decodes at an offset that makes the record unaligned.
fn decode_unaligned(bytes: &Bytes) -> Result<Record, DecodeError> {
    let shifted = Bytes::from([&[0], bytes.as_ref()].concat());
    decode(&shifted.slice(1..))
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(&Bytes::from(bytes));
    }

    #[test]
    fn random_bytes_behind_a_plausible_header_never_panic(
        kind in 0_u16..12,
        body in proptest::collection::vec(any::<u8>(), 32..600),
    ) {
        let header: Header = filled(&body);
        let _ = decode(&wire(kind, &header, &body, 3));
    }

    #[test]
    fn a_well_formed_send_round_trips(
        seed in proptest::collection::vec(any::<u8>(), 1..64),
        payload in proptest::collection::vec(any::<u8>(), 0..PAYLOAD_MAX),
        cut in 0_u32..100,
        padding in 0_usize..8,
    ) {
        let captured = u32::try_from(payload.len()).expect("at most 4096");
        let mut record: Send = filled(&seed);
        record.captured = captured;
        record.len = captured + cut;
        let bytes = wire(1, &record, &payload, padding);
        let Record::Send { send, payload: read } = decode_unaligned(&bytes)? else {
            panic!("not a send");
        };
        prop_assert_eq!(&read[..], &payload[..]);
        prop_assert_eq!(&send.as_bytes()[8..], &record.as_bytes()[8..]);
    }

    #[test]
    fn every_kind_without_a_tail_round_trips(
        seed in proptest::collection::vec(any::<u8>(), 1..64),
        padding in 0_usize..8,
    ) {
        macro_rules! check {
            ($($number:literal $name:ident),+) => {$({
                let bytes = wire($number, &filled::<$name>(&seed), b"", padding);
                let Record::$name(read) = decode_unaligned(&bytes)? else {
                    panic!("another kind");
                };
                prop_assert_eq!(read.as_bytes(), &bytes[..size_of::<$name>()]);
                prop_assert_eq!(*Record::$name(read).header(), read.header);
            })+};
        }
        check!(2 Outcome, 3 Dequeue, 4 ConnectFailed, 5 ReceiverClosed, 6 Exit, 8 Receiver,
            9 LateSender);
    }

    #[test]
    fn a_cgroup_path_has_all_names_in_reverse(
        names in proptest::collection::vec("[a-z.@-]{1,20}", 1..20),
    ) {
        let tail: Vec<u8> = names.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect();
        let depth = u32::try_from(names.len()).expect("few");
        let expected: String = names.iter().rev().map(|name| format!("/{name}")).collect();
        prop_assert_eq!(cgroup(&tail, depth, 0), Ok(expected.into_bytes()));
    }
}
