//! An apt of our own inside the cache: package lists and downloads of any suite, signatures checked.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{
    Stanza, compare_versions,
    sources::{Entry, Mirror, mirror, parse_deb822, parse_lines},
};
use crate::{cache::Cache, command};

/// Names a mirror where the system's sources name none (other distributions, odd set-ups).
const MIRROR_VARIABLE: &str = "NOTIFY_TRACE_MIRROR";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const KEYRING_PACKAGE: &str = "debian-archive-keyring";

/// A part of the archive, such as `trixie` or `trixie-security`.
pub type Suite = &'static str;

/// The Debian archive as this machine reaches it.
#[derive(Debug)]
pub struct Archive {
    mirror: Mirror,
    codename: String,
    apt: PathBuf,
}

impl Archive {
    /// Learns the mirror from this system's own apt sources.
    pub fn of_this_system(cache: &Cache) -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let codename = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .unwrap_or("stable")
            .trim_matches('"')
            .to_owned();
        let mirror = match env::var(MIRROR_VARIABLE) {
            Ok(base) => Mirror {
                base,
                security: None,
                keyring: None,
            },
            Err(_) => mirror(&system_entries(), &codename).ok_or_else(|| {
                anyhow!(
                    "no Debian mirror for {codename} in /etc/apt/sources.list and \
                     /etc/apt/sources.list.d: set {MIRROR_VARIABLE} to the address of one"
                )
            })?,
        };
        Ok(Self {
            mirror,
            codename,
            apt: cache.path("apt"),
        })
    }

    /// This system's release: `bookworm`; `stable` where it doesn't say.
    pub fn codename(&self) -> &str {
        &self.codename
    }

    /// The lines mmdebstrap needs to install `suite` with its security updates, if it has any.
    pub fn source_lines(&self, suite: Suite, security: Option<Suite>) -> Vec<String> {
        [Some(suite), security]
            .into_iter()
            .flatten()
            .filter_map(|suite| self.source_line(suite))
            .collect()
    }

    /// Reads the package lists of `suite` again.
    pub fn update(&self, suite: Suite) -> Result<()> {
        let Err(first) = self.try_update(suite) else {
            return Ok(());
        };
        let text = first.to_string();
        if !["NO_PUBKEY", "EXPKEYSIG", "REVKEYSIG"]
            .iter()
            .any(|word| text.contains(word))
        {
            return Err(first);
        }
        // Keys of newer suites, and removed keys of older ones, come with the keyring package of
        // the suite this system trusts already.
        self.fetch_keyring().with_context(|| {
            format!("the keys of {suite} are not on this system, and {KEYRING_PACKAGE} can't help")
        })?;
        self.try_update(suite)
    }

    /// All packages of `suite` whose name begins with `prefix`.
    pub fn packages(&self, suite: Suite, prefix: &str) -> Result<Vec<Stanza>> {
        let names = command::output(self.tool("apt-cache", suite)?.args(["pkgnames", prefix]))?;
        let names: Vec<_> = names.split_whitespace().collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let text = command::output(self.tool("apt-cache", suite)?.arg("show").args(names))?;
        Ok(Stanza::parse_all(&text))
    }

    /// The package of `suite` of that very name.
    pub fn package(&self, suite: Suite, name: &str) -> Result<Stanza> {
        self.packages(suite, name)?
            .into_iter()
            .find(|stanza| stanza.package == name)
            .ok_or_else(|| anyhow!("{suite} has no {name}"))
    }

    /// Downloads one version of a package into `folder`; apt checks its digest.
    fn download(&self, suite: Suite, stanza: &Stanza, folder: &Path) -> Result<()> {
        let package = format!("{}={}", stanza.package, stanza.version);
        let mut apt = self.tool("apt-get", suite)?;
        command::output(apt.args(["-q", "download", &package]).current_dir(folder))?;
        Ok(())
    }

    /// Downloads one version of a package and unpacks it, without installing anything.
    pub fn unpack(&self, suite: Suite, stanza: &Stanza, draft: &Path, to: &Path) -> Result<()> {
        let folder = draft.join(&stanza.package);
        fs::create_dir(&folder)
            .with_context(|| format!("could not create {}", folder.display()))?;
        self.download(suite, stanza, &folder)?;
        unpack_all(&folder, to)
    }

    /// Downloads the newest version of packages and of all they depend on, as far as the names are
    /// wanted, and unpacks everything into one tree.
    pub fn unpack_with_dependencies(
        &self,
        suite: Suite,
        packages: &[&str],
        is_wanted: impl Fn(&str) -> bool,
        draft: &Path,
        to: &Path,
    ) -> Result<()> {
        let mut apt = self.tool("apt-cache", suite)?;
        apt.args(["depends", "--recurse", "--no-recommends", "--no-suggests"]);
        apt.args(["--no-conflicts", "--no-breaks", "--no-replaces"]);
        let text = command::output(apt.arg("--no-enhances").args(packages))?;
        let folder = draft.join("packages");
        fs::create_dir(&folder)
            .with_context(|| format!("could not create {}", folder.display()))?;
        let mut apt = self.tool("apt-get", suite)?;
        apt.args(["-q", "download"]).args(names(&text, is_wanted));
        command::output(apt.current_dir(&folder))?;
        unpack_all(&folder, to)
    }

    fn source_line(&self, suite: &str) -> Option<String> {
        let base = match suite.ends_with("-security") {
            true => self.mirror.security.as_deref()?,
            false => &self.mirror.base,
        };
        Some(format!(
            "deb [signed-by={}] {base} {suite} main",
            self.keyrings().join(",")
        ))
    }

    fn keyrings(&self) -> Vec<String> {
        let fetched = self.apt.join("keyrings");
        let fetched = fs::read_dir(fetched).into_iter().flatten().flatten();
        let mut keyrings: Vec<_> = fetched
            .map(|entry| entry.path().to_string_lossy().into_owned())
            .collect();
        let system = self.mirror.keyring.as_deref().unwrap_or(KEYRING);
        if Path::new(system).exists() {
            keyrings.push(system.to_owned());
        }
        keyrings
    }

    fn try_update(&self, suite: &str) -> Result<()> {
        let line = self
            .source_line(suite)
            .ok_or_else(|| anyhow!("this system's sources name no mirror for {suite}"))?;
        let folder = self.apt.join(suite);
        for needed in ["state/lists/partial", "cache/archives/partial"] {
            let path = folder.join(needed);
            fs::create_dir_all(&path)
                .with_context(|| format!("could not create {}", path.display()))?;
        }
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))
        };
        write("sources.list", &format!("{line}\n"))?;
        write("state/status", "")?;
        let mut apt = self.tool("apt-get", suite)?;
        // Without this option apt calls a failed download a success.
        apt.args(["-o", "APT::Update::Error-Mode=any", "-q", "update"]);
        command::output(&mut apt)?;
        Ok(())
    }

    fn fetch_keyring(&self) -> Result<()> {
        self.try_update(&self.codename)?;
        let text = command::output(
            self.tool("apt-cache", &self.codename)?
                .args(["show", KEYRING_PACKAGE]),
        )?;
        let newest = Stanza::parse_all(&text)
            .into_iter()
            .max_by(|a, b| compare_versions(&a.version, &b.version))
            .ok_or_else(|| anyhow!("{} has no {KEYRING_PACKAGE}", self.codename))?;
        let folder = self.apt.join("keyring-package");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).context("could not create a folder for the keyring")?;
        let package = format!("{}={}", newest.package, newest.version);
        let mut apt = self.tool("apt-get", &self.codename)?;
        command::output(apt.args(["-q", "download", &package]).current_dir(&folder))?;
        for deb in fs::read_dir(&folder)
            .context("could not list the keyring package")?
            .flatten()
        {
            command::output(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .arg(deb.path())
                    .arg(&folder),
            )?;
        }
        let keyrings = self.apt.join("keyrings");
        fs::create_dir_all(&keyrings).context("could not create the folder of keyrings")?;
        for name in [
            "debian-archive-keyring.gpg",
            "debian-archive-removed-keys.gpg",
        ] {
            let from = folder.join("usr/share/keyrings").join(name);
            if from.exists() {
                fs::copy(&from, keyrings.join(name))
                    .with_context(|| format!("could not copy {}", from.display()))?;
            }
        }
        fs::remove_dir_all(&folder).context("could not remove the keyring package")
    }

    fn tool(&self, program: &str, suite: &str) -> Result<Command> {
        let folder = self.apt.join(suite);
        if !folder.join("sources.list").exists() && !folder.exists() {
            bail!("the package lists of {suite} have not been fetched");
        }
        let mut command = Command::new(program);
        for (name, value) in [
            ("Dir::Etc::sourcelist", folder.join("sources.list")),
            ("Dir::Etc::sourceparts", PathBuf::from("-")),
            ("Dir::State", folder.join("state")),
            ("Dir::State::status", folder.join("state/status")),
            ("Dir::Cache", folder.join("cache")),
        ] {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        }
        for option in [
            "APT::Architecture=amd64",
            // The user `_apt` can't write into the cache.
            "APT::Sandbox::User=root",
            "Acquire::Languages=none",
            "Acquire::Retries=3",
            // Lists of an archived suite are signed, but never renewed.
            "Acquire::Check-Valid-Until=false",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
        ] {
            command.args(["-o", option]);
        }
        command.env("LC_ALL", "C");
        Ok(command)
    }
}

