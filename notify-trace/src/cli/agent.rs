//! `agent`: from layers of settings to a trace that records for as long as the host runs.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;

#[cfg(feature = "metrics")]
use crate::agent::Counted;
#[cfg(feature = "otlp")]
use crate::agent::Sent;
use crate::agent::{Agent, Reloaded, Reread, Service};
use crate::cli::capture::{CaptureArgs, PlanArg};
use crate::cli::exit::Exit;
use crate::cli::trace::{Hangup, capture_until, cgroup_id, listen_for_signals, settings};
use crate::cli::view::{ViewArgs, parse_key};
use crate::config::{Config, Override, resolve};
use crate::escape;
use crate::event::PlanName;
#[cfg(feature = "metrics")]
use crate::metrics::{Listen, Metrics, SendingState};
#[cfg(feature = "otlp")]
use crate::otlp::{self, Exporter, Source, Target, TlsFiles};
use crate::pipeline::AsService;
use crate::privileges;
use crate::quantity::{Size, Span, file_bytes, ring_bytes};
use crate::select::Rules;
use crate::store::{Limits, Options, Store};
use crate::words;

/// The file that is read if no other is named; it may be absent.
const DEFAULT_FILE: &str = "/etc/notify-trace/agent.toml";

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace agent
      with the settings of /etc/notify-trace/agent.toml, until it is told to stop
  notify-trace agent --config my.toml --set record.file=/tmp/here.ntrec
      with other settings, and one above those
  notify-trace agent --check-config
      says whether the settings can be used, and prints all that hold";

/// Arguments of `agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The file of settings; by default /etc/notify-trace/agent.toml, if it is there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// One setting, above the file and the environment: record.max_size=2G (repeatable)
    #[arg(long, value_name = "SECTION.OPTION=VALUE", value_parser = Override::of_argument)]
    pub set: Vec<Override>,

    /// Try the settings, print all that hold, and end: 0 if they can be used
    #[arg(long)]
    pub check_config: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the settings can't be used, tracing can't begin, or at the end events can't be stored.
pub fn run(args: &AgentArgs) -> Result<Exit> {
    let layers = Layers::of(args);
    let config = layers.read()?;
    check(&config)?;
    if args.check_config {
        let all = toml::to_string(&config).context("the settings can't be written")?;
        let mut out = io::stdout().lock();
        // Whoever does not want to read them may go away.
        let _ = out.write_all(all.as_bytes()).and_then(|()| out.flush());
        return Ok(Exit::Success);
    }
    privileges::limit();
    let capture = capture_args(&config);
    let mut settings = settings(&capture)?;
    settings.asks_managers = config.capture.facts;
    settings.service = Some(AsService {
        cpu_percent: Some(config.limits.cpu_percent).filter(|percent| *percent > 0),
    });
    let requests = listen_for_signals(Hangup::Reloads)?;
    let store = open_store(&config)?;
    let service = Service::start().context("cannot start the thread that notifies")?;
    let agent = Agent::new(store, service, reread(layers, config.clone()));
    #[cfg(feature = "metrics")]
    let agent = counting(agent, &config)?;
    let mut agent = agent;
    let report = capture_until(settings, &mut agent, requests)?;
    if let Some(store) = agent.store() {
        let stored = words::count(store.stored(), "event", "events");
        eprintln!("notify-trace: {stored} stored, {} dropped", store.dropped());
    }
    if report.losses.any() {
        eprintln!(
            "notify-trace: {} lost",
            words::count(report.losses.in_all(), "record", "records")
        );
    }
    Ok(Exit::Success)
}

/// With metrics, if somebody may read them or is sent them.
#[cfg(feature = "metrics")]
fn counting(agent: Agent, config: &Config) -> Result<Agent> {
    let listen = Listen::of(&config.metrics.listen, config.metrics.public)?;
    #[cfg(feature = "otlp")]
    let settings = sending_settings(config)?;
    #[cfg(feature = "otlp")]
    let is_sending = settings.is_some();
    #[cfg(not(feature = "otlp"))]
    let is_sending = false;
    if listen.is_none() && !is_sending {
        return Ok(agent);
    }
    let recording = agent.store().map(Store::watch);
    let sending = is_sending.then(SendingState::default);
    let metrics = Metrics::with_sending(config.metrics.units, recording, sending.clone());
    let server = match listen {
        Some(listen) => Some(metrics.serve(&listen)?),
        None => None,
    };
    #[cfg(feature = "otlp")]
    let agent = match settings.zip(sending) {
        Some((settings, state)) => sending_to(agent, config, settings, &metrics, state)?,
        None => agent,
    };
    Ok(agent.counting(Counted::new(metrics, server)))
}

/// Sends what it counts and records, if somebody is to have it.
#[cfg(feature = "otlp")]
fn sending_to(
    agent: Agent,
    config: &Config,
    settings: otlp::Settings,
    metrics: &Metrics,
    state: SendingState,
) -> Result<Agent> {
    let source = agent.store().map(|store| Source {
        path: config.record.file.clone(),
        watch: store.watch(),
    });
    let wanted = (settings.logs || settings.spans)
        .then_some(source)
        .flatten();
    let exporter = Exporter::start(settings, wanted, metrics.clone(), state.clone())?;
    Ok(agent.sending(Sent::new(exporter, state)))
}

