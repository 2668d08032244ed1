//! On bytes that a kernel sent (Linux 6.18): a datagram socket with a path and two datagrams in its
//! queue, the first of 24 bytes; an abstract name with a NUL; a listening stream with a relative
//! path and spaces; a socket without a name; the end.

use proptest::prelude::*;

use super::*;

const PATH: &str = "5c0000001400020000000000171f0000010207001aaf0000010000000000000014000000\
    2f746d702f7265632d6e6f74696679000c0001001ccb98000000e00f0c00040018000000000000000500060000000000\
    0800070000000000";
const STREAM: &str = "540000001400020000000000171f000001010a001caf000002000000000000000c000000\
    7265632072656c000c0001001dcb98000000e00f0c000400000000000100000005000600000000000800070000000000";
const UNNAMED: &str = "3c0000001400020000000000171f0000010207001daf000006000000000000000c000400\
    000000000006000005000600000000000800070000000000";
const ABSTRACT: &str = "480000001400020000000000171f0000010207001baf00000a000000000000000b000000\
    00726563004078000c000400000000000000000005000600000000000800070000000000";
const DONE: &str = "140000000300020000000000171f000000000000";

fn bytes(hex: &[&str]) -> Vec<u8> {
    let hex = hex.concat();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits"))
        .collect()
}

fn parsed(answer: &[u8]) -> (Part, Vec<Bound>) {
    let mut sockets = Vec::new();
    let part = parse(answer, &mut sockets);
    (part, sockets)
}

#[test]
fn what_a_kernel_sent_is_read() {
    let (part, sockets) = parsed(&bytes(&[PATH, STREAM, UNNAMED, ABSTRACT, DONE]));
    assert_eq!(part, Part::End);
    let bound = |inode, kind, name: &[u8], file: Option<u32>, next| Bound {
        inode,
        kind,
        name: Name {
            bytes: name.to_vec(),
            at_may_be_nul: false,
        },
        file: file.map(|inode_low| DiagFile {
            device: (254, 0),
            inode_low,
        }),
        uid: Some(0),
        next_datagram_bytes: Some(next),
    };
    assert_eq!(
        sockets,
        [
            bound(
                44826,
                Kind::Datagram,
                b"/tmp/rec-notify",
                Some(10_013_468),
                24
            ),
            bound(44828, Kind::Other, b"rec rel", Some(10_013_469), 0),
            bound(44827, Kind::Datagram, b"\0rec\0@x", None, 0),
        ]
    );
}

#[test]
fn without_an_end_there_is_more() {
    assert_eq!(parsed(&bytes(&[PATH])).0, Part::More);
    assert_eq!(parsed(&[]).0, Part::More);
}

#[test]
fn a_refusal_is_its_error_if_it_is_one() {
    let refused = |error: &[u8]| {
        let length = u32::try_from(16 + error.len()).unwrap();
        let header = [
            &length.to_ne_bytes()[..],
            &NLMSG_ERROR.to_ne_bytes(),
            &[0; 10],
        ]
        .concat();
        parsed(&[&header[..], error].concat()).0
    };
    let code = |code: i32| [&code.to_ne_bytes()[..], &[0; 16]].concat();
    assert_eq!(refused(&code(-2)), Part::Refused(Errno::NOENT));
    for nonsense in [0, 2, -4_096, i32::MIN] {
        assert_eq!(refused(&code(nonsense)), Part::Nonsense, "{nonsense}");
    }
    assert_eq!(refused(&[2]), Part::Nonsense);
}

#[test]
fn our_own_socket_is_listed_if_the_kernel_lists_any() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let name = format!("notify-trace-diag-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let receiver = UnixDatagram::bind_addr(&address).expect("it is free");
    let sender = UnixDatagram::unbound().expect("a socket");
    sender
        .send_to_addr(b"four", &address)
        .expect("there is room");
    sender
        .send_to_addr(b"more", &address)
        .expect("there is room");
    // A kernel without unix_diag refuses.
    if let Ok(sockets) = bound_sockets() {
        let name = [b"\0", name.as_bytes()].concat();
        let own = sockets.iter().find(|bound| bound.name.is(&name));
        assert_eq!(own.and_then(|own| own.next_datagram_bytes), Some(4));
    }
    drop(receiver);
}

proptest! {
    #[test]
    fn an_answer_cut_anywhere_gives_what_was_whole(length in 0_usize..400) {
        let answer = bytes(&[PATH, STREAM, UNNAMED, ABSTRACT, DONE]);
        let length = length.min(answer.len() - 1);
        let (part, sockets) = parsed(&answer[..length]);
        prop_assert!(part != Part::End);
        let whole = parsed(&answer).1;
        prop_assert_eq!(&sockets[..], &whole[..sockets.len()]);
    }

    #[test]
    fn whatever_is_sent_is_no_trouble(
        at in 0_usize..300,
        noise in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut answer = bytes(&[PATH, STREAM, ABSTRACT, DONE]);
        for (byte, noise) in answer.iter_mut().skip(at).zip(noise) {
            *byte = noise;
        }
        let _ = parsed(&answer);
    }
}
