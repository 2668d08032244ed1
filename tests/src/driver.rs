//! Goes through the plans and the cases, and says what came of each.
//!
//! In each plan one agent serves all cases that run as a process of their own: they run, the agent
//! is stopped, and then everything it showed is compared with what happened. After that come the
//! cases that start agents themselves.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

use crate::{
    cases::{self, Alone, Case, Check, Play, Scope},
    need::{Home, Need, Verdict},
    plan::Plan,
    play::{SLICE, play},
    procfs::remove_cgroup,
    shown::{Shown, SkippedRuns},
    tracer::{Agent, Agents},
    truth::Truth,
    verify::{self, Part, Problems},
    whole,
};

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The agent.
    pub agent: PathBuf,
    /// Only this plan.
    pub plan: Option<String>,
    /// Only cases with this in their name.
    pub only: Option<String>,
    /// Where this is.
    pub home: Home,
    /// Also the cases that take long.
    pub with_flood: bool,
    /// A folder for sockets.
    pub root: PathBuf,
}

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub tests: u32,
    /// Of these: failed.
    pub failed: u32,
    /// Of these: skipped.
    pub skipped: u32,
}

/// How a test ended.
enum Outcome {
    /// With notes.
    Passed(Vec<String>),
    Failed(Vec<String>),
    Skipped(String),
}

impl Outcome {
    /// The same, with these in front of its own.
    fn with_notes(self, notes: Vec<String>) -> Self {
        match self {
            Self::Passed(own) => Self::Passed([notes, own].concat()),
            Self::Failed(problems) => Self::Failed([problems, notes].concat()),
            skipped @ Self::Skipped(_) => skipped,
        }
    }
}

impl From<Result<()>> for Outcome {
    fn from(result: Result<()>) -> Self {
        match result {
            Ok(()) => Self::Passed(Vec::new()),
            Err(error) => Self::Failed(vec![format!("{error:#}")]),
        }
    }
}

impl From<Problems> for Outcome {
    fn from(problems: Problems) -> Self {
        if problems.0.is_empty() {
            Self::Passed(problems.1)
        } else {
            Self::Failed(problems.0)
        }
    }
}

impl Counts {
    /// Tells the verdict that the host waits for, and ends with it.
    pub fn tell(self) -> ExitCode {
        let Self {
            tests,
            failed,
            skipped,
        } = self;
        if failed == 0 {
            println!("init: success tests={tests} skipped={skipped}");
            ExitCode::SUCCESS
        } else {
            println!("init: failure tests={tests} failed={failed} skipped={skipped}");
            ExitCode::FAILURE
        }
    }

    /// Counts a check that passed or failed, and says so.
    pub fn check(&mut self, name: &str, result: Result<()>) {
        self.check_saying(name, result.map(|()| String::new()));
    }

    /// The same for a check that has something to say when it passes.
    pub fn check_saying(&mut self, name: &str, result: Result<String>) {
        self.tests += 1;
        match result {
            Ok(said) if said.is_empty() => println!("test {name} ... ok"),
            Ok(said) => println!("test {name} ... ok ({said})"),
            Err(error) => {
                self.failed += 1;
                println!("test {name} ... FAILED");
                for line in format!("{error:#}").lines() {
                    println!("    {line}");
                }
            }
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tests,
            failed,
            skipped,
        } = self;
        let passed = tests - failed - skipped;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Runs of a case in which the kernel skipped programs, until the case has failed.
const TRIES: usize = 3;
/// Most sentences that are printed about one test.
const MOST: usize = 12;

/// Goes through everything.
pub struct Driver {
    settings: Settings,
    counts: Counts,
}

impl Driver {
    /// Nothing has been run yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            counts: Counts::default(),
        }
    }

