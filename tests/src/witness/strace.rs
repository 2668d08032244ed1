//! What strace saw of one sender, against what the agent says of it: the same calls in the same
//! order, the same bytes, the same results.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

use crate::shown::{Outcome, Shown};

/// The agent keeps so many bytes of a payload.
const KEPT_BYTES: usize = 4096;

/// A send or a connect to a notify socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The process.
    pub pid: u32,
    /// It connected, and sent nothing.
    pub is_connect: bool,
    /// Where to, as the process wrote it.
    pub to: Vec<u8>,
    /// The bytes, as far as they are known.
    pub bytes: Option<Vec<u8>>,
    /// How many these are.
    pub length: u32,
    /// Bytes accepted, or the error's name.
    pub result: Result<u32, String>,
}

/// Reads what strace wrote with `-f -xx -o FILE`: a process id, a call, its result on each line.
/// Only calls to addresses that `is_notify` are kept.
pub fn read(text: &str, is_notify: impl Fn(&[u8]) -> bool) -> Result<Vec<Attempt>> {
    let mut peers: BTreeMap<(u32, u32), Vec<u8>> = BTreeMap::new();
    let mut attempts = Vec::new();
    for line in text.lines() {
        let Some(call) = Call::read(line).with_context(|| format!("strace said: {line}"))? else {
            continue;
        };
        let path = call.path();
        if call.name == "connect" {
            let Some(to) = path.filter(|path| is_notify(path)) else {
                continue;
            };
            if call.result.is_ok() {
                peers.insert((call.pid, call.fd), to);
            } else {
                attempts.push(call.attempt(to, Vec::new(), 0));
            }
            continue;
        }
        let to = path.or_else(|| peers.get(&(call.pid, call.fd)).cloned());
        if let Some(to) = to.filter(|path| is_notify(path)) {
            let (bytes, length) = call
                .payload()
                .with_context(|| format!("strace said: {line}"))?;
            attempts.push(call.attempt(to, bytes, length));
        }
    }
    Ok(attempts)
}

/// A line of strace.
struct Call<'a> {
    pid: u32,
    name: &'a str,
    fd: u32,
    arguments: &'a str,
    result: Result<u32, String>,
}

impl<'a> Call<'a> {
    /// None: the line is about a signal or an exit.
    fn read(line: &'a str) -> Result<Option<Self>> {
        let (pid, rest) = line.split_once(' ').context("no process id")?;
        let rest = rest.trim_start();
        if rest.starts_with("---") || rest.starts_with("+++") {
            return Ok(None);
        }
        // The processes run one after the other, so no call is interrupted by another one's.
        ensure!(!rest.contains("<unfinished"), "a call in two parts");
        let (name, rest) = rest.split_once('(').context("no call")?;
        let (call, result) = rest.rsplit_once(" = ").context("no result")?;
        let arguments = call.trim_end().strip_suffix(')').context("no end")?;
        let fd = arguments.split(',').next().unwrap_or_default();
        let mut words = result.split_whitespace();
        let result = match (words.next(), words.next()) {
            (Some("-1"), Some(name)) => Err(name.to_owned()),
            (Some(number), _) => Ok(number.parse().context("no number")?),
            (None, _) => bail!("no result"),
        };
        Ok(Some(Self {
            pid: pid.parse().context("no process id")?,
            name,
            fd: fd.parse().context("no descriptor")?,
            arguments,
            result,
        }))
    }

    fn path(&self) -> Option<Vec<u8>> {
        let (_, rest) = self.arguments.split_once("sun_path=\"")?;
        unescape(rest).ok().map(|(path, _)| path)
    }

