//! Every system call that can send a datagram.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    raw::{
        self, compat,
        memory::Pages,
        socket::{self, Message},
        uring::{self, Worker},
    },
    receiver::Receiver,
    stage::{Outgoing, Stage, datagram_socket, expect_sent},
};

/// A receiver, a socket, and so many datagrams, which are waited for.
pub fn deliver(
    stage: &mut Stage,
    count: usize,
    act: impl FnOnce(&mut Stage, &Receiver, &OwnedFd) -> Result<()>,
) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let socket = datagram_socket()?;
    act(stage, &receiver, &socket)?;
    receiver.wait(count)?;
    stage.stop(receiver)
}

pub fn sendto_is_shown_as_it_was_received(stage: &mut Stage) -> Result<()> {
    deliver(stage, 1, |stage, receiver, socket| {
        let payload = stage.payload(200);
        stage.send_to(receiver, socket, &payload)
    })
}

pub fn write_on_a_connected_socket_is_shown(stage: &mut Stage) -> Result<()> {
    deliver(stage, 2, |stage, receiver, socket| {
        socket::connect(socket.as_fd(), &receiver.address)?;
        for length in [100, 300] {
            let payload = stage.payload(length);
            let outgoing = Outgoing::to(receiver, socket, &payload).connected();
            let sent = stage.send(outgoing, || socket::write(socket.as_fd(), &payload))?;
            expect_sent(sent, length)?;
        }
        Ok(())
    })
}

pub fn sendmsg_of_many_parts_across_pages_is_shown_in_one_piece(stage: &mut Stage) -> Result<()> {
    deliver(stage, 1, |stage, receiver, socket| {
        let payload = stage.payload(9000);
        let mut pages = Pages::new(3)?;
        pages.bytes_mut()[1000..10_000].copy_from_slice(&payload);
        // Odd lengths, so that some parts lie across a page's end, and an empty one.
        let (mut parts, mut rest) = (Vec::new(), &pages.bytes()[1000..10_000]);
        for length in [1, 7, 0, 4093, 13].into_iter().chain([97; 50]) {
            let (part, behind) = rest.split_at(length);
            parts.push(part);
            rest = behind;
        }
        parts.push(rest);
        let message = Message {
            to: Some(&receiver.address),
            parts: &parts,
            ..Message::default()
        };
        let outgoing = Outgoing::to(receiver, socket, &payload);
        let sent = stage.send(outgoing, || socket::send_message(socket.as_fd(), &message))?;
        expect_sent(sent, payload.len())
    })
}

pub fn each_message_of_sendmmsg_is_shown(stage: &mut Stage) -> Result<()> {
    deliver(stage, 3, |stage, receiver, socket| {
        let payloads = [60, 70, 80].map(|length| stage.payload(length));
        let parts: Vec<[&[u8]; 1]> = payloads.iter().map(|payload| [&payload[..]]).collect();
        let messages: Vec<_> = parts
            .iter()
            .map(|parts| Message {
                to: Some(&receiver.address),
                parts,
                ..Message::default()
            })
            .collect();
        // One call, so one record of its times, but three datagrams.
        let before = stage.truth.sends.len();
        let first = Outgoing::to(receiver, socket, &payloads[0]);
        let mut count = 0;
        let sent = stage.send(first, || {
            count = socket::send_messages(socket.as_fd(), &messages)?;
            Ok(payloads[0].len())
        })?;
        expect_sent(sent, payloads[0].len())?;
        ensure!(
            count == payloads.len(),
            "{count} of {} were sent",
            payloads.len()
        );
        for payload in &payloads[1..] {
            let sent = stage.send(
                Outgoing::to(receiver, socket, payload),
                || Ok(payload.len()),
            )?;
            expect_sent(sent, payload.len())?;
        }
        let (from, to) = stage
            .truth
            .sends
            .get(before)
            .map(|call| (call.before_ns, call.after_ns))
            .context("nothing was written down")?;
        for call in &mut stage.truth.sends[before..] {
            (call.before_ns, call.after_ns) = (from, to);
        }
        Ok(())
    })
}

pub fn splice_from_a_pipe_is_shown(stage: &mut Stage) -> Result<()> {
    deliver(stage, 1, |stage, receiver, socket| {
        socket::connect(socket.as_fd(), &receiver.address)?;
        let payload = stage.payload(600);
        let (reader, mut writer) = std::io::pipe()?;
        writer.write_all(&payload)?;
        let outgoing = Outgoing::to(receiver, socket, &payload).connected();
        let sent = stage.send(outgoing, || {
            socket::splice(reader.as_fd(), socket.as_fd(), payload.len())
        })?;
        expect_sent(sent, payload.len())
    })
}

fn file_with(stage: &Stage, payload: &[u8]) -> Result<File> {
    let mut file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(stage.dir.join("payload"))
        .context("no file for the payload")?;
    file.write_all(payload)?;
    file.rewind()?;
    Ok(file)
}

