//! Builds the kernel side with aya-build, so that `cargo build` is enough.
//!
//! The toolchain for it is found in this order: `NOTIFY_TRACE_BPF_TOOLCHAIN`; a rustup nightly that
//! has rust-src; a distribution's compiler that was linked as `notify-trace-distro`. `cargo xtask
//! setup` provides one of them, and bpf-linker.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

const LINKER: &str = "bpf-linker";
/// What the kernel side is built to.
const OBJECTS: [&str; 2] = ["notify-trace-ebpf", "notify-trace-queues"];
const HELP: &str = "run `cargo xtask setup`, which provides what is missing";

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed=NOTIFY_TRACE_BPF_TOOLCHAIN");
    println!("cargo:rerun-if-env-changed=PATH");
    // Asked for now, not when this was compiled: two checkouts may share a target folder.
    let manifest_dir = env::var("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?;
    let root_dir = format!("{manifest_dir}/../notify-trace-ebpf");
    let is_skipped =
        env::var_os("AYA_BUILD_SKIP").is_some_and(|skip| skip == "1" || skip == "true");
    let folder = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    if is_skipped {
        // A check-only job: the agent compiles, but has no programs to load.
        for object in OBJECTS {
            write(&folder.join(object), &[])?;
        }
    }
    let mut toolchain = String::from("none");
    if !is_skipped {
        toolchain = find_toolchain()?;
        let sysroot = sysroot(&toolchain).unwrap_or_default();
        if !Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/core")
            .exists()
        {
            bail!("toolchain {toolchain} has no source of `core` (component rust-src); {HELP}");
        }
        put_linker_on_path()?;
        if !toolchain.starts_with("nightly") {
            // `-Z build-std=core` with a compiler that is not a nightly.
            // SAFETY: a build script has one thread at this point.
            unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
        }
    }
    // So that the object, which is part of the program, doesn't tell where it was built: aya-build has
    // its own flags for the compiler.
    // SAFETY: a build script has one thread at this point.
    unsafe {
        env::set_var("CARGO_UNSTABLE_TRIM_PATHS", "true");
        env::set_var("CARGO_PROFILE_RELEASE_TRIM_PATHS", "all");
    }
    // aya-build shows every line of the inner cargo as a warning: leave only what is one.
    // SAFETY: a build script has one thread at this point.
    unsafe { env::set_var("CARGO_TERM_QUIET", "true") };
    let features: &[&str] = if env::var_os("CARGO_FEATURE_KERNEL_LOG").is_some() {
        &["log"]
    } else {
        &[]
    };
    aya_build::build_ebpf(
        [Package {
            name: "notify-trace-ebpf",
            root_dir: &root_dir,
            features,
            ..Package::default()
        }],
        Toolchain::Custom(&toolchain),
    )
    .with_context(|| {
        format!("the kernel side does not build with toolchain {toolchain}; {HELP}")
    })?;
    if !is_skipped {
        for object in OBJECTS {
            let path = folder.join(object);
            let stripped = without_dwarf(&read(&path)?)
                .with_context(|| format!("cannot strip {}", path.display()))?;
            write(&path, &stripped)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// An object without DWARF: four fifths of it, which nobody reads, since the kernel's debug information (BTF) stays;
/// but aya puts all relocations into tables before it loads a program.
fn without_dwarf(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in builder.sections.iter_mut() {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    builder.delete_orphans();
    // LLVM puts names of sections and of symbols into one table, which the builder does not.
    let is_of_sections = |data: &SectionData| matches!(data, SectionData::SectionString);
    if !builder.sections.iter().any(|it| is_of_sections(&it.data)) {
        let names = builder.sections.add();
        names.name = b".shstrtab"[..].into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// Name of the rustup toolchain that compiles the kernel side.
fn find_toolchain() -> Result<String> {
    if let Ok(name) = env::var("NOTIFY_TRACE_BPF_TOOLCHAIN") {
        return Ok(name);
    }
    for name in ["nightly", "notify-trace-distro"] {
        if sysroot(name).is_some_and(|root| {
            Path::new(&root)
                .join("lib/rustlib/src/rust/library/core")
                .exists()
        }) {
            return Ok(name.to_owned());
        }
    }
    bail!(
        "no toolchain for the kernel side: neither a rustup nightly with rust-src nor a linked \
         distribution toolchain was found; {HELP}"
    )
}

/// Where a rustup toolchain lives, if there is one of that name.
fn sysroot(toolchain: &str) -> Option<String> {
    let output = Command::new("rustup")
        .args(["run", toolchain, "rustc", "--print", "sysroot"])
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes bpf-linker found: on the path, or in the cache where `cargo xtask setup` builds it.
fn put_linker_on_path() -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|dir| dir.join(LINKER).is_file()) {
        return Ok(());
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .map(|cache| cache.join("notify-trace/tools"))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    let found = std::fs::read_dir(&cache)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .find(|bin| bin.join(LINKER).is_file());
    let Some(bin) = found else {
        bail!(
            "{LINKER} is neither on PATH nor in {}; {HELP}",
            cache.display()
        );
    };
    let joined = env::join_paths(std::iter::once(bin).chain(env::split_paths(&path)))?;
    // SAFETY: a build script has one thread at this point.
    unsafe { env::set_var("PATH", joined) };
    Ok(())
}
