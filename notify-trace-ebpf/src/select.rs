//! Is this a notify socket? Three look-ups, however many rules there are: whole address, beginning
//! (a trie), end (a trie over reversed bytes). A rule that these can't express is put in as its
//! longest literal end or beginning; userspace checks the rest.

use aya_ebpf::helpers::generated::{
    bpf_map_lookup_elem, bpf_probe_read_kernel, bpf_probe_read_kernel_str,
};
use notify_trace_common::address::{ADDRESS_MAX, Address};

use crate::emit::bounded;
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
    scratch.address = Address::EMPTY;
    let len = bounded::<127>(&mut scratch.bound, len.min(ADDRESS_MAX as u32));
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

/// The rule that the address matches which a sender wrote, 0 if none. What the rules said of it is
/// kept for the next one who writes the same bytes; `len` is without the family, and not 0.
#[inline(always)]
pub fn rule_of_written(scratch: &mut Scratch, path: u64, len: u32) -> u32 {
    let len = bounded::<127>(&mut scratch.bound, len.min(ADDRESS_MAX as u32));
    clear(&mut scratch.address);
    let bytes = scratch.address.bytes.as_mut_ptr();
    // SAFETY: at most ADDRESS_MAX bytes go to a field of that size.
    if unsafe { bpf_probe_read_kernel(bytes.cast(), len, path as *const _) } != 0 {
        return 0;
    }
    scratch.address.len = len;
    let Some(place) = VERDICTS.get_ptr_mut(place_of(&scratch.address) & (VERDICT_PLACES - 1))
    else {
        return 0;
    };
    // SAFETY: a value of this CPU; programs that look here aren't preempted (the plan is for such
    // kernels only) and don't interrupt each other.
    let place = unsafe { &mut *place };
    if is_same(&place.name, &scratch.address) {
        return place.rule;
    }
    copy(&mut place.name, &scratch.address);
    place.rule = 0;
    if take_name(scratch, path, len) {
        place.rule = rule(scratch);
    }
    place.rule
}

/// Words of an address.
const WORDS: usize = size_of::<Address>() / 8;

/// Word by word, because the compiler's own loops go byte by byte.
#[inline(always)]
fn words(address: &Address) -> *const u64 {
    (&raw const *address).cast()
}

#[inline(always)]
fn clear(address: &mut Address) {
    let to: *mut u64 = (&raw mut *address).cast();
    for word in 0..WORDS {
        // SAFETY: inside the address, which lies 8-byte aligned in a map value.
        unsafe { to.add(word).write_volatile(0) };
    }
}

#[inline(always)]
fn copy(to: &mut Address, from: &Address) {
    let (to, from): (*mut u64, _) = ((&raw mut *to).cast(), words(from));
    for word in 0..WORDS {
        // SAFETY: inside both, which lie 8-byte aligned in map values.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}

/// Whether two addresses are the same. Without a branch in the loop: each would be a way that the verifier
/// follows to the program's end.
#[inline(always)]
fn is_same(one: &Address, other: &Address) -> bool {
    let mut difference = 0;
    for word in 0..WORDS {
        // SAFETY: as in `copy`.
        difference |= unsafe {
            words(one).add(word).read_volatile() ^ words(other).add(word).read_volatile()
        };
    }
    difference == 0
}

/// A number that spreads addresses.
#[inline(always)]
fn place_of(address: &Address) -> u32 {
    let mut sum = 0_u64;
    for word in 0..WORDS {
        // SAFETY: as in `copy`.
        let next = unsafe { words(address).add(word).read_volatile() };
        sum = (sum ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (sum >> 40) as u32
}

/// The rule that the taken name matches, 0 if none.
#[inline(never)]
pub fn rule(scratch: &mut Scratch) -> u32 {
    // SAFETY: an integer that only userspace writes, before anything is attached.
    if let Some(rule) = unsafe { EXACT.get(&scratch.address) } {
        return *rule;
    }
    let len = bounded::<127>(&mut scratch.bound, scratch.address.len);
    scratch.key.prefix_bits = len * 8;
    scratch.key.bytes = scratch.address.bytes;
    let found = look_up((&raw const PREFIXES).cast(), scratch);
    if found != 0 {
        return found;
    }
    // The bytes stand at 128.. of a window of zeros; read backwards from their end, they are
    // followed by zeros again, whatever their length.
    for (to, from) in scratch.window[128..128 + ADDRESS_MAX]
        .iter_mut()
        .zip(&scratch.address.bytes)
    {
        *to = *from;
    }
    let window = scratch.window.as_ptr();
    for i in 0..ADDRESS_MAX {
        // SAFETY: 128 + (0..=127) - 1 - (0..=107) lies in 20..=254 of 256 bytes.
        scratch.key.bytes[i] = unsafe { *window.add(127 + len as usize - i) };
    }
    look_up((&raw const SUFFIXES).cast(), scratch)
}

#[inline(always)]
fn look_up(trie: *const core::ffi::c_void, scratch: &mut Scratch) -> u32 {
    // SAFETY: the map is a trie of this object with a key of that type and a u32 as value.
    let value = unsafe {
        bpf_map_lookup_elem(trie.cast_mut(), (&raw const scratch.key).cast()).cast::<u32>()
    };
    if value.is_null() {
        0
    } else {
        // SAFETY: not null, so it is a value of the map.
        unsafe { *value }
    }
}