pub fn sendfile_is_shown(stage: &mut Stage) -> Result<()> {
    deliver(stage, 1, |stage, receiver, socket| {
        socket::connect(socket.as_fd(), &receiver.address)?;
        let payload = stage.payload(700);
        let file = file_with(stage, &payload)?;
        let outgoing = Outgoing::to(receiver, socket, &payload).connected();
        let sent = stage.send(outgoing, || {
            socket::sendfile(file.as_fd(), socket.as_fd(), payload.len())
        })?;
        expect_sent(sent, payload.len())
    })
}

pub fn memory_that_was_never_touched_is_shown(stage: &mut Stage) -> Result<()> {
    deliver(stage, 1, |stage, receiver, socket| {
        let payload = stage.payload(3000);
        let file = file_with(stage, &payload)?;
        let pages = Pages::of_file(1, file.as_fd())?;
        let untouched = &pages.bytes()[..payload.len()];
        let outgoing = Outgoing::to(receiver, socket, &payload);
        let sent = stage.send(outgoing, || {
            socket::send_to(socket.as_fd(), untouched, &receiver.address, 0)
        })?;
        expect_sent(sent, payload.len())
    })
}

fn by_uring(stage: &mut Stage, worker: Worker) -> Result<()> {
    deliver(stage, 1, |stage, receiver, socket| {
        let payload = stage.payload(140);
        let message = Message {
            to: Some(&receiver.address),
            parts: &[&payload],
            ..Message::default()
        };
        let outgoing = Outgoing::to(receiver, socket, &payload);
        let outgoing = match worker {
            Worker::Inline => outgoing,
            Worker::Async => outgoing.by_worker(),
        };
        let sent = stage.send(outgoing, || {
            uring::send_message(socket.as_fd(), &message, worker)
        })?;
        expect_sent(sent, payload.len())
    })
}

pub fn io_uring_by_its_caller_is_shown(stage: &mut Stage) -> Result<()> {
    by_uring(stage, Worker::Inline)
}

pub fn io_uring_by_a_worker_is_shown_with_the_name_of_the_process(stage: &mut Stage) -> Result<()> {
    by_uring(stage, Worker::Async)
}

pub fn a_32_bit_sendto_is_shown(stage: &mut Stage) -> Result<()> {
    deliver(stage, 1, |stage, receiver, socket| {
        let payload = stage.payload(142);
        let mut low = Pages::low(1)?;
        low.bytes_mut()[..payload.len()].copy_from_slice(&payload);
        let outgoing = Outgoing::to(receiver, socket, &payload);
        let sent = stage.send(outgoing, || {
            compat::send_to(
                socket.as_fd(),
                &low.bytes()[..payload.len()],
                &receiver.address,
            )
        })?;
        expect_sent(sent, payload.len())
    })
}

pub fn a_32_bit_sendmsg_is_shown(stage: &mut Stage) -> Result<()> {
    deliver(stage, 1, |stage, receiver, socket| {
        let payload = stage.payload(143);
        let mut low = Pages::low(1)?;
        low.bytes_mut()[..payload.len()].copy_from_slice(&payload);
        let (first, second) = low.bytes()[..payload.len()].split_at(20);
        let outgoing = Outgoing::to(receiver, socket, &payload);
        let sent = stage.send(outgoing, || {
            compat::send_message(socket.as_fd(), &[first, second], &receiver.address)
        })?;
        expect_sent(sent, payload.len())
    })
}

pub fn a_thread_is_shown_with_its_own_name(stage: &mut Stage) -> Result<()> {
    deliver(stage, 1, |stage, receiver, socket| {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                raw::process::set_thread_name("a thread")?;
                let payload = stage.payload(90);
                stage.send_to(receiver, socket, &payload)
            });
            thread.join().map_err(|_| anyhow!("the thread panicked"))?
        })
    })
}

/// What is kept of the sender before is of no use for the next one.
pub fn senders_that_take_turns_on_one_cpu_are_told_apart(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let socket = datagram_socket()?;
    raw::process::run_on_cpu(0)?;
    let mut children = Vec::new();
    for turn in 0..3 {
        let payload = stage.payload(60 + turn);
        stage.send_to(&receiver, &socket, &payload)?;
        let child = stage.child(|stage| {
            // One for each: some plans know only who sent last through a socket.
            let (socket, other) = (datagram_socket()?, datagram_socket()?);
            let payload = stage.payload(70 + turn);
            stage.send_to(&receiver, &socket, &payload)?;
            thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    raw::process::set_thread_name("in turn")?;
                    let payload = stage.payload(80 + turn);
                    stage.send_to(&receiver, &other, &payload)
                });
                thread.join().map_err(|_| anyhow!("the thread panicked"))?
            })
        })?;
        child.wait_exited()?;
        children.push(child);
    }
    // A sender is to be there, be it as a zombie, while its datagrams are read.
    receiver.wait(9)?;
    // Not before: what is sent is noted as of the process that was noted last.
    children
        .into_iter()
        .try_for_each(|child| stage.join(child))?;
    stage.stop(receiver)
}