/// What is sent where, if anything.
#[cfg(feature = "otlp")]
fn sending_settings(config: &Config) -> Result<Option<otlp::Settings>> {
    let it = config.otlp.clone();
    let target = Target::parse(&it.endpoint)
        .map_err(|why| anyhow!("otlp.endpoint = {}: {why}", it.endpoint))?;
    let Some(target) = target else {
        return Ok(None);
    };
    let (Span(interval), Span(timeout)) = (it.interval, it.timeout);
    if interval < SHORTEST || timeout < SHORTEST {
        bail!("otlp.interval and otlp.timeout: they must be 1s or more");
    }
    if (it.logs || it.spans) && !config.record.enabled {
        bail!(
            "otlp.logs and otlp.spans: what is sent comes out of the recording, but record.enabled is \
             false; set both to false to send metrics only"
        );
    }
    Ok(Some(otlp::Settings {
        target,
        logs: it.logs,
        spans: it.spans,
        metrics: it.metrics,
        interval,
        timeout,
        compression: it.compression,
        headers_file: it.headers_file,
        tls: TlsFiles {
            authorities: it.ca_file,
            certificate: it.certificate_file,
            key: it.key_file,
        },
    }))
}

/// The shortest time that is taken for one.
#[cfg(feature = "otlp")]
const SHORTEST: Duration = Duration::from_secs(1);

/// Where settings come from.
#[derive(Debug)]
struct Layers {
    file: Option<PathBuf>,
    set: Vec<Override>,
}

impl Layers {
    fn of(args: &AgentArgs) -> Self {
        Self {
            file: args.config.clone(),
            set: args.set.clone(),
        }
    }

    fn read(&self) -> Result<Config> {
        let path = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let name = escape::path(path).to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.file.is_none() => None,
            Err(error) => {
                return Err(error).with_context(|| format!("the settings in {name} can't be read"));
            }
        };
        let file = text.as_deref().map(|text| (&*name, text));
        let variables = std::env::vars_os().filter_map(variable);
        Ok(resolve(file, variables.chain(self.set.iter().cloned()))?)
    }
}

fn variable((name, value): (OsString, OsString)) -> Option<Override> {
    Override::of_variable(name.to_str()?, value.to_str()?)
}

/// What can be wrong with settings besides their form, without opening anything.
fn check(config: &Config) -> Result<()> {
    let capture = &config.capture;
    Rules::new(&capture.socket, &capture.only_socket, capture.internal).context("[capture]")?;
    for path in &capture.cgroup {
        cgroup_id(path).context("[capture]")?;
    }
    if let Some(btf) = &capture.btf
        && let Err(error) = std::fs::metadata(btf)
    {
        bail!("capture.btf = {}: {error}", escape::path(btf));
    }
    if let Some(size) = capture.ring_size {
        ring_bytes(size.0).map_err(|why| anyhow!("capture.ring_size = {size}: {why}"))?;
    }
    view_args(config).options().context("[view]")?;
    for key in &config.view.redact {
        // What can't be a key would withhold nothing.
        parse_key(key).map_err(|why| {
            anyhow!("view.redact = {key:?}: {why}; several keys are a list, [\"STATUS\", \"X_*\"]")
        })?;
    }
    if config.view.keys_only && !config.view.redact.is_empty() {
        bail!("view.redact and view.keys_only exclude each other");
    }
    #[cfg(feature = "metrics")]
    Listen::of(&config.metrics.listen, config.metrics.public)?;
    #[cfg(not(feature = "metrics"))]
    if config.metrics.listen != "off" {
        bail!(
            "metrics.listen = {}: this notify-trace was built without metrics",
            config.metrics.listen
        );
    }
    #[cfg(feature = "otlp")]
    if let Some(settings) = sending_settings(config)? {
        otlp::check(&settings)?;
    }
    #[cfg(not(feature = "otlp"))]
    if config.otlp.endpoint != "off" {
        bail!(
            "otlp.endpoint = {}: this notify-trace was built without OTLP",
            config.otlp.endpoint
        );
    }
    if config.metrics.units == 0 {
        bail!("metrics.units = 0: it must be 1 or more");
    }
    let Size(size) = config.record.max_size;
    if size > 0 {
        file_bytes(size)
            .map_err(|why| anyhow!("record.max_size = {}: {why}, or 0", config.record.max_size))?;
    }
    if config.record.enabled && !config.record.file.is_absolute() {
        bail!(
            "record.file = {}: it must be a whole path, beginning with /",
            escape::path(&config.record.file)
        );
    }
    Ok(())
}

