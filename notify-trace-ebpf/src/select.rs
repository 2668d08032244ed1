//! Is this a notify socket? Three look-ups, however many rules there are: whole address, beginning
//! (a trie), end (a trie over reversed bytes). A rule that these can't express is put in as its
//! longest literal end or beginning; userspace checks the rest.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{
    bpf_map_lookup_elem, bpf_probe_read_kernel, bpf_probe_read_kernel_str,
};
use notify_trace_common::address::{ADDRESS_MAX, Address};

use crate::emit::{at_most, bounded, clear_address, copy_words};
use crate::maps::{EXACT, PREFIXES, SUFFIXES, Scratch, VERDICT_PLACES, VERDICTS};
use crate::read::{
    UNIX_ADDRESS_LEN, UNIX_ADDRESS_NAME, UNIX_SOCK_ADDR, field, load, pointer, read,
};

/// Bytes before `sun_path` in `struct sockaddr_un`: the family.
pub const FAMILY_BYTES: u64 = 2;

/// Copies the name at `path`, `len` bytes long, to the room's address. A path ends at its first
/// NUL (some senders pass the whole `sockaddr_un`), an abstract name has every byte of its length.
#[inline(never)]
fn take_name(scratch: &mut Scratch, path: u64, len: u32) -> bool {
    clear_address(scratch);
    let len = at_most::<{ ADDRESS_MAX as u32 }, 127>(&mut scratch.bound, len);
    if len == 0 {
        return false;
    }
    let Some(first) = load::<u8>(path) else {
        return false;
    };
    let bytes = scratch.address.bytes.as_mut_ptr();
    if first == 0 {
        // SAFETY: at most ADDRESS_MAX bytes go to a field of that size.
        if unsafe { bpf_probe_read_kernel(bytes.cast(), len, path as *const _) } != 0 {
            return false;
        }
        scratch.address.len = len;
        return true;
    }
    // The helper ends what it copies with a NUL. That one lands in the last byte of the field for
    // a path of full length, so the byte it replaced is put back.
    // SAFETY: at most ADDRESS_MAX bytes go to a field of that size.
    let copied = unsafe { bpf_probe_read_kernel_str(bytes.cast(), len, path as *const _) };
    if copied <= 0 {
        return false;
    }
    let mut used = copied as u32 - 1;
    if copied as u32 == len
        && let Some(last) = load::<u8>(path + u64::from(len) - 1)
        && last != 0
    {
        let at = bounded::<127>(&mut scratch.bound, used);
        // SAFETY: `used` is below `len`, so inside the address.
        unsafe { *bytes.add(at as usize) = last };
        used += 1;
    }
    scratch.address.len = used;
    true
}

/// Takes the name of a `struct sockaddr_un` in kernel memory, as it was passed to a system call.
#[inline(always)]
pub fn take_sockaddr(scratch: &mut Scratch, sockaddr: u64, len: u32) -> bool {
    if sockaddr == 0 || u64::from(len) <= FAMILY_BYTES {
        return false;
    }
    take_name(scratch, sockaddr + FAMILY_BYTES, len - FAMILY_BYTES as u32)
}

/// Takes the name that a `struct sock` is bound to.
#[inline(always)]
pub fn take_bound(scratch: &mut Scratch, sk: u64) -> bool {
    let Some(address) = pointer(sk, &UNIX_SOCK_ADDR) else {
        return false;
    };
    let Some(len) = read::<u32>(address, &UNIX_ADDRESS_LEN) else {
        return false;
    };
    let Some(name) = field(address, &UNIX_ADDRESS_NAME) else {
        return false;
    };
    take_sockaddr(scratch, name, len)
}

/// The rule that the address matches which a sender wrote, 0 if none; if there is one, the address is left
/// in the room. What the rules said of it is kept for the next one who writes the same bytes; `len` is
/// without the family, and not 0.
#[inline(always)]
pub fn rule_of_written(scratch: &mut Scratch, path: u64, len: u32) -> u32 {
    let len = at_most::<{ ADDRESS_MAX as u32 }, 127>(&mut scratch.bound, len);
    // Most names are short.
    let known = if len as usize <= SHORT_WORDS * 8 - size_of::<u32>() {
        known_rule::<SHORT_WORDS>(scratch, path, len)
    } else {
        known_rule::<WORDS>(scratch, path, len)
    };
    if known != UNKNOWN {
        return known as u32;
    }
    find_rule(scratch, path, len)
}

/// Words of an address.
const WORDS: usize = size_of::<Address>() / 8;

/// Words that hold the length and a name of up to 52 bytes.
const SHORT_WORDS: usize = 7;

/// No rule has this number.
const UNKNOWN: u64 = 1 << 32;

