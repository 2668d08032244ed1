//! Options about what is shown, shared by the verbs that show events.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::enrich::host_root;
use crate::enrich::users::Users;
use crate::view::ViewOptions;
use crate::view::filter::{Filter, unit_pattern};
use crate::view::redact::Redact;

/// What is shown. In all globs `*` is any run of characters but `/`, `?` any one.
#[derive(Clone, Debug, Default, Args)]
#[command(
    next_help_heading = "What is shown (options of one name are alternatives, different ones must all hold)"
)]
pub struct ViewArgs {
    /// Only what is sent from this unit or slice, of the host, of a user or inside of a container:
    /// nginx, getty@.service, user-1000.slice, 'app-*'
    #[arg(long, value_name = "GLOB")]
    pub unit: Vec<String>,

    /// Only what is sent from this container, machine or pod, or by its monitor: a name, an id or
    /// its beginning
    #[arg(long, value_name = "GLOB")]
    pub container: Vec<String>,

    /// Only what this user sends, or what is sent from this user's slice: a name or a number
    #[arg(long, value_name = "USER")]
    pub user: Vec<String>,

    /// Only what is sent by processes, or threads, of this name
    #[arg(long, value_name = "GLOB")]
    pub comm: Vec<String>,

    /// Only messages with an assignment to this key: READY, WATCHDOG, 'X_*'
    #[arg(long, value_name = "GLOB")]
    pub key: Vec<String>,

    /// Only what goes to sockets of this kind: systemd, systemd-user, runc, crun, conmon, podman, nspawn,
    /// environment, other, custom
    #[arg(long, value_name = "GLOB")]
    pub class: Vec<String>,

    /// Only what failed, was dropped or destroyed, or has not arrived yet
    #[arg(long)]
    pub failed: bool,

    /// Withhold the values of these keys, in every output: STATUS,X_TOKEN or 'X_*'; command lines
    /// of senders are withheld too, for they may hold the same
    #[arg(long, value_name = "KEY,…", value_delimiter = ',', value_parser = parse_key)]
    pub redact: Vec<String>,

    /// Withhold all values: only keys are shown
    #[arg(long, conflicts_with = "redact")]
    pub keys_only: bool,
}

impl ViewArgs {
    /// What is meant; a user's name is looked up in the host's /etc/passwd.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn options(&self) -> Result<ViewOptions> {
        let users = self
            .user
            .iter()
            .map(|name| Ok((uid(name)?, name.clone())))
            .collect::<Result<_>>()?;
        Ok(ViewOptions {
            filter: Filter {
                units: self.unit.iter().map(|typed| unit_pattern(typed)).collect(),
                containers: self.container.clone(),
                users,
                comms: self.comm.clone(),
                keys: self.key.clone(),
                classes: self.class.clone(),
                failed: self.failed,
            },
            redact: if self.keys_only {
                Redact::AllValues
            } else if self.redact.is_empty() {
                Redact::Nothing
            } else {
                Redact::Keys(self.redact.clone())
            },
        })
    }
}

/// A glob of keys: what can't be one is refused, for it would withhold nothing.
pub(super) fn parse_key(text: &str) -> Result<String, String> {
    let key = text.trim();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_*?".contains(c);
    if key.is_empty() || !key.chars().all(is_allowed) {
        return Err("a key has letters, digits and _, and * and ? stand for any".to_owned());
    }
    Ok(key.to_owned())
}

fn uid(name: &str) -> Result<u32> {
    if let Ok(uid) = name.parse() {
        return Ok(uid);
    }
    let root = host_root(Path::new("/proc"));
    Users::of(&root).uid(name).with_context(|| {
        format!(
            "--user {name}: there is no such user in {}; give the user's number",
            root.join("etc/passwd").display()
        )
    })
}
