//! Datagrams in queues: what is known of one from the moment it is about to be queued until it leaves.
//!
//! In the plan of trampolines each receiving socket has a few places of its own, for a hash whose entries
//! age costs more than all other maps together. A socket's places need no lock of ours: what is put there
//! is put with the receiver's own lock held (`unix_state_lock` in `unix_dgram_sendmsg`), one datagram after
//! the other, and who takes one out looks only for that which the kernel has just given to it. A socket for
//! which there are no places, and a datagram that finds its places taken, go to `QUEUED`, as they all do in
//! the plan of probes.
//!
//! Where the places of two sockets would be the same, the first one has them until it is closed. A program
//! that was begun before that may still be at work, so they rest for a while before another socket gets
//! them. Not before one at the same address: whoever works with a `struct sock` keeps it from being used again.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use notify_trace_common::limits::{Emitter, PLACES_PER_QUEUE, QUEUES_WITH_PLACES};

use crate::emit;
use crate::maps::{
    CLAIMS, OVERFLOWED, PLACES, Place, QUEUED, QUEUES, Queue, Queued, ReceiverKey, ReceiverState,
    Scratch,
};

/// How long places rest between two sockets: much longer than a program runs, also one on a virtual CPU that
/// stands still meanwhile.
const REST_NS: u64 = 10_000_000_000;

const _: () = assert!(PLACES_PER_QUEUE.is_power_of_two() && QUEUES_WITH_PLACES.is_power_of_two());

/// The number of a receiving socket's places.
#[inline(always)]
fn number_of(scratch: &mut Scratch, receiver_sk: u64) -> u32 {
    let mixed = (emit::number(scratch, receiver_sk) >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as u32 & (QUEUES_WITH_PLACES - 1)
}

#[inline(always)]
fn queue(number: u32) -> Option<&'static mut Queue> {
    let queue = QUEUES.get_ptr_mut(number)?;
    // SAFETY: a map's value, valid as long as the programs; who may write it is said above.
    Some(unsafe { &mut *queue })
}

/// The two places that a buffer may be at.
#[inline(always)]
fn places(scratch: &mut Scratch, number: u32, skb: u64) -> Option<(*mut Place, *mut Place)> {
    // The kernel's buffers lie 256 bytes apart.
    let at = (emit::number(scratch, skb) >> 8) as u32 & (PLACES_PER_QUEUE - 1);
    let first = number * PLACES_PER_QUEUE;
    Some((
        PLACES.get_ptr_mut(first + at)?,
        PLACES.get_ptr_mut(first + (at ^ 1))?,
    ))
}

/// What is known of a receiving socket that has places, and its address.
#[inline(always)]
pub fn state_of(
    scratch: &mut Scratch,
    receiver_sk: u64,
    inode: u64,
) -> Option<(u64, ReceiverState)> {
    let number = number_of(scratch, receiver_sk);
    let queue = queue(number).filter(|queue| queue.sk == receiver_sk && queue.inode == inode)?;
    // A name that it has got it keeps; one without may get one.
    (queue.address != 0).then_some((
        queue.address,
        ReceiverState {
            rule: queue.rule,
            flags: queue.flags,
        },
    ))
}

/// Gives a receiving socket places, if there are any, or notes what is known of one that has. With its lock
/// held.
#[inline(never)]
pub fn claim(scratch: &mut Scratch, key: &ReceiverKey, state: u64) {
    let number = number_of(scratch, key.sk);
    let Some(queue) = queue(number) else {
        return;
    };
    if queue.sk != key.sk {
        // SAFETY: a helper without arguments.
        let now_ns = unsafe { bpf_ktime_get_ns() };
        let has_rested = queue.freed_ns == 0
            || queue.last_sk == key.sk
            || now_ns.wrapping_sub(queue.freed_ns) > REST_NS;
        let is_free = queue.sk == 0 && has_rested;
        // Of two that want them at once, one is the first.
        let claim = u64::from(number) << 32 | u64::from(queue.generation);
        if !is_free || CLAIMS.insert(claim, 1, u64::from(BPF_NOEXIST)).is_err() {
            return;
        }
    }
    queue.inode = key.inode;
    queue.address = key.address;
    queue.rule = state as u32;
    queue.flags = (state >> 32) as u32;
    queue.sk = key.sk;
}

/// A receiving socket is closed: another one may get its places, if it had some. What is known of it from
/// there, or nothing, which is what is known of one that nobody selects.
#[inline(always)]
pub fn close(scratch: &mut Scratch, receiver_sk: u64) -> ReceiverState {
    let number = number_of(scratch, receiver_sk);
    let Some(queue) = queue(number).filter(|queue| queue.sk == receiver_sk) else {
        return ReceiverState::from_word(0);
    };
    let known = ReceiverState {
        rule: queue.rule,
        flags: queue.flags,
    };
    for at in 0..PLACES_PER_QUEUE {
        if let Some(place) = PLACES.get_ptr_mut(number * PLACES_PER_QUEUE + at) {
            // SAFETY: a map's value; what is in it can't be received any more.
            unsafe { (*place).skb = 0 };
        }
    }
    // SAFETY: a helper without arguments.
    queue.freed_ns = unsafe { bpf_ktime_get_ns() };
    // This claim stays until the next one is given up, so that nobody can make it a second time.
    let before = u64::from(number) << 32 | u64::from(queue.generation.wrapping_sub(1));
    let _ = CLAIMS.remove(before);
    queue.generation = queue.generation.wrapping_add(1);
    queue.last_sk = receiver_sk;
    queue.sk = 0;
    known
}

