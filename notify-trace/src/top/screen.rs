//! The terminal: how it is taken and given back, and the thread that draws on it.
//!
//! Whatever ends the program gives the terminal back: [`Screen::close`], a panic in any thread (by a
//! hook), and whoever exits at once (by [`restore`]). Only SIGKILL does not.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event as Input};
use ratatui::crossterm::style::{ResetColor, force_color_output};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{Command, execute};
use rustix::process::{Signal, getpid, kill_process};

use super::draw::{self, Frame};
use super::live::Shared;
use super::look::{Look, Then};
use super::state::Picture;
use super::{kept, keys};

/// The picture changes at most so often.
const LEAST_TIME: Duration = Duration::from_millis(250);

/// And without anything new, because ages grow, so often.
const MOST_TIME: Duration = Duration::from_secs(1);

/// So long a terminal that takes nothing is waited for at the end.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether the terminal is ours.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Held while a frame is written, so that none comes after the terminal was given back.
static DRAWING: Mutex<()> = Mutex::new(());

/// The terminal, taken.
#[derive(Debug)]
pub struct Screen {
    shared: Arc<Shared>,
    ended: Receiver<()>,
}

impl Screen {
    /// Takes the terminal and starts to draw.
    ///
    /// # Errors
    /// If the terminal can't be set up; then it is as it was.
    pub fn open(shared: Arc<Shared>, frame: Frame) -> io::Result<Self> {
        // A handle of its own: nobody who holds the lock of the standard output is waited for.
        let output = output()?;
        // It has an opinion of its own on NO_COLOR, which --color overrules.
        force_color_output(frame.theme.is_coloured);
        restore_on_panic();
        IS_TAKEN.store(true, Ordering::SeqCst);
        let taken =
            take().and_then(|()| Terminal::new(CrosstermBackend::new(BufWriter::new(output))));
        let terminal = match taken {
            Ok(terminal) => terminal,
            Err(error) => {
                restore();
                return Err(error);
            }
        };
        let (ending, ended) = channel();
        let painter = Painter {
            shared: Arc::clone(&shared),
            frame,
            terminal,
            look: Look::default(),
        };
        let started = std::thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || {
                // Dropped at the end, be it by a panic.
                let _ending = ending;
                painter.run();
            });
        if let Err(error) = started {
            restore();
            return Err(error);
        }
        Ok(Self { shared, ended })
    }

    /// Stops to draw and gives the terminal back. One that takes nothing is not waited for.
    pub fn close(self) {
        self.shared.end();
        match self.ended.recv_timeout(PATIENCE) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        restore();
    }
}

/// Gives the terminal back, if it is ours: for whoever ends the program at once.
pub fn restore() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // The terminal may take nothing, and a write to it never end.
    let (done, is_done) = channel::<()>();
    let give_back = move || {
        let _guard = patiently(&DRAWING, PATIENCE / 2);
        // Nothing can be done about a terminal that is gone.
        let _ = disable_raw_mode();
        let _ = output().and_then(|mut output| give_back(&mut output));
        kept::end();
        drop(done);
    };
    if std::thread::Builder::new().spawn(give_back).is_ok() {
        let _ = is_done.recv_timeout(PATIENCE);
    }
}

fn output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn take() -> io::Result<()> {
    kept::begin()?;
    enable_raw_mode()?;
    execute!(output()?, EnterAlternateScreen, Hide)
}

/// Writes what makes the terminal as it was.
fn give_back(output: &mut impl Write) -> io::Result<()> {
    let mut codes = String::new();
    let written = ResetColor
        .write_ansi(&mut codes)
        .and_then(|()| LeaveAlternateScreen.write_ansi(&mut codes))
        .and_then(|()| Show.write_ansi(&mut codes));
    written.map_err(io::Error::other)?;
    output.write_all(codes.as_bytes())?;
    output.flush()
}

/// The lock, or nothing if it isn't free for so long: a panic may hold it.
fn patiently<T>(mutex: &Mutex<T>, patience: Duration) -> Option<MutexGuard<'_, T>> {
    let begin = Instant::now();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if begin.elapsed() >= patience => return None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// A panic's message is to be read, so the terminal is given back before it.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}

