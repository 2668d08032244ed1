//! Races that a tool which reads the sender's memory would lose.

use std::{
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::calls::deliver;
use crate::{
    pipe::DEADLINE,
    raw::{fault::Held, socket},
    stage::{Outgoing, Stage, expect_sent},
};

pub fn bytes_that_change_during_the_call_are_shown_as_received(stage: &mut Stage) -> Result<()> {
    const SENDS: usize = 400;
    deliver(stage, SENDS, |stage, receiver, socket| {
        let words: Vec<AtomicU64> = (0..125).map(AtomicU64::new).collect();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut value = 0;
                while !is_over.load(Ordering::Relaxed) {
                    for word in &words[1..] {
                        word.store(value, Ordering::Relaxed);
                    }
                    value = value.wrapping_add(0x0101_0101_0101_0101);
                }
            });
            let sent = (|| {
                for number in 0..SENDS {
                    words[0].store(number as u64, Ordering::Relaxed);
                    let outgoing = Outgoing::to(receiver, socket, &[0; 1000]).unknown_payload();
                    let sent = stage.send(outgoing, || {
                        socket::send_changing(socket.as_fd(), &words, &receiver.address)
                    })?;
                    expect_sent(sent, 1000)?;
                }
                Ok(())
            })();
            is_over.store(true, Ordering::Relaxed);
            sent
        })
    })
}

pub fn sixty_four_writers_stuck_in_a_page_fault_hide_nobody(stage: &mut Stage) -> Result<()> {
    const WRITERS: usize = 64;
    deliver(stage, 3, |stage, receiver, socket| {
        let held = Held::new(WRITERS).context("no userfaultfd")?;
        let streams: Result<Vec<_>, _> = (0..WRITERS).map(|_| UnixStream::pair()).collect();
        let streams = streams?;
        thread::scope(|scope| {
            let writers: Vec<_> = held
                .pages()
                .zip(&streams)
                .map(|(page, (stream, _))| scope.spawn(move || socket::write(stream.as_fd(), page)))
                .collect();
            let sent = (|| {
                let timeout = i32::try_from(DEADLINE.as_millis())?;
                for stuck in 0..WRITERS {
                    ensure!(
                        held.wait_for_fault(timeout)?,
                        "only {stuck} writers are stuck"
                    );
                }
                for length in [60, 4096, 0] {
                    let payload = stage.payload(length);
                    stage.send_to(receiver, socket, &payload)?;
                }
                Ok(())
            })();
            held.release()?;
            for writer in writers {
                let written = writer.join().map_err(|_| anyhow!("a writer panicked"))??;
                ensure!(written > 0, "a writer wrote nothing");
            }
            sent
        })
    })
}
