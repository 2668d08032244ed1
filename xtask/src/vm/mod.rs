//! Virtual machines: a Debian kernel, an initramfs of ours, QEMU, and what the guest said.
//!
//! ```text
//! kernel ─┐
//! initramfs ├─▶ qemu ──lines of the serial port──▶ verdict
//! image  ─┘      ▲
//!           emulator
//! ```

pub mod emulator;
pub mod image;
pub mod initramfs;
pub mod kernel;
pub mod modules;
pub mod qemu;
pub mod verdict;