/// Asks the program to end as Ctrl-C would without us.
fn ask_to_end() {
    let _ = kill_process(getpid(), Signal::TERM);
}

/// Draws.
struct Painter {
    shared: Arc<Shared>,
    frame: Frame,
    terminal: Terminal<CrosstermBackend<BufWriter<File>>>,
    look: Look,
}

/// Asks the program to end, when the thread that draws does.
struct EndWithMe(Arc<Shared>);

impl Drop for EndWithMe {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .fail("the view failed; what failed is said above".to_owned());
        }
        if !self.0.is_ended() {
            ask_to_end();
        }
    }
}

impl Painter {
    fn run(mut self) {
        let _end = EndWithMe(Arc::clone(&self.shared));
        if let Err(error) = self.paint() {
            restore();
            self.shared.fail(format!(
                "the terminal can't be written to or read from: {error}"
            ));
        }
        // At once: the end of the trace may take a second.
        restore();
    }

    /// Draws until the user or the program ends it.
    fn paint(&mut self) -> io::Result<()> {
        let mut version = None;
        let mut picture = Arc::new(Picture::default());
        let mut drawn: Option<Instant> = None;
        let mut is_asked = true;
        while !self.shared.is_ended() {
            let age = drawn.map(|at| at.elapsed());
            let is_new = version != Some(self.shared.version());
            let is_due = age.is_none_or(|age| age >= MOST_TIME || (is_new && age >= LEAST_TIME));
            if is_due {
                version = Some(self.shared.version());
                picture = Arc::new(self.shared.picture());
            }
            if is_due || is_asked {
                if !self.draw(&picture)? {
                    return Ok(());
                }
                // What only a key asked for does not put off what is new.
                if is_due {
                    drawn = Some(Instant::now());
                }
                is_asked = false;
            }
            let mut wait = LEAST_TIME;
            while event::poll(wait)? {
                // All that has come is taken before it is drawn.
                wait = Duration::ZERO;
                is_asked = true;
                match self.take(&event::read()?, &picture) {
                    Then::Draw => {}
                    Then::Repaint => self.terminal.clear()?,
                    Then::Quit => return Ok(()),
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, input: &Input, picture: &Arc<Picture>) -> Then {
        match input {
            Input::Key(key) => match keys::action(self.look.mode, *key) {
                Some(action) => self.look.apply(action, picture),
                None => Then::Draw,
            },
            _ => Then::Draw,
        }
    }

    /// Draws a frame; not, if the terminal isn't ours any more.
    fn draw(&mut self, picture: &Arc<Picture>) -> io::Result<bool> {
        let _guard = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        if !IS_TAKEN.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let Self { look, frame, .. } = self;
        self.terminal
            .draw(|it| draw::draw(it.buffer_mut(), look, picture, frame))?;
        #[cfg(debug_assertions)]
        if std::env::var_os("NOTIFY_TRACE_TOP_PANIC").is_some() {
            panic!("asked for by NOTIFY_TRACE_TOP_PANIC");
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_is_given_back_with_its_screen_its_colours_and_its_cursor() {
        let mut codes = Vec::new();
        give_back(&mut codes).expect("a vector takes all");
        let codes = String::from_utf8(codes).expect("text");
        for code in ["\x1b[?1049l", "\x1b[?25h", "\x1b[0m"] {
            assert!(codes.contains(code), "{codes:?}");
        }
    }

    #[test]
    fn a_lock_that_a_panic_holds_is_not_waited_for_long() {
        let mutex = Mutex::new(());
        let _held = mutex.lock().expect("free");
        assert!(patiently(&mutex, Duration::from_millis(10)).is_none());
        let free = Mutex::new(());
        assert!(patiently(&free, Duration::ZERO).is_some());
    }

    #[test]
    fn what_was_not_taken_is_not_given_back() {
        restore();
        assert!(!IS_TAKEN.load(Ordering::SeqCst));
    }
}
