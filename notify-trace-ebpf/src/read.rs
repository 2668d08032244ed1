//! Kernel memory by structure offset. The offsets are read-only globals that userspace fills from
//! the running kernel's BTF; the verifier sees constants and drops what an absent field disables.

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_probe_read_kernel;
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
