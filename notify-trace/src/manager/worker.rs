//! The thread that asks: connections, starts that take long, and the order of questions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

use super::bus::{Bus, Job};
use super::{Ask, processes};
use crate::enrich::clock::{self, WallClock};
use crate::escape::escape;
use crate::event::UnitState;
use crate::unit::{UnitKey, is_starting, must_say_ready};

/// When a unit that is still starting is looked at, after its job began.
const LOOKS: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// And then again and again.
const LATER_LOOKS: Duration = Duration::from_secs(60);

/// After a manager did not answer, how long it is left alone; where there never is one, up to so many
/// times as long.
const REST: Duration = Duration::from_secs(2);
const REST_DOUBLED: u32 = 5;

/// Most units that are starting at once, or to be asked about.
const KEPT: usize = 8_192;

/// Most jobs that wait to be looked at.
const JOBS: usize = 1_024;

/// A unit whose job has begun.
#[derive(Debug)]
struct Starting {
    since: Instant,
    looks: usize,
}

/// Why a unit is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// Somebody asked, or its job ended.
    Asked,
    /// It may still be starting.
    Starting,
}

struct Worker {
    buses: HashMap<Option<u32>, Bus>,
    resting: HashMap<Option<u32>, Instant>,
    /// The system's manager can't be asked, and that was said.
    is_warned: bool,
    /// When to connect again to the system's manager, whose jobs are listened to.
    reconnect: Option<Instant>,
    /// How often that was in vain.
    in_vain: u32,
    jobs: Sender<Job>,
    answers: Sender<UnitState>,
    starting: HashMap<UnitKey, Starting>,
    /// When to look at what; the number tells those of one moment apart.
    due: BTreeMap<(Instant, u64), (UnitKey, Reason)>,
    number: u64,
    /// Units of which something was said.
    told: HashSet<UnitKey>,
}

/// Answers questions until nobody asks any more.
pub(super) async fn run(mut questions: Receiver<Ask>, answers: Sender<UnitState>) {
    let (jobs, mut news) = channel(JOBS);
    let mut worker = Worker {
        buses: HashMap::new(),
        resting: HashMap::new(),
        is_warned: false,
        reconnect: None,
        in_vain: 0,
        jobs,
        answers,
        starting: HashMap::new(),
        due: BTreeMap::new(),
        number: 0,
        told: HashSet::new(),
    };
    loop {
        let next = worker.due.keys().next().map(|(at, _)| *at);
        tokio::select! {
            question = questions.recv() => match question {
                Some(Ask::Unit { key, at_ns }) => {
                    let wait = Duration::from_nanos(at_ns.saturating_sub(clock::now()));
                    worker.plan(Instant::now() + wait, key, Reason::Asked);
                }
                Some(Ask::Manager { user }) => worker.connect(user).await,
                None => return,
            },
            Some(job) = news.recv() => worker.job(job),
            () = until(next) => worker.look().await,
            () = until(worker.reconnect) => {
                worker.reconnect = None;
                worker.resting.remove(&None);
                worker.connect(None).await;
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Worker {
    fn plan(&mut self, at: Instant, key: UnitKey, reason: Reason) {
        if self.due.len() < KEPT {
            self.number += 1;
            self.due.insert((at, self.number), (key, reason));
        }
    }

    async fn connect(&mut self, user: Option<u32>) {
        let is_resting = self
            .resting
            .get(&user)
            .is_some_and(|since| since.elapsed() < REST);
        if self.buses.contains_key(&user) || is_resting {
            return;
        }
        match Bus::open(user, self.jobs.clone()).await {
            Ok(bus) => {
                self.buses.insert(user, bus);
                if user.is_none() {
                    self.reconnect = None;
                    self.in_vain = 0;
                }
                self.resting.remove(&user);
            }
            Err(error) => {
                // A user's manager comes and goes.
                if user.is_none() {
                    let rest = REST * 2_u32.pow(self.in_vain.min(REST_DOUBLED));
                    self.reconnect = Some(Instant::now() + rest);
                    self.in_vain += 1;
                    if !self.is_warned {
                        self.is_warned = true;
                        eprintln!(
                            "notify-trace: the system's manager can't be asked about units: {}",
                            escape(error.to_string().as_bytes())
                        );
                    }
                }
                self.resting.insert(user, Instant::now());
            }
        }
    }

    fn job(&mut self, job: Job) {
        let Job { user, unit, result } = job;
        let key = UnitKey { user, name: unit };
        let now = Instant::now();
        match result {
            None => {
                let is_new = !self.starting.contains_key(&key);
                if is_new && self.starting.len() < KEPT {
                    self.starting.insert(
                        key.clone(),
                        Starting {
                            since: now,
                            looks: 0,
                        },
                    );
                    self.plan(now + LOOKS[0], key, Reason::Starting);
                }
            }
            Some(result) => {
                self.starting.remove(&key);
                if result != "done" || self.told.contains(&key) {
                    self.plan(now, key, Reason::Asked);
                }
            }
        }
    }

    /// Looks at the unit that is due.
    async fn look(&mut self) {
        let Some((_, (key, reason))) = self.due.pop_first() else {
            return;
        };
        if reason == Reason::Starting {
            let Some(starting) = self.starting.get_mut(&key) else {
                // Its job has ended.
                return;
            };
            starting.looks += 1;
            let next = match LOOKS.get(starting.looks) {
                Some(after) => starting.since + *after,
                None => Instant::now() + LATER_LOOKS,
            };
            // Whatever the manager says now: it may not answer.
            self.plan(next, key.clone(), Reason::Starting);
        }
        let Some(mut state) = self.ask(&key).await else {
            return;
        };
        if is_starting(&state) && must_say_ready(&state) {
            if let Some(control_group) = &state.control_group {
                state.processes = processes::of(&control_group.0, Path::new("/proc"));
            }
        } else if reason == Reason::Starting && !self.told.contains(&key) {
            // A long start of a unit that need not say anything is nobody's business.
            return;
        }
        if self.told.len() >= KEPT {
            self.told.clear();
        }
        self.told.insert(key);
        // A trace that is that far behind has more than enough to tell.
        let _ = self.answers.try_send(state);
    }

    async fn ask(&mut self, key: &UnitKey) -> Option<UnitState> {
        self.connect(key.user).await;
        let bus = self.buses.get(&key.user)?;
        match bus.unit(&key.name).await {
            Ok(state) => {
                let mut state = state?;
                state.user = key.user;
                state.monotonic_ns = clock::now();
                state.time = WallClock::now().at(state.monotonic_ns);
                Some(state)
            }
            // The unit is none that can be asked about; the manager is well.
            Err(zbus::Error::MethodError(..)) => None,
            Err(_) => {
                self.buses.remove(&key.user);
                self.resting.insert(key.user, Instant::now());
                if key.user.is_none() {
                    self.reconnect = Some(Instant::now() + REST);
                }
                // It was asked for a reason.
                self.plan(Instant::now() + REST, key.clone(), Reason::Asked);
                None
            }
        }
    }
}
