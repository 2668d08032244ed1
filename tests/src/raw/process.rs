//! Processes, namespaces, mounts, clocks.

use std::{ffi::CString, fs, io, panic, path::Path, ptr, time::Duration};

use libc::{c_int, c_ulong};

use super::check;

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`.
    Terminate,
    /// `SIGINT`.
    Interrupt,
    /// `SIGKILL`.
    Kill,
    /// `SIGSTOP`.
    Stop,
    /// `SIGCONT`.
    Continue,
    /// `SIGHUP`.
    HangUp,
}

impl Signal {
    /// As the kernel numbers it (signal(7)).
    pub const fn number(self) -> c_int {
        match self {
            Self::Terminate => libc::SIGTERM,
            Self::Interrupt => libc::SIGINT,
            Self::Kill => libc::SIGKILL,
            Self::Stop => libc::SIGSTOP,
            Self::Continue => libc::SIGCONT,
            Self::HangUp => libc::SIGHUP,
        }
    }
}

/// Runs `act` in a new process; its return value is the exit code. Only a process with one thread
/// can do that: locks that another thread holds would stay locked in the child for ever.
pub fn fork(act: impl FnOnce() -> u8) -> io::Result<u32> {
    // SAFETY: the child never returns from `run_child`, so nothing of the parent's is dropped or
    // written twice; that no lock can stay locked is looked at there.
    run_child(act, || unsafe { libc::fork() }.into())
}

/// Like [`fork`], with this process id, which must be free (`clone3(2)`, `set_tid`).
pub fn fork_as(pid: u32, act: impl FnOnce() -> u8) -> io::Result<u32> {
    let wanted = [pid_of(pid)?];
    // SAFETY: all zeroes is a valid `clone_args`.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD.cast_unsigned().into();
    arguments.set_tid = wanted.as_ptr() as u64;
    arguments.set_tid_size = 1;
    // SAFETY: as for fork, which this is with another number; both pointers are valid for reading.
    run_child(act, || unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    })
}

/// What [`fork`] and [`fork_as`] share; `start` starts the process.
fn run_child(act: impl FnOnce() -> u8, start: impl FnOnce() -> libc::c_long) -> io::Result<u32> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other(
            "a process with several threads must not fork",
        ));
    }
    let pid = start();
    if pid == -1 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        // Nobody is to be left over when a case ends early.
        // SAFETY: PR_SET_PDEATHSIG takes a number.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong, 0, 0, 0) };
        let code = panic::catch_unwind(panic::AssertUnwindSafe(act)).unwrap_or(101);
        exit_now(code);
    }
    u32::try_from(pid).map_err(io::Error::other)
}

/// Ends the process at once: no buffers are written, nothing is dropped.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(i32::from(code)) }
}

fn pid_of(pid: u32) -> io::Result<libc::pid_t> {
    libc::pid_t::try_from(pid).map_err(io::Error::other)
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

fn end_of(status: c_int) -> End {
    if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Code(libc::WEXITSTATUS(status))
    }
}

/// Waits for a child and reaps it.
pub fn wait(pid: u32) -> io::Result<End> {
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    check(unsafe { libc::waitpid(pid_of(pid)?, &raw mut status, 0) })?;
    Ok(end_of(status))
}

/// Waits for any child and reaps it.
pub fn wait_any() -> io::Result<(u32, End)> {
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    let pid = check(unsafe { libc::waitpid(-1, &raw mut status, 0) })?;
    Ok((
        u32::try_from(pid).map_err(io::Error::other)?,
        end_of(status),
    ))
}

/// Waits until a child has exited, and leaves it a zombie.
pub fn wait_exited(pid: u32) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `siginfo_t`, and it is valid for writing.
    check(unsafe {
        let mut information: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(
            libc::P_PID,
            pid,
            &raw mut information,
            libc::WEXITED | libc::WNOWAIT,
        )
    })?;
    Ok(())
}

/// `kill(2)`.
pub fn kill(pid: u32, signal: Signal) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::kill(pid_of(pid)?, signal.number()) })?;
    Ok(())
}

/// `SIGTERM` and `SIGHUP`, blocked, so that they wait until somebody asks for them.
#[derive(Clone, Copy)]
pub struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks them. Only a process with one thread can say that of all of itself.
    pub fn block() -> io::Result<Self> {
        // SAFETY: all zeroes is a valid `sigset_t`, and it is valid for writing.
        let signals = unsafe {
            let mut signals: libc::sigset_t = std::mem::zeroed();
            check(libc::sigemptyset(&raw mut signals))?;
            check(libc::sigaddset(&raw mut signals, libc::SIGTERM))?;
            check(libc::sigaddset(&raw mut signals, libc::SIGHUP))?;
            signals
        };
        // SAFETY: the set is valid, and the old one isn't asked for.
        check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut()) })?;
        Ok(Self(signals))
    }

    /// The next of them, or none when none came in this time.
    pub fn wait(&self, time: Duration) -> io::Result<Option<Signal>> {
        let time = libc::timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        // SAFETY: set and time are valid, and no information is asked for.
        let signal = check(unsafe {
            libc::sigtimedwait(&raw const self.0, ptr::null_mut(), &raw const time)
        });
        match signal {
            Ok(libc::SIGHUP) => Ok(Some(Signal::HangUp)),
            Ok(_) => Ok(Some(Signal::Terminate)),
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Becomes another user, without any group or capability of before.
pub fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: null with length 0 empties the list of groups.
    check(unsafe { libc::setgroups(0, ptr::null()) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::setresgid(uid, uid, uid) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::setresuid(uid, uid, uid) })?;
    // A process that changed its user is not dumpable, and then its /proc/self is root's.
    // SAFETY: PR_SET_DUMPABLE takes a number.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1 as c_ulong, 0, 0, 0) })?;
    Ok(())
}

/// Has `bpf(2)` answer this command with `EPERM`, in this process and all that come of it: a seccomp
/// filter, as container runtimes set them. Takes `CAP_SYS_ADMIN`.
pub fn refuse_bpf(command: u32) -> io::Result<()> {
    // Offsets in `struct seccomp_data`: the call's number, the low half of its first argument on a
    // little-endian machine.
    const NUMBER: u32 = 0;
    const ARGUMENT: u32 = 16;
    let step = |code: u32, skip_unless, value| {
        Ok(libc::sock_filter {
            code: u16::try_from(code).map_err(io::Error::other)?,
            jt: 0,
            jf: skip_unless,
            k: value,
        })
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let compare = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let call = u32::try_from(libc::SYS_bpf).map_err(io::Error::other)?;
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    let steps: io::Result<Vec<_>> = [
        step(load, 0, NUMBER),
        step(compare, 3, call),
        step(load, 0, ARGUMENT),
        step(compare, 1, command),
        step(answer, 0, refused),
        step(answer, 0, libc::SECCOMP_RET_ALLOW),
    ]
    .into_iter()
    .collect();
    let mut filter = steps?;
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `program` and the filter that it points to are valid during the call.
    check(unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            c_ulong::from(libc::SECCOMP_MODE_FILTER),
            &raw const program,
        )
    })?;
    Ok(())
}

/// `SIGKILL` to a whole process group.
pub fn kill_group(leader: u32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::killpg(pid_of(leader)?, libc::SIGKILL) })?;
    Ok(())
}

/// What to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Children get a pid namespace of their own.
    Pid,
    /// Mounts made from now on are seen by this process only.
    Mount,
    /// No network, and abstract names of its own.
    Network,
}

/// `unshare(2)`.
pub fn unshare(namespace: Namespace) -> io::Result<()> {
    let flags = match namespace {
        Namespace::Pid => libc::CLONE_NEWPID,
        Namespace::Mount => libc::CLONE_NEWNS,
        Namespace::Network => libc::CLONE_NEWNET,
    };
    // SAFETY: no pointers.
    check(unsafe { libc::unshare(flags) })?;
    if namespace == Namespace::Mount {
        let root = c"/";
        let private = libc::MS_PRIVATE | libc::MS_REC;
        // SAFETY: strings that end with NUL; null where this kind of mount has no argument.
        check(unsafe {
            libc::mount(
                ptr::null(),
                root.as_ptr(),
                ptr::null(),
                private,
                ptr::null(),
            )
        })?;
    }
    Ok(())
}

fn c_path(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt as _;
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Mounts a file system that needs no device.
pub fn mount(kind: &str, at: &Path) -> io::Result<()> {
    mount_with(kind, "", at)
}

/// Mounts a file system with options of its own.
pub fn mount_with(kind: &str, options: &str, at: &Path) -> io::Result<()> {
    let c_string = |text: &str| CString::new(text).map_err(io::Error::other);
    let (kind, options, at) = (c_string(kind)?, c_string(options)?, c_path(at)?);
    // SAFETY: strings that end with NUL.
    check(unsafe {
        libc::mount(
            kind.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            0,
            options.as_ptr().cast(),
        )
    })?;
    Ok(())
}

/// Takes a mount away.
pub fn unmount(at: &Path) -> io::Result<()> {
    let at = c_path(at)?;
    // SAFETY: a string that ends with NUL.
    check(unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) })?;
    Ok(())
}

/// Makes a file or folder appear at another place too.
pub fn bind_mount(from: &Path, at: &Path) -> io::Result<()> {
    let (from, at) = (c_path(from)?, c_path(at)?);
    // SAFETY: strings that end with NUL.
    check(unsafe {
        libc::mount(
            from.as_ptr(),
            at.as_ptr(),
            ptr::null(),
            libc::MS_BIND,
            ptr::null(),
        )
    })?;
    Ok(())
}

/// Switches the machine off; returns only if that failed.
pub fn power_off() -> io::Error {
    // SAFETY: no pointers; whoever calls this wants all to end.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
    io::Error::last_os_error()
}

/// `CLOCK_MONOTONIC`, the clock of the agent's times.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing. This clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    nanoseconds(time)
}

const fn nanoseconds(time: libc::timespec) -> u64 {
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// CPU time of all threads that a process has or had, in user and in kernel mode (clock_getcpuclockid(3)).
///
/// # Errors
/// If there is no such process.
pub fn cpu_ns(pid: u32) -> io::Result<u64> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock = 0;
    // SAFETY: `clock` is valid for writing.
    match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(nanoseconds(time))
}

/// `comm` of the calling thread.
pub fn thread_name() -> io::Result<Vec<u8>> {
    let mut name = [0_u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes.
    check(unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr(), 0, 0, 0) })?;
    Ok(name.iter().copied().take_while(|byte| *byte != 0).collect())
}

/// Sets `comm` of the calling thread, at most 15 bytes.
pub fn set_thread_name(name: &str) -> io::Result<()> {
    let name = CString::new(name).map_err(io::Error::other)?;
    // SAFETY: PR_SET_NAME reads up to the NUL.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) })?;
    Ok(())
}

/// The calling thread's id in its own pid namespace.
pub fn thread_number() -> i32 {
    // SAFETY: no pointers.
    unsafe { libc::gettid() }
}

/// Binds the calling thread to one CPU.
pub fn run_on_cpu(cpu: usize) -> io::Result<()> {
    // SAFETY: all zeroes is an empty set; CPU_SET checks that the number is within it.
    check(unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    })?;
    Ok(())
}

/// Bytes of a page.
pub fn page_size() -> usize {
    // SAFETY: no pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}
