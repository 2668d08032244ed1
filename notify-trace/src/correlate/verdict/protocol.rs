//! What arrived, and what systemd throws away because of what it is: size, NULs, barriers.
//!
//! systemd's `manager_dispatch_notify_fd` and `notify-recv.c` (257, 261), and the same in 255.

use super::Finding;
use crate::correlate::message::{find, says};
use crate::correlate::outcome::{Certainty, Kind};
use crate::event::{Defect, Notification};
use crate::words;

/// What systemd objects to in a datagram that it took.
pub(in crate::correlate) fn objections(it: &Notification) -> Vec<Finding> {
    let mut found: Vec<Finding> = it
        .defects
        .iter()
        .filter_map(|defect| of_defect(*defect, it))
        .collect();
    found.extend(fds_without_a_word(it));
    found
}

fn of_defect(defect: Defect, it: &Notification) -> Option<Finding> {
    let certain = |kind, what: String| Finding::new(kind, Certainty::Certain, what);
    Some(match defect {
        Defect::TooLong => certain(
            Kind::TooLong,
            format!(
                "dropped whole: {} bytes are more than the 4096 that systemd takes",
                it.length_bytes
            ),
        )
        .by("longer than 4096 bytes is dropped (\"truncated payload data\" since 257, \"exceeded maximum size\" before)")
        .helps("send less in one datagram: shorten STATUS="),
        Defect::EmbeddedNul => certain(
            Kind::EmbeddedNul,
            "dropped whole: there is a NUL byte inside".to_owned(),
        )
        .by("one trailing NUL is tolerated, any other drops the whole datagram, with a warning")
        .helps("send the text's own length, without what follows its end"),
        Defect::NoAssignment => certain(
            Kind::NoAssignment,
            "nothing happens: nothing in it is an assignment (KEY=VALUE)".to_owned(),
        )
        .by("lines that systemd doesn't know are ignored")
        .helps("send lines such as READY=1"),
        Defect::Empty => certain(Kind::NoAssignment, "nothing happens: it is empty".to_owned())
            .by("lines that systemd doesn't know are ignored"),
        Defect::StatusNotUtf8 => certain(
            Kind::StatusNotUtf8,
            "its STATUS= is ignored: it is not UTF-8".to_owned(),
        )
        .by("STATUS= must be UTF-8; other assignments of the datagram count"),
        Defect::MalformedBarrier => {
            let fds = it.fds.map_or_else(
                || "an unknown number of file descriptors".to_owned(),
                |fds| words::count(fds.into(), "file descriptor", "file descriptors"),
            );
            certain(
                Kind::MalformedBarrier,
                format!("ignored whole: a barrier must be BARRIER=1 alone with one file descriptor, this has {fds}"),
            )
            .by("since 246: otherwise the whole datagram is ignored, other assignments too")
            .helps("send BARRIER=1 in a datagram of its own, or call sd_notify_barrier()")
        }
    })
}

fn fds_without_a_word(it: &Notification) -> Option<Finding> {
    let fds = it.fds.filter(|fds| *fds > 0)?;
    let has_word = ["FDSTORE", "BARRIER", "MAINPIDFD"]
        .into_iter()
        .any(|key| find(it, key).is_some());
    if has_word || says(it, "FDSTORE") || it.payload.is_none() {
        return None;
    }
    let fds = words::count(fds.into(), "file descriptor", "file descriptors");
    Some(
        Finding::new(
            Kind::FdsDropped,
            Certainty::Certain,
            format!("{fds} came with it without FDSTORE=1: systemd closes them"),
        )
        .by("descriptors are kept for FDSTORE=1, BARRIER=1 and MAINPIDFD=1 only")
        .helps("say FDSTORE=1 in the same datagram"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::Sample;

    fn kinds(payload: &str, fds: u32) -> Vec<Kind> {
        let length = u32::try_from(payload.len()).expect("short");
        let parsed = crate::decode::message::parse(payload.as_bytes(), length, Some(fds));
        let mut sample = Sample::new(payload);
        sample.0.fds = Some(fds);
        sample.0.defects = parsed.defects;
        objections(&sample.build())
            .iter()
            .map(|found| found.kind)
            .collect()
    }

    #[test]
    fn what_systemd_throws_away() {
        assert_eq!(kinds("READY=1", 0), []);
        assert_eq!(kinds("READY=1\0", 0), []);
        assert_eq!(kinds("READY=1\0STATUS=x", 0), [Kind::EmbeddedNul]);
        assert_eq!(kinds(&"x=".repeat(2049), 0), [Kind::TooLong]);
        assert_eq!(kinds("hello", 0), [Kind::NoAssignment]);
    }

    #[test]
    fn a_barrier_is_alone_and_has_one_descriptor() {
        assert_eq!(kinds("BARRIER=1", 1), []);
        assert_eq!(kinds("BARRIER=1", 0), [Kind::MalformedBarrier]);
        assert_eq!(kinds("BARRIER=1\nREADY=1", 1), [Kind::MalformedBarrier]);
    }

    #[test]
    fn descriptors_need_a_word() {
        assert_eq!(kinds("READY=1", 1), [Kind::FdsDropped]);
        assert_eq!(kinds("FDSTORE=1\nFDNAME=a", 1), []);
    }
}
