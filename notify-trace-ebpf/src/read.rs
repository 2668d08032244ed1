//! Kernel memory by structure offset. The offsets are read-only globals that userspace fills from
//! the running kernel's BTF; the verifier sees constants and drops what an absent field disables.

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel as bpf_probe_read_kernel_raw;
use notify_trace_common::fields::ABSENT;
use notify_trace_common::kernel_fields;

macro_rules! offset_globals {
    ($(($global:ident, [$($candidate:literal),+], $feature:ident),)+) => {
        $(
            #[unsafe(no_mangle)]
            pub static $global: Global<u32> = Global::new(ABSENT);
        )+
    };
}
kernel_fields!(offset_globals);

/// Address of a field, or `None` where this kernel has no such field or `base` is null.
#[inline(always)]
pub fn field(base: u64, offset: &Global<u32>) -> Option<u64> {
    let offset = offset.load();
    if offset == ABSENT || base == 0 {
        return None;
    }
    Some(base + u64::from(offset))
}

/// Reads a field of an integer type.
#[inline(always)]
pub fn read<T: Copy>(base: u64, offset: &Global<u32>) -> Option<T> {
    load(field(base, offset)?)
}

/// Reads a field of an integer type; 0 where it can't be read, as the helper itself leaves it. One way less
/// for the verifier to follow than `read` and `unwrap_or`.
#[inline(always)]
pub fn read_or_0<T: Copy + Default>(base: u64, offset: &Global<u32>) -> T {
    let offset = offset.load();
    if offset == ABSENT {
        return T::default();
    }
    load_or_0(base.wrapping_add(u64::from(offset)))
}

/// Reads from any kernel address; 0 where it can't be read.
#[inline(always)]
pub fn load_or_0<T: Copy + Default>(address: u64) -> T {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of `value` whatever it answers (zeros if the address can't be read);
    // T is made of integers here, so any bytes are a value.
    unsafe {
        let _ = bpf_probe_read_kernel_raw(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        value.assume_init()
    }
}

/// Reads a field by a plain load, many times cheaper than by the helper. For trampolines only, and for
/// `base` that is an argument of theirs or was peeked from one: the verifier follows its type, refuses
/// a load that the kernel's type information has no field for, and makes one that faults answer 0.
#[inline(always)]
pub fn peek<T: Copy>(base: u64, offset: &Global<u32>) -> Option<T> {
    peek_at(base, offset.load())
}

/// The same at a sum of two offsets: a field of what lies in a field.
#[inline(always)]
pub fn peek_within<T: Copy>(base: u64, outer: &Global<u32>, inner: &Global<u32>) -> Option<T> {
    let (outer, inner) = (outer.load(), inner.load());
    if outer == ABSENT || inner == ABSENT {
        return None;
    }
    peek_at(base, outer + inner)
}

#[inline(always)]
fn peek_at<T: Copy>(base: u64, offset: u32) -> Option<T> {
    if offset == ABSENT {
        return None;
    }
    // SAFETY: what the verifier doesn't know to be a field is no program it lets be loaded; T is an
    // integer, so any bytes are a value.
    Some(unsafe { ((base + u64::from(offset)) as *const T).read_volatile() })
}

/// A way to read kernel memory.
pub trait Way {
    /// A field of an integer type or a pointer; 0 where it can't be read. (An `Option` of each makes the
    /// compiler leave registers undefined that only it knows not to matter.)
    fn get<T: Copy + Default>(base: u64, offset: &Global<u32>) -> T;
    /// The same, or that it can't be read.
    fn find<T: Copy>(base: u64, offset: &Global<u32>) -> Option<T>;
    /// As `get`, of what lies in a field.
    fn get_within<T: Copy + Default>(base: u64, outer: &Global<u32>, inner: &Global<u32>) -> T;
}

/// By the helper, from any address.
pub struct ByHelper;
/// By plain loads, from a pointer with a type.
pub struct ByLoad;

impl ByLoad {
    /// As `get`, so many bytes behind the beginning of a field.
    #[inline(always)]
    pub fn get_behind<T: Copy + Default>(base: u64, offset: &Global<u32>, bytes: u32) -> T {
        match offset.load() {
            ABSENT => T::default(),
            offset => peek_at(base, offset + bytes).unwrap_or_default(),
        }
    }
}

impl Way for ByHelper {
    #[inline(always)]
    fn get<T: Copy + Default>(base: u64, offset: &Global<u32>) -> T {
        read_or_0(base, offset)
    }

    #[inline(always)]
    fn find<T: Copy>(base: u64, offset: &Global<u32>) -> Option<T> {
        read(base, offset)
    }

    #[inline(always)]
    fn get_within<T: Copy + Default>(base: u64, outer: &Global<u32>, inner: &Global<u32>) -> T {
        match field(base, outer) {
            Some(base) => read_or_0(base, inner),
            None => T::default(),
        }
    }
}

impl Way for ByLoad {
    #[inline(always)]
    fn get<T: Copy + Default>(base: u64, offset: &Global<u32>) -> T {
        peek(base, offset).unwrap_or_default()
    }

    #[inline(always)]
    fn find<T: Copy>(base: u64, offset: &Global<u32>) -> Option<T> {
        peek(base, offset)
    }

    #[inline(always)]
    fn get_within<T: Copy + Default>(base: u64, outer: &Global<u32>, inner: &Global<u32>) -> T {
        peek_within(base, outer, inner).unwrap_or_default()
    }
}

/// Two fields of which one directly follows the other, as the kernel has them: a pointer or an integer of
/// four bytes in each.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Pair<A, B> {
    /// The first.
    pub first: A,
    /// The second, eight bytes behind.
    pub second: B,
}

/// Reads two fields, by one look where they are neighbours; 0 where they can't be read.
#[inline(always)]
pub fn read_pair<A: Copy + Default, B: Copy + Default>(
    base: u64,
    first: &Global<u32>,
    second: &Global<u32>,
) -> Pair<A, B> {
    if second.load() == first.load().wrapping_add(8) {
        return read_or_0(base, first);
    }
    Pair {
        first: read_or_0(base, first),
        second: read_or_0(base, second),
    }
}

/// The same by their offsets, both of which are known.
#[inline(always)]
pub fn load_pair<A: Copy + Default, B: Copy + Default>(
    base: u64,
    first: u32,
    second: u32,
) -> Pair<A, B> {
    if second == first.wrapping_add(8) {
        return load_or_0(base.wrapping_add(u64::from(first)));
    }
    Pair {
        first: load_or_0(base.wrapping_add(u64::from(first))),
        second: load_or_0(base.wrapping_add(u64::from(second))),
    }
}

/// Reads a pointer field; null is `None`.
#[inline(always)]
pub fn pointer(base: u64, offset: &Global<u32>) -> Option<u64> {
    match read::<u64>(base, offset) {
        Some(0) | None => None,
        some => some,
    }
}

/// Reads from any kernel address.
#[inline(always)]
pub fn load<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address itself and answers an error for one that can't be
    // read; T is an integer or a byte array here, so any bytes are a value.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}