    /// The bytes that strace shows, and how many the call was about.
    fn payload(&self) -> Result<(Vec<u8>, u32)> {
        if self.name != "sendmsg" {
            // `FD, "BYTES", LENGTH`, perhaps with `...` behind the bytes.
            let (_, rest) = self.arguments.split_once('"').context("no bytes")?;
            let (bytes, rest) = unescape(rest)?;
            let length = rest.trim_start_matches(['.', ',', ' ']);
            let length = length.split(',').next().unwrap_or_default();
            return Ok((bytes, length.trim().parse().context("no length")?));
        }
        let (_, vector) = self
            .arguments
            .split_once("msg_iov=[")
            .context("no vector")?;
        let (vector, _) = vector.split_once(']').context("no end of the vector")?;
        let mut whole = Vec::new();
        let mut sum = 0;
        for part in vector.split("iov_base=\"").skip(1) {
            let (bytes, rest) = unescape(part)?;
            let (_, length) = rest.split_once("iov_len=").context("no length")?;
            let (length, _) = length.split_once('}').context("no end of a length")?;
            sum += length.parse::<u32>().context("no length")?;
            whole.extend(bytes);
        }
        Ok((whole, sum))
    }

    fn attempt(&self, to: Vec<u8>, bytes: Vec<u8>, length: u32) -> Attempt {
        let is_connect = self.name == "connect";
        Attempt {
            pid: self.pid,
            is_connect,
            to,
            bytes: (!is_connect).then_some(bytes),
            length,
            result: self.result.clone(),
        }
    }
}

/// The bytes up to the quote, all of them as `\xNN`, and what follows it.
fn unescape(text: &str) -> Result<(Vec<u8>, &str)> {
    let (hex, rest) = text.split_once('"').context("no end of a string")?;
    let bytes: Result<Vec<u8>> = hex
        .split("\\x")
        .skip(1)
        .map(|digits| u8::from_str_radix(digits, 16).with_context(|| digits.to_owned()))
        .collect();
    Ok((bytes?, rest))
}

/// What the agent says of these processes, in the order of the calls.
pub fn of_agent(shown: &Shown, pids: &BTreeSet<u32>) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for datagram in &shown.datagrams {
        let Some(sender) = datagram.sender.as_ref() else {
            continue;
        };
        if !pids.contains(&sender.pid) {
            continue;
        }
        let result = match &datagram.result {
            Some(Outcome::SentBytes(bytes)) => Ok(*bytes),
            Some(Outcome::Failed(errno)) => Err(errno.name.clone().unwrap_or_default()),
            None => Err("not known".into()),
        };
        // A failed call may end before the kernel has copied anything.
        let never_copied = datagram.says_unknown("payload_never_copied") && result.is_err();
        let bytes = datagram.payload.as_ref().map(crate::shown::Text::bytes);
        let attempt = Attempt {
            pid: sender.pid,
            is_connect: false,
            to: datagram
                .destination
                .as_ref()
                .map(|to| to.address.bytes())
                .unwrap_or_default(),
            bytes: if never_copied {
                bytes
            } else {
                Some(bytes.unwrap_or_default())
            },
            length: datagram.length_bytes,
            result,
        };
        attempts.push((datagram.monotonic_ns, attempt));
    }
    for connect in &shown.connects {
        if pids.contains(&connect.sender.pid) {
            let attempt = Attempt {
                pid: connect.sender.pid,
                is_connect: true,
                to: connect.address.bytes(),
                bytes: None,
                length: 0,
                result: Err(connect.error.name.clone().unwrap_or_default()),
            };
            attempts.push((connect.monotonic_ns, attempt));
        }
    }
    attempts.sort_by_key(|(at_ns, _)| *at_ns);
    attempts.into_iter().map(|(_, attempt)| attempt).collect()
}

