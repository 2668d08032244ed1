//! Which call each datagram is: nothing is left over on either side.

use std::collections::{BTreeMap, VecDeque};

use super::{Pair, Problems};
use crate::{
    plan::Plan,
    shown::{Datagram, Outcome},
    truth::{Send, Truth},
};

/// Most sentences about the same kind of problem.
const MOST: usize = 5;

/// Finds pairs; reports calls that were not shown, and datagrams that are no call.
pub fn pair<'a>(
    truth: &Truth,
    datagrams: &[&'a Datagram],
    plan: Plan,
    problems: &mut Problems,
) -> Vec<Pair<'a>> {
    let mut waiting: BTreeMap<u64, VecDeque<usize>> = BTreeMap::new();
    for (index, send) in truth
        .sends
        .iter()
        .enumerate()
        .filter(|(_, send)| plan.shows(send))
    {
        waiting
            .entry(send.socket_inode)
            .or_default()
            .push_back(index);
    }
    let sockets: Vec<u64> = waiting.keys().copied().collect();
    let mut in_order = datagrams.to_vec();
    in_order.sort_by_key(|datagram| (datagram.monotonic_ns, datagram.id));
    let mut pairs = Vec::new();
    let mut left_over = Vec::new();
    for datagram in in_order {
        let mut take = |inode: u64| {
            let calls = waiting.get_mut(&inode)?;
            let at = calls
                .iter()
                .position(|call| fits(&truth.sends[*call], datagram, plan))?;
            calls.remove(at)
        };
        let found = match datagram.socket_inode {
            Some(inode) => take(inode),
            // Its sender had closed the socket when it was read.
            None if !plan.sees_senders() => sockets.iter().find_map(|inode| take(*inode)),
            None => None,
        };
        match found {
            Some(index) => pairs.push((index, datagram)),
            None => left_over.push(datagram),
        }
    }
    let missing: Vec<usize> = waiting.into_values().flatten().collect();
    report(problems, "never shown", &missing, |index| {
        call(&truth.sends[*index])
    });
    report(problems, "shown, but never sent", &left_over, |datagram| {
        shown(datagram)
    });
    pairs.sort_by_key(|(index, _)| *index);
    pairs
}

fn report<T>(problems: &mut Problems, what: &str, all: &[T], say: impl Fn(&T) -> String) {
    for one in all.iter().take(MOST) {
        problems.add(format!("{what}: {}", say(one)));
    }
    if all.len() > MOST {
        problems.add(format!("{what}: {} in all", all.len()));
    }
}

/// Whether nothing in which two calls differ speaks against it. What is wrong with a datagram
/// otherwise is to be reported as wrong, not as one too many and one too few.
fn fits(send: &Send, datagram: &Datagram, plan: Plan) -> bool {
    let length = plan.length_seen(send);
    let is_same_payload = match (&send.payload, &datagram.payload) {
        (Some(was), Some(shown)) if send.is_copied => {
            let end = was.0.len().min(length as usize);
            shown.bytes() == was.0[..end]
        }
        (_, None) => !send.is_copied || datagram.says_unknown("payload"),
        (None, Some(_)) => true,
        (Some(_), Some(_)) => false,
    };
    let is_same_receiver = match (send.receiver, &datagram.receiver) {
        (Some(was), Some(shown)) => shown.inode == was,
        _ => true,
    };
    let is_same_success = match &datagram.result {
        Some(Outcome::SentBytes(_)) => send.result.is_ok(),
        Some(Outcome::Failed(_)) => send.result.is_err(),
        None => true,
    };
    datagram.length_bytes == length && is_same_payload && is_same_receiver && is_same_success
}

fn call(send: &Send) -> String {
    format!(
        "{} bytes from socket {} to {:?}, result {:?}, {:?}",
        send.length, send.socket_inode, send.receiver, send.result, send.fate
    )
}

/// A datagram for a message about it.
pub fn shown(datagram: &Datagram) -> String {
    let payload = datagram.payload.as_ref().map(|payload| {
        let text = payload.to_string();
        text.chars().take(80).collect::<String>()
    });
    format!(
        "datagram {} of {} bytes from {:?} by socket {:?} to {:?}, {}, result {:?}, payload {}",
        datagram.id,
        datagram.length_bytes,
        datagram.sender.as_ref().map(|sender| sender.pid),
        datagram.socket_inode,
        datagram.receiver.as_ref().map(|receiver| receiver.inode),
        datagram.delivery.state,
        datagram.result,
        payload.as_deref().unwrap_or("unknown"),
    )
}
