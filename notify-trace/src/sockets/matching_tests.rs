//! Each way a value finds its socket, and each reason why it finds none.

use super::super::bound::Name;
use super::*;

const DISK: (u32, u32) = (8, 1);
const OTHER: (u32, u32) = (0, 40);

fn file(device: (u32, u32), inode: u64) -> FileId {
    FileId {
        device,
        inode,
        is_socket: true,
    }
}

fn candidate(namespace: u64, name: &[u8], diag: Option<DiagFile>, file: BoundFile) -> Candidate {
    Candidate {
        namespace,
        bound: Bound {
            inode: 1,
            kind: Kind::Datagram,
            name: Name {
                bytes: name.to_vec(),
                at_may_be_nul: diag.is_none(),
            },
            file: diag,
            uid: None,
            next_datagram_bytes: None,
        },
        file,
    }
}

fn by_diag(device: (u32, u32), inode_low: u32, file: BoundFile) -> Candidate {
    let diag = DiagFile { device, inode_low };
    candidate(1, b"/run/notify", Some(diag), file)
}

fn by_path(file: BoundFile) -> Candidate {
    candidate(1, b"/run/notify", None, file)
}

fn aim(file: FileId) -> Aim {
    Aim::File(Ok(file))
}

#[test]
fn values_are_read_as_libsystemd_reads_them() {
    assert_eq!(value(b"@a\xff"), Value::Abstract(b"\0a\xff".to_vec()));
    assert_eq!(value(b"/run/x"), Value::Path(b"/run/x"));
    assert_eq!(value(b"vsock:2:1234"), Value::Vsock);
    assert_eq!(value(b"vsock-stream:2:1234"), Value::Vsock);
    for malformed in [&b"run/x"[..], b"", b"@", b"/", b"vsock"] {
        assert_eq!(value(malformed), Value::Malformed);
    }
}

#[test]
fn an_abstract_name_counts_in_its_own_namespace_only() {
    let candidates = [
        candidate(1, b"\0name", None, BoundFile::Unknown),
        candidate(2, b"\0name", None, BoundFile::Unknown),
        candidate(2, b"@name", None, BoundFile::Unknown),
    ];
    let aim = |namespace| Aim::Abstract {
        namespace,
        address: b"\0name".to_vec(),
    };
    assert_eq!(find(&aim(Some(1)), &candidates, true), Ok(0));
    assert_eq!(find(&aim(Some(2)), &candidates, true), Ok(1));
    assert_eq!(
        find(&aim(Some(3)), &candidates, true),
        Err(Reason::NobodyBound)
    );
    assert_eq!(find(&aim(None), &candidates, true), Err(Reason::NotVisible));
}

#[test]
fn a_path_counts_by_its_file_in_whatever_namespace() {
    let candidates = [
        by_diag(DISK, 10, BoundFile::Unknown),
        by_diag(DISK, 11, BoundFile::Unknown),
        by_diag(OTHER, 10, BoundFile::Unknown),
    ];
    assert_eq!(find(&aim(file(DISK, 11)), &candidates, true), Ok(1));
    // What unix_diag leaves off of a long number.
    let long = file(OTHER, 10 | 1 << 40);
    assert_eq!(find(&aim(long), &candidates, true), Ok(2));
    assert_eq!(
        find(&aim(file(DISK, 12)), &candidates, true),
        Err(Reason::NobodyBound)
    );
}

#[test]
fn without_diag_the_file_at_the_owners_path_has_to_do() {
    let candidates = [
        by_path(BoundFile::Is(file(DISK, 10))),
        by_path(BoundFile::Removed),
    ];
    assert_eq!(find(&aim(file(DISK, 10)), &candidates, true), Ok(0));
    assert_eq!(
        find(&aim(file(DISK, 11)), &candidates, true),
        Err(Reason::NobodyBound)
    );
}

#[test]
fn an_old_receiver_is_not_taken_for_the_one_that_took_over_its_path() {
    let new = BoundFile::Is(file(DISK, 11));
    let candidates = [by_diag(DISK, 10, new), by_diag(DISK, 11, new)];
    assert_eq!(find(&aim(file(DISK, 11)), &candidates, true), Ok(1));
    // The new one has ended, too, and left its file.
    assert_eq!(
        find(&aim(file(DISK, 11)), &candidates[..1], true),
        Err(Reason::NobodyBound)
    );
    // Without diag nobody can tell.
    let candidates = [by_path(new), by_path(new)];
    assert_eq!(
        find(&aim(file(DISK, 11)), &candidates, true),
        Err(Reason::Ambiguous)
    );
}

#[test]
fn a_file_system_that_shows_another_device_than_it_has_is_told_by_the_path() {
    let shown = file(OTHER, 77);
    let candidates = [by_diag((0, 39), 10, BoundFile::Is(shown))];
    assert_eq!(find(&aim(shown), &candidates, true), Ok(0));
}

#[test]
fn nobody_is_said_to_be_bound_only_if_everything_was_seen() {
    let known = [by_diag(DISK, 10, BoundFile::Unknown)];
    let unknown = [by_path(BoundFile::Unknown)];
    let aim = aim(file(DISK, 11));
    assert_eq!(find(&aim, &known, true), Err(Reason::NobodyBound));
    assert_eq!(find(&aim, &known, false), Err(Reason::NotVisible));
    assert_eq!(find(&aim, &unknown, true), Err(Reason::NotVisible));
}

#[test]
fn what_can_be_no_receiver_says_why() {
    let stream = Candidate {
        bound: Bound {
            kind: Kind::Other,
            ..by_diag(DISK, 10, BoundFile::Unknown).bound
        },
        ..by_diag(DISK, 10, BoundFile::Unknown)
    };
    let regular = FileId {
        is_socket: false,
        ..file(DISK, 5)
    };
    for (aim, reason) in [
        (aim(file(DISK, 10)), Reason::WrongType),
        (aim(regular), Reason::NotASocket),
        (Aim::File(Err(NoFile::Absent)), Reason::NoFile),
        (Aim::File(Err(NoFile::Unknown)), Reason::NotVisible),
        (Aim::Vsock, Reason::Vsock),
        (Aim::Malformed, Reason::Malformed),
    ] {
        assert_eq!(find(&aim, std::slice::from_ref(&stream), true), Err(reason));
    }
}