/// The first difference, if there is one.
pub fn compare(strace: &[Attempt], agent: &[Attempt]) -> Result<()> {
    for (index, (theirs, ours)) in strace.iter().zip(agent).enumerate() {
        let is_same_bytes = match (&theirs.bytes, &ours.bytes) {
            (Some(theirs), Some(ours)) => *ours == theirs[..theirs.len().min(KEPT_BYTES)],
            (_, None) => true,
            (None, Some(_)) => false,
        };
        let mut same = theirs.clone();
        same.bytes.clone_from(&ours.bytes);
        ensure!(
            is_same_bytes && same == *ours,
            "call {} differs:\n    strace {theirs:?}\n    agent  {ours:?}",
            index + 1
        );
    }
    ensure!(
        strace.len() == agent.len(),
        "strace saw {} calls, the agent {}: {strace:?} {agent:?}",
        strace.len(),
        agent.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/run/n`.
    const PATH: &str = r#"{sa_family=AF_UNIX, sun_path="\x2f\x72\x75\x6e\x2f\x6e"}"#;

    fn read_all(text: &str) -> Vec<Attempt> {
        read(text, |path| path == b"/run/n").unwrap()
    }

    fn attempt(bytes: &[u8], result: Result<u32, &str>) -> Attempt {
        Attempt {
            pid: 12,
            is_connect: false,
            to: b"/run/n".to_vec(),
            bytes: Some(bytes.to_vec()),
            length: u32::try_from(bytes.len()).unwrap(),
            result: result.map_err(str::to_owned),
        }
    }

    #[test]
    fn a_send_has_bytes_address_and_result() {
        let text = format!(r#"12    sendto(3, "\x41\xff", 2, 0, {PATH}, 9) = 2"#);
        assert_eq!(read_all(&text), [attempt(b"A\xff", Ok(2))]);
        let failed = text.replace("= 2", "= -1 ENOENT (No such file or directory)");
        assert_eq!(read_all(&failed), [attempt(b"A\xff", Err("ENOENT"))]);
    }

    #[test]
    fn the_parts_of_a_message_are_one() {
        let text = format!(
            r#"12 sendmsg(3, {{msg_name={PATH}, msg_namelen=9, msg_iov=[{{iov_base="\x41", iov_len=1}}, {{iov_base="\x42\x43", iov_len=2}}], msg_iovlen=2, msg_control=[{{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[4]}}], msg_controllen=24, msg_flags=0}}, MSG_NOSIGNAL) = 3"#
        );
        assert_eq!(read_all(&text), [attempt(b"ABC", Ok(3))]);
    }

    #[test]
    fn bytes_that_strace_leaves_out_count() {
        let text = format!(
            r#"12 sendto(3, "\x41"..., 300000, 0, {PATH}, 9) = -1 EMSGSIZE (Message too long)"#
        );
        let read = read_all(&text);
        assert_eq!(
            (read[0].length, &read[0].bytes),
            (300_000, &Some(b"A".to_vec()))
        );
    }

    #[test]
    fn a_write_goes_where_the_socket_was_connected_to() {
        let text = format!(
            "12 connect(5, {PATH}, 9) = 0\n12 write(5, \"\\x41\", 1) = 1\n12 write(1, \"\\x42\", 1) = 1\n12 +++ exited with 0 +++"
        );
        assert_eq!(read_all(&text), [attempt(b"A", Ok(1))]);
    }

    #[test]
    fn only_a_failed_connect_is_an_attempt() {
        let text = format!("12 connect(5, {PATH}, 9) = -1 ECONNREFUSED (Connection refused)");
        let read = read_all(&text);
        assert_eq!(read.len(), 1);
        assert!(read[0].is_connect);
        let elsewhere = text.replace(r"\x6e", r"\x6d");
        assert_eq!(read_all(&elsewhere), []);
    }

    #[test]
    fn a_call_in_two_parts_is_an_error() {
        assert!(read("12 sendto(3, <unfinished ...>", |_| true).is_err());
    }

    #[test]
    fn order_bytes_and_results_are_compared() {
        let (a, b) = (attempt(b"A", Ok(1)), attempt(b"B", Err("EPERM")));
        let both = [a.clone(), b.clone()];
        assert!(compare(&both, &both).is_ok());
        assert!(compare(&both, &[b.clone(), a.clone()]).is_err());
        assert!(compare(&both, &both[..1]).is_err());
        let other = attempt(b"B", Err("EACCES"));
        assert!(compare(&both, &[a.clone(), other]).is_err());
        assert!(compare(&both, &[a, attempt(b"C", Err("EPERM"))]).is_err());
    }

    #[test]
    fn what_was_never_copied_has_no_bytes_to_compare() {
        let theirs = attempt(b"B", Err("EPERM"));
        let ours = Attempt {
            bytes: None,
            ..theirs.clone()
        };
        assert!(compare(&[theirs], &[ours]).is_ok());
    }
}
