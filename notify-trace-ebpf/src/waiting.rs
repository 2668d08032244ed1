//! Datagrams in queues: what is known of one from the moment it is about to be queued until it leaves.
//!
//! In the plan of trampolines a receiving socket has a few places of its own, for a hash whose entries age
//! costs more than all other maps together. Nothing races for a place: what is put there is put with the
//! receiver's own lock held (`unix_state_lock` in `unix_dgram_sendmsg`), one datagram after the other, and
//! who takes one out looks only for that which the kernel has just given to it, reads it, and frees its place
//! last. A socket for which there are no places, and a datagram that finds its places taken, go to `QUEUED`, as
//! they all do in the plan of probes.
//!
//! Where the places of two sockets would be the same, the first one has them until it is closed. A program
//! that was begun before that may still be at work, so they rest for a while before another socket gets
//! them. Not before one at the same address: who holds the lock of a `struct sock` keeps it from being used again.
//! A socket that is being closed may be sent to once more; it gets none anew.
//!
//! A datagram that was seen to come and not to go keeps its place until its buffer comes again or its receiver
//! is closed (a send that failed with its end missed, a queue that was purged): the others go to the hash then.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use notify_trace_common::limits::{Emitter, PLACES_PER_QUEUE, QUEUES_WITH_PLACES};

use crate::emit::{self, Loss};
use crate::maps::{
    CLAIMS, OVERFLOWED, PLACES, Place, QUEUED, QUEUES, Queue, Queued, RECEIVER_HAS_PLACES,
    ReceiverKey, ReceiverState, Scratch,
};

/// How long places rest between two sockets: much longer than a program runs, also one on a virtual CPU that
/// stands still meanwhile.
const REST_NS: u64 = 10_000_000_000;

const _: () = assert!(PLACES_PER_QUEUE.is_power_of_two() && QUEUES_WITH_PLACES.is_power_of_two());

/// The number of a receiving socket's places, in its lowest bits.
#[inline(always)]
fn number_of(scratch: &mut Scratch, receiver_sk: u64) -> u32 {
    let mixed = (emit::number(scratch, receiver_sk) >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as u32
}

/// Who has the places of a number for the so-manieth time: a key of `CLAIMS`.
#[inline(always)]
fn claim_of(number: u32, generation: u32) -> u64 {
    u64::from(number & (QUEUES_WITH_PLACES - 1)) << 32 | u64::from(generation)
}

#[inline(always)]
fn queue(number: u32) -> &'static mut Queue {
    // SAFETY: valid as long as the programs. It is written by who holds its owner's lock, or
    // made or gave up its claim; all others compare `sk`, and read what doesn't change while that is theirs.
    unsafe { &mut *QUEUES.place(number) }
}

/// Whose places they are now, by any CPU.
#[inline(always)]
fn owner_of(queue: &Queue) -> u64 {
    // SAFETY: a field, aligned; volatile, so that it is read here, and once.
    unsafe { (&raw const queue.sk).read_volatile() }
}

/// The same if the places are this socket's.
#[inline(always)]
fn queue_of(number: u32, receiver_sk: u64) -> Option<&'static mut Queue> {
    let queue = queue(number);
    (owner_of(queue) == receiver_sk).then_some(queue)
}

/// Writes a field in the order that is said here: another CPU may look at it.
#[inline(always)]
fn write<T>(field: &mut T, value: T) {
    // SAFETY: a reference, so valid; volatile, so that the order stays.
    unsafe { (&raw mut *field).write_volatile(value) };
}

/// A place, read and written field by field in the order that is said here: another CPU may look at it.
#[derive(Clone, Copy)]
struct At(*mut Place);

impl At {
    #[inline(always)]
    fn skb(self) -> u64 {
        // SAFETY: a field of a place, aligned, valid as long as the programs; so below.
        unsafe { (&raw const (*self.0).skb).read_volatile() }
    }

    #[inline(always)]
    fn id(self) -> u64 {
        // SAFETY: as above.
        unsafe { (&raw const (*self.0).id).read_volatile() }
    }

