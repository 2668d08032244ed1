//! `top` on a terminal of its own: whatever ends it, the terminal is as it was before.
#![cfg(feature = "tui")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const SHOW_CURSOR: &str = "\x1b[?25h";

const RECORDING: &str = r#"{"type":"session","format_version":1,"tool_version":"0","command_line":[],"time":"2026-11-24T12:00:00Z","monotonic_ns":0,"host":"h","kernel":"6.12","machine":"x86_64","cpus":1,"ring_bytes":4096,"plan":{"name":"full","reason":"","programs":{}},"rules":[]}
{"type":"send","id":1,"time":"2026-11-24T12:00:01Z","monotonic_ns":1000000000,"sender":{"pid":7,"tid":7,"comm":"web","uid":0,"gid":0,"attribution":{"unit":{"name":"web.service"}}},"class":"systemd","length_bytes":7,"payload":"READY=1","lines":[{"key":"READY","value":"1"}],"delivery":{"state":"delivered"},"timing":{"queued_ns":1000000000,"dequeued_ns":1000100000}}
"#;

/// Long enough for a machine that does something else.
const DEADLINE: Duration = Duration::from_secs(30);

/// A terminal, and the program on it.
struct Terminal {
    master: File,
    slave: File,
    output: Arc<Mutex<Vec<u8>>>,
    child: Child,
    modes: String,
    _recording: Recording,
}

/// A file that is gone afterwards.
struct Recording(PathBuf);

impl Recording {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("notify-trace-top-{}-{name}", std::process::id()));
        fs::write(&path, RECORDING).expect("a file");
        Self(path)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Terminal {
    fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let recording = Recording::new(name);
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("a terminal");
        unlockpt(&master).expect("a terminal");
        let path = ptsname(&master, Vec::new()).expect("its name");
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .open(Path::new(path.to_str().expect("a path")))
            .expect("its other end");
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size).expect("its size");
        let modes = modes(&slave);
        let stdio = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let child = Command::new(env!("CARGO_BIN_EXE_notify-trace"))
            .args(["top", "--replay"])
            .arg(&recording.0)
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("the program");
        let master = File::from(master);
        let output = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, read) = (
            master.try_clone().expect("a descriptor"),
            Arc::clone(&output),
        );
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                read.lock()
                    .expect("no panic")
                    .extend_from_slice(&bytes[..length]);
            }
        });
        Self {
            master,
            slave,
            output,
            child,
            modes,
            _recording: recording,
        }
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("no panic")).into_owned()
    }

    fn wait_for(&self, text: &str) {
        let begin = Instant::now();
        while !self.output().contains(text) {
            assert!(
                begin.elapsed() < DEADLINE,
                "no {text:?} in {:?}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The view is there.
    fn drawn(self) -> Self {
        self.wait_for(ENTER);
        self.wait_for("web.service");
        let local = tcgetattr(&self.slave).expect("a terminal").local_modes;
        assert!(!local.contains(LocalModes::ICANON), "not raw: {local:?}");
        self
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("a terminal");
    }

    /// The exit code; the terminal is as it was.
    fn ends(mut self) -> Option<i32> {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if begin.elapsed() > DEADLINE {
                let _ = self.child.kill();
                panic!("it does not end: {:?}", self.output());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        self.wait_for(LEAVE);
        let output = self.output();
        let left = &output[output.rfind(LEAVE).expect("it was waited for")..];
        assert!(left.contains(SHOW_CURSOR), "{left:?}");
        assert!(!left.contains(ENTER), "{left:?}");
        assert_eq!(output.matches(LEAVE).count(), 1, "{output:?}");
        assert_eq!(modes(&self.slave), self.modes);
        status.code()
    }
}

/// What `stty -a` would show.
fn modes(terminal: &File) -> String {
    format!("{:?}", tcgetattr(terminal.as_fd()).expect("a terminal"))
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    for (name, signal) in [
        ("term", Signal::TERM),
        ("int", Signal::INT),
        ("hup", Signal::HUP),
    ] {
        let terminal = Terminal::start(name, &[]).drawn();
        terminal.signal(signal);
        assert_eq!(terminal.ends(), Some(0), "{name}");
    }
}

#[test]
fn keys_leave_the_terminal_as_it_was() {
    for (name, keys) in [
        ("q", "q"),
        ("ctrl-c", "\x03"),
        ("in-the-filter", "/nginx\x03"),
    ] {
        let mut terminal = Terminal::start(name, &[]).drawn();
        terminal.press(keys);
        assert_eq!(terminal.ends(), Some(0), "{name}");
    }
}

#[test]
fn a_history_is_shown_and_left() {
    let mut terminal = Terminal::start("history", &[]).drawn();
    terminal.press("\r");
    terminal.wait_for("web[7]");
    terminal.press("?");
    terminal.wait_for("Keys");
    terminal.press(" q");
    assert_eq!(terminal.ends(), Some(0));
}

/// Builds without debug assertions know nothing of the variable.
#[cfg(debug_assertions)]
#[test]
fn a_panic_is_printed_after_the_terminal_was_given_back() {
    let terminal = Terminal::start("panic", &[("NOTIFY_TRACE_TOP_PANIC", "1")]);
    terminal.wait_for("panicked at");
    let output = terminal.output();
    let (left, said) = (output.find(LEAVE), output.find("panicked at"));
    assert!(left.is_some() && left < said, "{output:?}");
    assert_eq!(terminal.ends(), Some(1));
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let terminal = Terminal::start("no-color", &[("NO_COLOR", "1")]).drawn();
    terminal.signal(Signal::TERM);
    let output = terminal.output();
    for colour in ["\x1b[31m", "\x1b[38;5;", "\x1b[48;5;"] {
        assert!(!output.contains(colour), "{output:?}");
    }
    assert_eq!(terminal.ends(), Some(0));
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let output = Command::new(env!("CARGO_BIN_EXE_notify-trace"))
        .arg("top")
        .stdin(Stdio::null())
        .output()
        .expect("the program");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("use trace"), "{error}");
    assert!(output.stdout.is_empty());
    assert_eq!(output.status.code(), Some(1));
}