    /// Runs all that is wanted.
    pub fn run(mut self) -> Counts {
        match self.settings.plan.clone() {
            Some(plan) => {
                self.run_plan(&plan);
            }
            None => {
                let chosen = self.run_plan("auto");
                let others = Plan::ALL.into_iter().filter(|plan| {
                    // What is better than the one chosen doesn't work here: `choice` looks at that.
                    chosen.is_none_or(|chosen| *plan < chosen)
                });
                for plan in others {
                    self.run_plan(plan.name());
                }
            }
        }
        // Nobody is in there any more; what stays disturbs nobody.
        let _ = remove_cgroup(SLICE);
        self.counts
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.settings
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    }

    fn report(&mut self, plan: &str, name: &str, outcome: impl Into<Outcome>) {
        self.counts.tests += 1;
        match outcome.into() {
            Outcome::Passed(notes) => {
                println!("test {plan}::{name} ... ok");
                for note in notes {
                    println!("    note: {note}");
                }
            }
            Outcome::Skipped(why) => {
                self.counts.skipped += 1;
                println!("test {plan}::{name} ... skipped ({why})");
            }
            Outcome::Failed(problems) => {
                self.counts.failed += 1;
                println!("test {plan}::{name} ... FAILED");
                for problem in problems.iter().take(MOST) {
                    println!("    {problem}");
                }
                if problems.len() > MOST {
                    println!("    and {} more", problems.len() - MOST);
                }
            }
        }
    }

    /// Whether nothing that is needed is missing; otherwise it is reported.
    fn has(&mut self, plan: &str, name: &str, needs: &[Need]) -> bool {
        for need in needs {
            match need.look(self.settings.home) {
                Verdict::Run => {}
                Verdict::Skip(why) => {
                    self.report(plan, name, Outcome::Skipped(why));
                    return false;
                }
                Verdict::Fail(why) => {
                    self.report(plan, name, Outcome::Failed(vec![why]));
                    return false;
                }
            }
        }
        true
    }

    /// Runs one plan; which one it turned out to be, if the agent started.
    fn run_plan(&mut self, asked: &str) -> Option<Plan> {
        let needs: &[Need] = if asked == Plan::Tracepoints.name() {
            &[Need::SocketTracepoints]
        } else {
            &[]
        };
        if !self.has(asked, "the_agent_starts", needs) {
            return None;
        }
        let agents = Agents {
            path: self.settings.agent.clone(),
            plan: asked.to_owned(),
        };
        let agent = match agents.start(&[]) {
            Ok(agent) => agent,
            Err(error) => {
                self.report(asked, "the_agent_starts", Err(error));
                return None;
            }
        };
        self.report(asked, "the_agent_starts", Ok(()));
        let plan = match self.run_together(asked, &agents, agent) {
            Ok(plan) => plan,
            Err(error) => {
                self.report(asked, "the_agent_ends_well", Err(error));
                return None;
            }
        };
        for case in cases::all() {
            if let Play::Alone(act, scope) = case.play {
                self.run_alone(asked, &agents, plan, case, act, scope);
            }
        }
        Some(plan)
    }