    #[inline(always)]
    fn free(self) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.0).skb).write_volatile(0) };
    }

    /// Fills a place that is free, or that has what is to be replaced.
    #[inline(always)]
    fn fill(self, skb: u64, queued: &Queued) {
        // SAFETY: as above.
        unsafe {
            (&raw mut (*self.0).id).write_volatile(queued.id);
            (&raw mut (*self.0).sk).write_volatile(queued.sk);
            (&raw mut (*self.0).queued_ns).write_volatile(queued.queued_ns);
            (&raw mut (*self.0).rule).write_volatile(queued.rule);
            (&raw mut (*self.0).skb).write_volatile(skb);
        }
    }

    /// Reads what is here, and frees the place.
    #[inline(always)]
    fn empty(self, receiver_sk: u64, receiver_inode: u64) -> Queued {
        // SAFETY: as above.
        let queued = unsafe {
            Queued {
                id: (&raw const (*self.0).id).read_volatile(),
                sk: (&raw const (*self.0).sk).read_volatile(),
                receiver_sk,
                receiver_inode,
                queued_ns: (&raw const (*self.0).queued_ns).read_volatile(),
                rule: (&raw const (*self.0).rule).read_volatile(),
                pad: 0,
            }
        };
        self.free();
        queued
    }
}

/// A place of a number. Not by the sum of both, of which some verifiers (Linux 5.10) don't know how large it gets.
#[inline(always)]
fn place(number: u32, at: u32) -> At {
    let first: *mut Place = PLACES.place(number).cast();
    // SAFETY: inside the places of that number by the mask.
    At(unsafe { first.add((at & (PLACES_PER_QUEUE - 1)) as usize) })
}

/// The two places that a buffer may be at.
#[inline(always)]
fn places(scratch: &mut Scratch, number: u32, skb: u64) -> (At, At) {
    // The kernel's buffers lie 256 bytes apart.
    let at = (emit::number(scratch, skb) >> 8) as u32 & (PLACES_PER_QUEUE - 1);
    (place(number, at), place(number, at ^ 1))
}

/// The one that it is at.
#[inline(always)]
fn place_with(scratch: &mut Scratch, number: u32, skb: u64) -> Option<At> {
    let (one, other) = places(scratch, number, skb);
    let place = if one.skb() == skb { one } else { other };
    (place.skb() == skb).then_some(place)
}

/// Frees all places of a number.
#[inline(always)]
fn free_all(number: u32) {
    for at in 0..PLACES_PER_QUEUE {
        place(number, at).free();
    }
}

/// What is known of a receiving socket that has places, and its address.
#[inline(always)]
pub fn state_of(
    scratch: &mut Scratch,
    receiver_sk: u64,
    inode: u64,
) -> Option<(u64, ReceiverState)> {
    let number = number_of(scratch, receiver_sk);
    let queue = queue_of(number, receiver_sk).filter(|queue| queue.inode == inode)?;
    // A name that it has got it keeps; one without may get one.
    (queue.address != 0).then_some((
        queue.address,
        ReceiverState {
            rule: queue.rule,
            flags: queue.flags | RECEIVER_HAS_PLACES,
        },
    ))
}

/// Gives a receiving socket places, if there are any, or notes what is known of one that has. With its lock
/// held.
#[inline(never)]
pub fn claim(scratch: &mut Scratch, key: &ReceiverKey, state: u64) {
    let number = number_of(scratch, key.sk);
    let queue = queue(number);
    let owner = owner_of(queue);
    if owner == key.sk {
        if queue.inode != key.inode {
            // The end of one at the same address was missed.
            free_all(number);
        }
    } else {
        let is_same_address = queue.last_sk == key.sk;
        // SAFETY: a helper without arguments.
        let now_ns = unsafe { bpf_ktime_get_ns() };
        let has_rested =
            queue.freed_ns == 0 || is_same_address || now_ns.wrapping_sub(queue.freed_ns) > REST_NS;
        let is_being_closed = is_same_address && queue.inode == key.inode;
        let generation = queue.generation;
        // Of two that want them at once, one is the first.
        let claim = claim_of(number, generation);
        if owner != 0
            || !has_rested
            || is_being_closed
            || CLAIMS.insert(claim, 1, u64::from(BPF_NOEXIST)).is_err()
        {
            return;
        }
        let generation_now = &raw const queue.generation;
        // SAFETY: a field, aligned. Who stood still before the insertion may be late.
        if unsafe { generation_now.read_volatile() } != generation {
            return;
        }
        free_all(number);
        write(&mut queue.spilled, 0);
    }
    write(&mut queue.inode, key.inode);
    write(&mut queue.address, key.address);
    write(&mut queue.rule, state as u32);
    write(&mut queue.flags, (state >> 32) as u32);
    // Last, for it says whose the rest is.
    write(&mut queue.sk, key.sk);
}