/// A datagram is about to be queued; the receiver's lock is held.
#[inline(always)]
pub fn put(emitter: Emitter, scratch: &mut Scratch, skb: u64, queued: &Queued) -> Option<()> {
    let number = number_of(scratch, queued.receiver_sk);
    if queue(number)?.sk == queued.receiver_sk {
        let (one, other) = places(scratch, number, skb)?;
        // SAFETY: map values, valid as long as the programs; who may write them is said above.
        let (one, other) = unsafe { (&mut *one, &mut *other) };
        if other.skb == skb {
            // It was seen to come and not to go, and its buffer is used again.
            other.skb = 0;
        }
        let place = if one.skb == 0 || one.skb == skb {
            one
        } else {
            other
        };
        if place.skb == 0 || place.skb == skb {
            place.id = queued.id;
            place.sk = queued.sk;
            place.queued_ns = queued.queued_ns;
            place.rule = queued.rule;
            place.skb = skb;
            return Some(());
        }
    }
    if let Some(overflowed) = OVERFLOWED.get_ptr_mut(0) {
        // SAFETY: a map's value. Who takes the datagram out of the queue took the lock of that after us.
        unsafe { overflowed.write_volatile(1) };
    }
    put_in_table(emitter, skb, queued)
}

/// The same where no socket has places.
#[inline(always)]
pub fn put_in_table(emitter: Emitter, skb: u64, queued: &Queued) -> Option<()> {
    if QUEUED.insert(skb, queued, 0).is_err() {
        emit::counters(emitter)?.queued_full += 1;
    }
    Some(())
}

/// A buffer from a socket has left the queue of another one: what is known of it.
#[inline(always)]
pub fn take(scratch: &mut Scratch, skb: u64, sk: u64, receiver_sk: u64) -> Option<Queued> {
    let number = number_of(scratch, receiver_sk);
    let queue = queue(number)?;
    if queue.sk == receiver_sk {
        let (one, other) = places(scratch, number, skb)?;
        // SAFETY: map values, valid as long as the programs; who may write them is said above.
        let (one, other) = unsafe { (&mut *one, &mut *other) };
        let place = if one.skb == skb { one } else { other };
        if place.skb == skb {
            let queued = Queued {
                id: place.id,
                sk: place.sk,
                receiver_sk,
                receiver_inode: queue.inode,
                queued_ns: place.queued_ns,
                rule: place.rule,
                pad: 0,
            };
            place.skb = 0;
            return (queued.sk == sk).then_some(queued);
        }
    }
    let overflowed = OVERFLOWED.get_ptr_mut(0)?;
    // SAFETY: a map's value.
    if unsafe { overflowed.read_volatile() } == 0 {
        return None;
    }
    take_from_table(skb, sk, receiver_sk)
}

/// The same where no socket has places.
#[inline(always)]
pub fn take_from_table(skb: u64, sk: u64, receiver_sk: u64) -> Option<Queued> {
    // SAFETY: copied at once, and verified below.
    let queued: Queued = *unsafe { QUEUED.get(skb) }?;
    // The address may have been reused for a datagram of another socket.
    if queued.receiver_sk != receiver_sk || queued.sk != sk {
        return None;
    }
    let _ = QUEUED.remove(skb);
    Some(queued)
}

/// A datagram that was about to be queued was not. Its buffer was freed before; the address may carry another
/// one by now, which has another id.
#[inline(always)]
pub fn withdraw(scratch: &mut Scratch, skb: u64, id: u64, receiver_sk: u64) {
    let number = number_of(scratch, receiver_sk);
    if queue(number).is_some_and(|queue| queue.sk == receiver_sk)
        && let Some((one, other)) = places(scratch, number, skb)
    {
        // SAFETY: map values, valid as long as the programs; who may write them is said above.
        let (one, other) = unsafe { (&mut *one, &mut *other) };
        let place = if one.skb == skb { one } else { other };
        if place.skb == skb && place.id == id {
            place.skb = 0;
        }
    }
    withdraw_from_table(skb, id);
}

/// The same where no socket has places.
#[inline(always)]
pub fn withdraw_from_table(skb: u64, id: u64) {
    // SAFETY: copied at once; an entry that is replaced meanwhile has another id.
    let queued = unsafe { QUEUED.get(skb) }.map(|queued| queued.id);
    if queued == Some(id) {
        let _ = QUEUED.remove(skb);
    }
}