    fn run_alone(
        &mut self,
        asked: &str,
        agents: &Agents,
        plan: Plan,
        case: &Case,
        act: fn(&Alone<'_>) -> Result<()>,
        scope: Scope,
    ) {
        let is_in_one_plan = matches!(scope, Scope::Once | Scope::Flood);
        let is_once_more = is_in_one_plan && asked != "auto" && self.settings.plan.is_none();
        let is_too_long = scope == Scope::Flood && !self.settings.with_flood;
        if is_once_more
            || is_too_long
            || !self.is_wanted(case.name)
            || !self.has(asked, case.name, case.needs)
        {
            return;
        }
        let alone = Alone {
            agents,
            plan,
            root: &self.settings.root,
            home: self.settings.home,
        };
        let mut notes = Vec::new();
        let outcome = loop {
            match act(&alone) {
                Ok(()) => break Outcome::Passed(notes),
                // Where programs may be preempted the kernel skips some runs. The agent says so, and
                // nothing is to be learned from such a run: but one without has to come.
                Err(error) if notes.len() + 1 < TRIES && error.is::<SkippedRuns>() => {
                    notes.push(format!("once more, for in one run: {error:#}"));
                }
                Err(error) => break Outcome::from(Err(error)),
            }
        };
        self.report(asked, case.name, outcome);
    }

    /// One agent for all cases that don't start their own.
    fn run_together(&mut self, asked: &str, agents: &Agents, agent: Agent) -> Result<Plan> {
        let mut played = Vec::new();
        for case in cases::all() {
            let Play::Together(_, check) = case.play else {
                continue;
            };
            if self.is_wanted(case.name) && self.has(asked, case.name, case.needs) {
                let result = play_case(case.name, &self.settings.root);
                played.push((case.name, check, result));
            }
        }
        let cost = agent.cost();
        let shown = agent.stop().context("the agent of all cases")?;
        let session = shown.session.as_ref().context("no session")?;
        let plan = Plan::of(&session.plan.name)?;
        for (name, check, result) in &played {
            let outcome = match result {
                Ok(played) => {
                    let problems = verify_case(played, *check, &shown, plan);
                    if problems.0.is_empty() || shown.skipped_runs() == 0 {
                        problems.into()
                    } else {
                        self.once_more(name, *check, agents, plan, problems)
                    }
                }
                Err(error) => Outcome::Failed(vec![format!("the case itself: {error:#}")]),
            };
            self.report(asked, name, outcome);
        }
        let truths: Vec<_> = played
            .iter()
            .filter_map(|(_, _, result)| result.as_ref().ok())
            .map(|(truth, dir)| (truth, dir.as_str()))
            .collect();
        let are_all = truths.len() == played.len();
        self.look_at_whole(asked, plan, &shown, &cost, &truths, are_all);
        Ok(plan)
    }

    /// Plays a case again with an agent of its own, for the kernel skipped programs while it was
    /// played: until it passes, or fails though nothing was skipped.
    fn once_more(
        &self,
        name: &str,
        check: Check,
        agents: &Agents,
        plan: Plan,
        mut problems: Problems,
    ) -> Outcome {
        let mut notes = Vec::new();
        let outcome = loop {
            if notes.len() + 1 == TRIES {
                break Outcome::from(problems);
            }
            notes.push(format!(
                "once more, for programs were skipped and {} things were wrong: {}",
                problems.0.len(),
                problems.0.first().map_or("", String::as_str)
            ));
            let shown = agents.start(&[]).and_then(|agent| {
                let played = play_case(name, &self.settings.root)?;
                Ok((agent.stop()?, played))
            });
            let (shown, played) = match shown {
                Ok(both) => both,
                Err(error) => break Outcome::from(Err(error)),
            };
            problems = verify_case(&played, check, &shown, plan);
            if problems.0.is_empty() || shown.skipped_runs() == 0 {
                break Outcome::from(problems);
            }
        };
        outcome.with_notes(notes)
    }

    fn look_at_whole(
        &mut self,
        asked: &str,
        plan: Plan,
        shown: &Shown,
        cost: &str,
        truths: &[(&Truth, &str)],
        are_all: bool,
    ) {
        let mut report = |name: &str, outcome: Outcome| {
            if self.is_wanted(name) {
                self.report(asked, name, outcome);
            }
        };
        report(
            "the_session_says_how_this_kernel_is_traced",
            whole::session(shown, asked).into(),
        );
        report(
            "the_summary_counts_what_was_shown",
            whole::summary(shown, plan).into(),
        );
        report("nothing_was_lost", whole::losses(shown, cost).into());
        // A case that failed itself leaves datagrams that nobody knows of.
        if are_all {
            report("nothing_else_was_shown", whole::rest(shown, truths).into());
        }
    }
}

fn verify_case(
    (truth, dir): &(Truth, String),
    check: Check,
    shown: &Shown,
    plan: Plan,
) -> Problems {
    let part = Part::of(truth, dir, shown);
    let (pairs, mut problems) = verify::verify(truth, &part, plan);
    check(truth, &pairs, plan, &mut problems);
    problems
}

fn play_case(name: &str, root: &Path) -> Result<(Truth, String)> {
    let playing = play(name, root)?;
    let dir = playing.dir_text();
    Ok((playing.finish()?, dir))
}