/// A receiving socket is closed: another one may get its places, if it had some. What is known of it from
/// there, or nothing, which is what is known of one that nobody selects.
#[inline(always)]
pub fn close(scratch: &mut Scratch, receiver_sk: u64, inode: u64) -> ReceiverState {
    let number = number_of(scratch, receiver_sk);
    let Some(queue) = queue_of(number, receiver_sk) else {
        return ReceiverState::NOTHING;
    };
    let known = if queue.inode == inode {
        ReceiverState {
            rule: queue.rule,
            flags: queue.flags,
        }
    } else {
        ReceiverState::NOTHING
    };
    free_all(number);
    // SAFETY: a helper without arguments.
    write(&mut queue.freed_ns, unsafe { bpf_ktime_get_ns() });
    // This claim stays until the next one is given up, so that nobody can make it a second time.
    let before = claim_of(number, queue.generation.wrapping_sub(1));
    let _ = CLAIMS.remove(before);
    write(&mut queue.last_sk, receiver_sk);
    let generation = queue.generation.wrapping_add(1);
    write(&mut queue.generation, generation);
    // Last, for then others may have the rest.
    write(&mut queue.sk, 0);
    known
}

/// A datagram is about to be queued; the receiver's lock is held.
#[inline(always)]
pub fn put(emitter: Emitter, scratch: &mut Scratch, skb: u64, queued: &Queued) {
    let number = number_of(scratch, queued.receiver_sk);
    if let Some(queue) = queue_of(number, queued.receiver_sk) {
        let (one, other) = places(scratch, number, skb);
        if other.skb() == skb {
            // It was seen to come and not to go, and its buffer is used again.
            other.free();
        }
        let place = if one.skb() == 0 || one.skb() == skb {
            one
        } else {
            other
        };
        if place.skb() == 0 || place.skb() == skb {
            place.fill(skb, queued);
            return;
        }
        write(&mut queue.spilled, 1);
    } else {
        let overflowed = OVERFLOWED.place(0);
        // SAFETY: an aligned integer. Who takes the datagram out of the queue takes the lock of that after us. Other
        // CPUs read what lies beside it, so it is not written in vain.
        unsafe {
            if overflowed.read_volatile() == 0 {
                overflowed.write_volatile(1);
            }
        }
    }
    put_in_table(emitter, skb, queued);
}

/// The same where no socket has places.
#[inline(always)]
pub fn put_in_table(emitter: Emitter, skb: u64, queued: &Queued) {
    if QUEUED.insert(skb, queued, 0).is_err() {
        emit::count(emitter, Loss::QueuedFull);
    }
}

/// A buffer from a socket has left the queue of another one: what is known of it.
#[inline(always)]
pub fn take(scratch: &mut Scratch, skb: u64, sk: u64, receiver_sk: u64) -> Option<Queued> {
    let number = number_of(scratch, receiver_sk);
    let is_in_table = match queue_of(number, receiver_sk) {
        Some(queue) => {
            if let Some(place) = place_with(scratch, number, skb) {
                let queued = place.empty(receiver_sk, queue.inode);
                return (queued.sk == sk).then_some(queued);
            }
            queue.spilled
        }
        // SAFETY: an aligned integer.
        None => unsafe { OVERFLOWED.place(0).read_volatile() },
    };
    if is_in_table == 0 {
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

/// A datagram that was about to be queued was not, or is so once more. Where it was not, its buffer was freed
/// before; the address may carry another one by now, which has another id.
#[inline(never)]
pub fn withdraw(scratch: &mut Scratch, skb: u64, id: u64, receiver_sk: u64) {
    let number = number_of(scratch, receiver_sk);
    if queue_of(number, receiver_sk).is_some()
        && let Some(place) = place_with(scratch, number, skb)
        && place.id() == id
    {
        place.free();
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