/// The same as options of `trace`.
fn capture_args(config: &Config) -> CaptureArgs {
    let capture = config.capture.clone();
    CaptureArgs {
        duration: None,
        count: None,
        settle: Duration::ZERO,
        socket: capture.socket,
        only_socket: capture.only_socket,
        internal: capture.internal,
        pid: Vec::new(),
        cgroup: capture.cgroup,
        fail_on_loss: false,
        ring_size: capture.ring_size.map(|Size(bytes)| bytes),
        plan: match capture.plan {
            None => PlanArg::Auto,
            Some(PlanName::Trampolines) => PlanArg::Trampolines,
            Some(PlanName::Full) => PlanArg::Full,
            Some(PlanName::NoTrampolines) => PlanArg::NoTrampolines,
            Some(PlanName::Tracepoints) => PlanArg::Tracepoints,
        },
        btf: capture.btf,
        save_records: None,
        view: view_args(config),
        command: Vec::new(),
    }
}

fn view_args(config: &Config) -> ViewArgs {
    let view = config.view.clone();
    ViewArgs {
        unit: view.unit,
        container: view.container,
        user: view.user,
        comm: view.comm,
        key: view.key,
        class: view.class,
        failed: view.failed,
        redact: view.redact,
        keys_only: view.keys_only,
    }
}

fn limits(config: &Config) -> Limits {
    let Size(size) = config.record.max_size;
    let Span(age) = config.record.max_age;
    Limits {
        size_bytes: (size > 0).then_some(size),
        age: (!age.is_zero()).then_some(age),
    }
}

fn open_store(config: &Config) -> Result<Option<Store>> {
    let record = &config.record;
    if !record.enabled {
        return Ok(None);
    }
    let options = Options {
        durability: record.durability,
        limits: limits(config),
        waits_for_disk: true,
        acknowledge: None,
        is_outbox: config.otlp.endpoint != "off" && (config.otlp.logs || config.otlp.spans),
    };
    let store = Store::open(&record.file, options)
        .with_context(|| format!("record.file = {}", escape::path(&record.file)))?;
    Ok(Some(store))
}

/// Reads the layers again and says what changes.
fn reread(layers: Layers, mut holds: Config) -> Reread {
    Box::new(move || {
        let config = layers
            .read()
            .and_then(|config| check(&config).map(|()| config))
            .map_err(|error| in_a_line(&error))?;
        let view = view_args(&config)
            .options()
            .map_err(|error| in_a_line(&error))?;
        let waiting = holds.needs_restart(&config);
        let note = (!waiting.is_empty())
            .then(|| format!("a restart is needed for {}", waiting.join(", ")));
        let reloaded = Reloaded {
            view: (holds.view != config.view).then_some(view),
            limits: limits(&config),
            units: config.metrics.units,
            note,
        };
        // What needs a restart is compared with what holds, each time.
        holds.view = config.view;
        holds.record.max_size = config.record.max_size;
        holds.record.max_age = config.record.max_age;
        holds.metrics.units = config.metrics.units;
        Ok(reloaded)
    })
}

fn in_a_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let words: Vec<&str> = text.split_whitespace().collect();
    escape::escape(words.join(" ").as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Config {
        let above = Override::of_argument(text).expect("valid");
        resolve(None, [above]).expect("valid")
    }

    #[test]
    fn what_is_wrong_is_found_without_running() {
        assert!(check(&Config::default()).is_ok());
        for (text, word) in [
            ("capture.socket=*", "[capture]"),
            ("capture.ring_size=1", "ring_size"),
            ("view.user=nobody-of-that-name", "[view]"),
            ("view.redact=STATUS,X_TOKEN", "view.redact"),
            ("view.redact=STATUS=", "view.redact"),
            ("capture.cgroup=/no/such/cgroup", "[capture]"),
            ("capture.btf=/no/such/file", "capture.btf"),
            ("record.max_size=1K", "max_size"),
            ("record.file=here.ntrec", "record.file"),
            ("otlp.endpoint=localhost:4318", "otlp.endpoint"),
        ] {
            let error = check(&set(text)).expect_err(text);
            assert!(format!("{error:#}").contains(word), "{error:#}");
        }
    }

    #[test]
    fn settings_that_are_wrong_change_nothing() {
        let folder = std::env::temp_dir().join(format!("nt-agent-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("agent.toml");
        let layers = Layers {
            file: Some(file.clone()),
            set: Vec::new(),
        };
        std::fs::write(&file, "").expect("a file");
        let config = layers.read().expect("valid");
        let mut reread = reread(layers, config);
        std::fs::write(
            &file,
            "[view]\nunit = [\"nginx\"]\n[capture]\ninternal = true\n",
        )
        .expect("a file");
        let reloaded = reread().expect("valid");
        let view = reloaded.view.expect("it has changed");
        assert_eq!(view.filter.units, ["nginx.service"]);
        assert_eq!(
            reloaded.note.as_deref(),
            Some("a restart is needed for [capture]")
        );
        std::fs::write(&file, "[view]\nunitt = 1\n").expect("a file");
        let why = reread().expect_err("it is wrong");
        assert!(why.contains("unitt") && !why.contains('\n'), "{why}");
        std::fs::write(&file, "[view]\nunit = [\"nginx\"]\n").expect("a file");
        let reloaded = reread().expect("valid");
        assert!(reloaded.view.is_none() && reloaded.note.is_none());
        std::fs::remove_dir_all(&folder).expect("ours");
    }
}
