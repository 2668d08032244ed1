//! `setup`: makes this machine able to build and test, and says what it found.
//!
//! Owns the question to the user and the order of things; what a tool chain or a linker is, and how
//! to get one, is known by the modules below. Every other verb comes through [`ensure`] first.

mod linker;
mod packages;
mod toolchain;

use std::{
    env,
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};

use self::{linker::Linker, packages::Package, toolchain::Toolchain};
pub use self::{packages::busybox, toolchain::VARIABLE as TOOLCHAIN_VARIABLE};
use crate::cache::Cache;

/// Makes this machine able to build and test.
#[derive(clap::Args)]
pub struct Arguments {
    /// Install without asking (the same as a CI variable in the environment)
    #[arg(long, short)]
    yes: bool,
}

/// What a verb needs of the machine; each needs what the one before needs, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Compile both sides.
    Build,
    /// Boot kernels.
    Boot,
    /// Make the file system of a whole distribution.
    Image,
}

/// A machine that has what is needed.
#[derive(Debug)]
pub struct Ready {
    /// Where downloads and images go.
    pub cache: Cache,
    /// Name of the rustup toolchain for the kernel side.
    pub toolchain: String,
    /// Folder of bpf-linker.
    pub linker_folder: PathBuf,
}

/// How to find out whether installing is welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consent {
    Given,
    Ask,
    Refused,
}

/// Everything that is looked at, found or not.
struct Survey {
    toolchain: Option<Toolchain>,
    linker: Option<Linker>,
    missing: Vec<Package>,
}

/// Runs `cargo xtask setup`.
pub fn verb(arguments: &Arguments) -> Result<ExitCode> {
    let ready = prepare(Need::Image, arguments.yes, true)?;
    println!(
        "ready; tools and downloads are in {}",
        ready.cache.path("").display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Checks for everything that `need` names and provides what is missing, after asking.
pub fn ensure(need: Need) -> Result<Ready> {
    prepare(need, false, false)
}

fn prepare(need: Need, yes: bool, talkative: bool) -> Result<Ready> {
    let cache = Cache::open()?;
    let survey = survey(need, &cache)?;
    let plan = survey.plan(need)?;
    if talkative || !plan.is_empty() {
        survey.print(need);
    }
    if !plan.is_empty() {
        let ci = env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        obtain_consent(consent(yes || ci, std::io::stdin().is_terminal()), &plan)?;
        let _lock = cache.lock()?;
        survey.provide(need, &cache)?;
    }
    let survey = self::survey(need, &cache)?;
    let (Some(toolchain), Some(linker)) = (survey.toolchain, survey.linker) else {
        bail!(
            "the installation ended without an error, but tools are still missing: run `cargo xtask setup`"
        );
    };
    Ok(Ready {
        cache,
        toolchain: toolchain.name,
        linker_folder: linker.folder,
    })
}

fn survey(need: Need, cache: &Cache) -> Result<Survey> {
    Ok(Survey {
        toolchain: toolchain::find()?,
        linker: linker::find(cache),
        missing: packages::missing(need),
    })
}

impl Survey {
    /// One line per change to the system; empty when nothing is missing.
    fn plan(&self, need: Need) -> Result<Vec<String>> {
        let mut plan = Vec::new();
        if self.toolchain.is_none() {
            plan.push(toolchain::plan()?);
        }
        if self.linker.is_none() {
            plan.push(linker::plan());
        }
        if !self.missing.is_empty() {
            let names: Vec<_> = self.missing.iter().map(|package| package.name).collect();
            let why = if need == Need::Build {
                "to build"
            } else {
                "to build and to run VMs"
            };
            plan.push(format!("apt-get install {} ({why})", names.join(" ")));
        }
        Ok(plan)
    }

    fn print(&self, need: Need) {
        let line = |item: &str, state: &str| eprintln!("{item:<22} {state}");
        line(
            "kernel-side toolchain",
            &self
                .toolchain
                .as_ref()
                .map_or("missing".into(), |found| found.to_string()),
        );
        line(
            "bpf-linker",
            &self
                .linker
                .as_ref()
                .map_or("missing".into(), |found| found.to_string()),
        );
        for package in packages::needed(need) {
            match package.find() {
                Some(path) => line(package.name, &format!("found: {}", path.display())),
                None => line(package.name, "missing"),
            }
        }
    }

    fn provide(&self, need: Need, cache: &Cache) -> Result<()> {
        if !self.missing.is_empty() {
            let names: Vec<_> = packages::missing(need).iter().map(|p| p.name).collect();
            packages::install(&names)?;
        }
        if self.toolchain.is_none() {
            toolchain::provide()?;
        }
        if self.linker.is_none() {
            linker::provide(cache)?;
        }
        Ok(())
    }
}

fn consent(given: bool, terminal: bool) -> Consent {
    match (given, terminal) {
        (true, _) => Consent::Given,
        (false, true) => Consent::Ask,
        (false, false) => Consent::Refused,
    }
}

fn obtain_consent(consent: Consent, plan: &[String]) -> Result<()> {
    eprintln!("\nto be done, once:");
    for line in plan {
        eprintln!("  - {line}");
    }
    match consent {
        Consent::Given => Ok(()),
        Consent::Refused => bail!(
            "nothing was installed, because nobody can be asked here: \
             run `cargo xtask setup --yes` to install what is listed above"
        ),
        Consent::Ask => {
            eprint!("go on? [Y/n] ");
            std::io::stderr().flush().context("could not ask")?;
            let mut answer = String::new();
            std::io::stdin()
                .read_line(&mut answer)
                .context("could not read the answer")?;
            if is_yes(&answer) {
                Ok(())
            } else {
                bail!("nothing was installed")
            }
        }
    }
}

/// Return alone means yes; the end of the input doesn't.
fn is_yes(answer: &str) -> bool {
    answer.ends_with('\n') && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_is_asked_and_only_when_consent_is_not_given() {
        assert_eq!(consent(true, true), Consent::Given);
        assert_eq!(consent(true, false), Consent::Given);
        assert_eq!(consent(false, true), Consent::Ask);
        assert_eq!(consent(false, false), Consent::Refused);
    }

    #[test]
    fn return_means_yes_and_a_closed_input_means_no() {
        assert!(is_yes("\n"));
        assert!(is_yes("Y\n"));
        assert!(!is_yes("n\n"));
        assert!(!is_yes(""));
    }

    #[test]
    fn an_image_needs_what_a_boot_needs() {
        let boot: Vec<_> = packages::needed(Need::Boot).collect();
        let image: Vec<_> = packages::needed(Need::Image).collect();
        assert!(
            boot.iter()
                .all(|package| image.iter().any(|other| other.name == package.name))
        );
        assert!(image.len() > boot.len());
    }
}