/// What was said of a name that lies in the first so many words of an address.
#[inline(never)]
fn known_rule<const N: usize>(scratch: &mut Scratch, path: u64, len: u32) -> u64 {
    let len = bounded::<127>(&mut scratch.bound, len);
    clear(&mut scratch.address, 0, N);
    let bytes = scratch.address.bytes.as_mut_ptr();
    if len > ADDRESS_MAX as u32 {
        return 0;
    }
    // SAFETY: at most ADDRESS_MAX bytes go to a field of that size.
    if unsafe { bpf_probe_read_kernel(bytes.cast(), len, path as *const _) } != 0 {
        return 0;
    }
    scratch.address.len = len;
    let place = place_of::<N>(&scratch.address) & (VERDICT_PLACES - 1);
    scratch.place = place;
    let Some(place) = VERDICTS.get_ptr_mut(place) else {
        return 0;
    };
    // SAFETY: a value of this CPU; programs that look here aren't preempted (the plan is for such
    // kernels only) and don't interrupt each other.
    let place = unsafe { &mut *place };
    if !is_same::<N>(&place.name, &scratch.address) {
        clear(&mut scratch.address, N, WORDS);
        // SAFETY: both lie 8-byte aligned in map values.
        unsafe { copy_words(&raw mut place.name, &raw const scratch.address) };
        place.rule = 0;
        place.used = 0;
        return UNKNOWN;
    }
    if place.rule == 0 {
        return 0;
    }
    clear(&mut scratch.address, N, WORDS);
    // At most a NUL stands behind the address, so what is left of it is zero.
    if place.used + 1 < len {
        return UNKNOWN;
    }
    scratch.address.len = place.used;
    u64::from(place.rule)
}

/// Takes the name, and keeps what the rules say of it.
#[inline(never)]
fn find_rule(scratch: &mut Scratch, path: u64, len: u32) -> u32 {
    let rule = if take_name(scratch, path, len) {
        rule(scratch)
    } else {
        0
    };
    if let Some(place) = VERDICTS.get_ptr_mut(scratch.place) {
        // SAFETY: as in `known_rule`.
        let place = unsafe { &mut *place };
        place.used = scratch.address.len;
        place.rule = rule;
    }
    rule
}

/// Word by word, because the compiler's own loops go byte by byte.
#[inline(always)]
fn words(address: &Address) -> *const u64 {
    (&raw const *address).cast()
}

/// Zeroes the words from one on, up to another.
#[inline(always)]
fn clear(address: &mut Address, from: usize, to: usize) {
    let words: *mut u64 = (&raw mut *address).cast();
    for word in from..to {
        // SAFETY: inside the address, which lies 8-byte aligned in a map value.
        unsafe { words.add(word).write_volatile(0) };
    }
}

/// Whether two addresses are the same whose names lie in the first so many words: their lengths say so.
/// Without a branch in the loop: each would be a way that the verifier follows to the program's end.
#[inline(always)]
fn is_same<const N: usize>(one: &Address, other: &Address) -> bool {
    let mut difference = 0;
    for word in 0..N {
        // SAFETY: as in `clear`.
        difference |= unsafe {
            words(one).add(word).read_volatile() ^ words(other).add(word).read_volatile()
        };
    }
    difference == 0
}

/// A number that spreads addresses.
#[inline(always)]
fn place_of<const N: usize>(address: &Address) -> u32 {
    let mut sum = 0_u64;
    for word in 0..N {
        // SAFETY: as in `clear`.
        let next = unsafe { words(address).add(word).read_volatile() };
        sum = (sum ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (sum >> 40) as u32
}

/// Where names end in a window.
const WINDOW_END: usize = 128;

/// The rule that the taken name matches, 0 if none.
#[inline(never)]
pub fn rule(scratch: &mut Scratch) -> u32 {
    // SAFETY: an integer that only userspace writes, before anything is attached.
    if let Some(rule) = unsafe { EXACT.get(&scratch.address) } {
        return *rule;
    }
    let len = bounded::<127>(&mut scratch.bound, scratch.address.len);
    // The address itself is a key, but for how its length is told.
    scratch.address.len = len * 8;
    let found = look_up(
        (&raw const PREFIXES).cast(),
        (&raw const scratch.address).cast(),
    );
    scratch.address.len = len;
    if found != 0 {
        return found;
    }
    // The name ends where the window's words do. What stands before it comes behind it in the key, where a trie
    // doesn't look.
    let window = scratch.window.as_mut_ptr();
    let start = bounded::<127>(&mut scratch.bound, (WINDOW_END as u32).wrapping_sub(len));
    // SAFETY: at most 127 bytes go to one of the first 128 places of the window, which has room for twice as
    // many; they come from a field of the same room.
    unsafe {
        bpf_probe_read_kernel(
            window.add(start as usize).cast(),
            len,
            scratch.address.bytes.as_ptr().cast(),
        )
    };
    scratch.key.prefix_bits = len * 8;
    let key = scratch.key.bytes.as_mut_ptr();
    // SAFETY: inside both, which lie 8-byte aligned in a map value (asserted in `maps`).
    unsafe {
        let end = window.add(WINDOW_END);
        for word in 0..ADDRESS_MAX / 8 {
            let from = end.cast::<u64>().sub(word + 1).read_volatile();
            key.cast::<u64>()
                .add(word)
                .write_volatile(from.swap_bytes());
        }
        let rest = const { ADDRESS_MAX / 8 * 2 };
        let from = end.cast::<u32>().sub(rest + 1).read_volatile();
        key.cast::<u32>()
            .add(rest)
            .write_volatile(from.swap_bytes());
    }
    look_up(
        (&raw const SUFFIXES).cast(),
        (&raw const scratch.key).cast(),
    )
}

#[inline(always)]
fn look_up(trie: *const c_void, key: *const c_void) -> u32 {
    // SAFETY: the map is a trie of this object with a u32 as value; the callers give it keys of its type, or of
    // the same layout.
    let value = unsafe { bpf_map_lookup_elem(trie.cast_mut(), key).cast::<u32>() };
    if value.is_null() {
        0
    } else {
        // SAFETY: not null, so it is a value of the map.
        unsafe { *value }
    }
}