/// Unpacks every package in `folder`.
fn unpack_all(folder: &Path, to: &Path) -> Result<()> {
    let files = fs::read_dir(folder).context("could not list what was downloaded")?;
    for deb in files.flatten() {
        command::output(Command::new("dpkg-deb").arg("-x").arg(deb.path()).arg(to))?;
    }
    Ok(())
}

/// The packages that `apt-cache depends` lists: what they depend on is indented, and a name that none
/// has stands in brackets.
fn names(text: &str, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    text.lines()
        .filter(|line| !line.starts_with([' ', '|', '<']))
        .filter(|name| !name.is_empty() && is_wanted(name))
        .collect()
}

fn system_entries() -> Vec<Entry> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let more = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten();
    files.extend(more.map(|entry| entry.path()));
    files.sort();
    let mut entries = Vec::new();
    for file in files {
        // A file that isn't there or can't be read names no mirror.
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => entries.extend(parse_deb822(&text)),
            Some("list") => entries.extend(parse_lines(&text)),
            _ => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_can_be_had_is_listed_once() {
        let text = "\
golang-a-dev
  Depends: golang-b-dev
 |Depends: <golang-c-dev>
    golang-d-dev
  Depends: gcc
golang-b-dev
<golang-c-dev>
golang-b-dev
gcc
";
        let all = names(text, |name| name.ends_with("-dev"));
        assert_eq!(Vec::from_iter(all), ["golang-a-dev", "golang-b-dev"]);
    }
}
