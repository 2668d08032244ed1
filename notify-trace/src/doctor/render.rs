//! The report as text: one line a check, the word for its status first, so that it can be read
//! without colour. Pure.

use std::fmt::Write as _;

use crate::doctor::hooks::Hook;
use crate::doctor::{Check, Report, Status, Verdict};
use crate::escape::escape;
use crate::probe::refusal::Refusal;
use crate::words::plan_name;

/// Columns that a line may have.
pub const COLUMNS: usize = 80;

/// Columns of the longest status, `unknown` or `limited`.
const STATUS_COLUMNS: usize = 7;

/// The whole report, each line ended.
#[must_use]
pub fn text(report: &Report, columns: usize) -> String {
    let mut page = Page {
        text: String::new(),
        columns,
    };
    let heading = format!(
        "notify-trace {} doctor: {}, Linux {} {}",
        report.tool_version, report.host, report.kernel, report.machine
    );
    page.paragraph("", "", &heading);

    page.heading("This host and this process");
    let width = width(report.checks.iter().map(|check| check.name.len()));
    for check in &report.checks {
        page.check(check, width);
    }

    page.hooks(&report.hooks);

    match &report.plan {
        Some(plan) => {
            page.heading(&format!("Plan: {}", plan_name(plan.name)));
            page.paragraph("  ", "  ", &plan.reason);
            let limits = plan.limits.iter().chain(&report.warnings);
            page.list("It can't tell", limits);
        }
        None => {
            page.heading("Plan: none");
            page.list("What is to be known besides", report.warnings.iter());
        }
    }
    page.list("What to change", report.advice.iter());

    page.text.push('\n');
    page.paragraph("", "", &last_line(report));
    page.text
}

fn last_line(report: &Report) -> String {
    let code = report.exit_code;
    match report.verdict {
        Verdict::Usable => format!("usable: trace shows everything (exit code {code})"),
        Verdict::Limited => {
            format!("limited: trace works, but can't tell everything (exit code {code})")
        }
        Verdict::NotUsable => format!("NOT USABLE: trace would end with exit code {code}, too"),
    }
}

const fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Info => "info",
        Status::Limited => "limited",
        Status::Bad => "BAD",
        Status::Unknown => "unknown",
    }
}

fn width(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.max().unwrap_or(0)
}

struct Page {
    text: String,
    columns: usize,
}

impl Page {
    fn heading(&mut self, text: &str) {
        self.text.push('\n');
        self.paragraph("", "", text);
    }

    fn list<'a>(&mut self, heading: &str, items: impl Iterator<Item = &'a String>) {
        for (number, item) in items.enumerate() {
            if number == 0 {
                self.heading(heading);
            }
            self.paragraph("  - ", "    ", item);
        }
    }

    fn check(&mut self, check: &Check, width: usize) {
        let lead = lead(check.status, check.name, width);
        let hang = " ".repeat(lead.chars().count());
        self.paragraph(&lead, &hang, &check.found);
        if let Some(follows) = &check.follows {
            self.paragraph(&format!("{hang}→ "), &format!("{hang}  "), follows);
        }
    }

    /// A line each; what the kernel answered stands below, once for all that it answered so: of the
    /// verifier's log the last line counts.
    fn hooks(&mut self, hooks: &[Hook]) {
        self.heading("Hooks, each loaded and attached on its own, and detached again");
        let width = width(hooks.iter().map(|hook| hook.style.name().len()));
        let mut answers: Vec<&Refusal> = Vec::new();
        for hook in hooks {
            let lead = lead(hook.status, hook.style.name(), width);
            let hang = " ".repeat(lead.chars().count());
            let mut line = hook.target.to_owned();
            if let Some(refusal) = &hook.refusal {
                let at = answers.iter().position(|it| {
                    it.answer == refusal.answer && it.verifier.last() == refusal.verifier.last()
                });
                let number = 1 + at.unwrap_or_else(|| {
                    answers.push(refusal);
                    answers.len() - 1
                });
                let word = if hook.attached.is_none() {
                    "not tried"
                } else {
                    "refused"
                };
                line = format!("{line}: {word} [{number}]");
            }
            self.paragraph(&lead, &hang, &line);
            if let Some(follows) = hook.follows {
                let follows = format!("lost: {follows}");
                self.paragraph(&format!("{hang}→ "), &format!("{hang}  "), &follows);
            }
        }
        for (number, answer) in answers.iter().enumerate() {
            self.paragraph(&format!("  [{}] ", number + 1), "      ", &answer.answer);
            for line in &answer.verifier {
                self.paragraph("      | ", "      | ", line);
            }
        }
    }

    /// Words in lines that hold; `first` and `other` begin the first line and all others. Whatever
    /// came from outside is escaped here.
    fn paragraph(&mut self, first: &str, other: &str, text: &str) {
        let room = self
            .columns
            .saturating_sub(first.chars().count().max(other.chars().count()))
            .max(10);
        let text = escape(text.as_bytes()).to_string();
        for (number, line) in crate::words::wrap(&text, room).iter().enumerate() {
            let lead = if number == 0 { first } else { other };
            // Writing to a string can't fail.
            let _ = writeln!(self.text, "{lead}{line}");
        }
    }
}

fn lead(status: Status, name: &str, width: usize) -> String {
    format!("  {:STATUS_COLUMNS$}  {name:width$}  ", word(status))
}

#[cfg(test)]
mod tests;
