//! `compare`: the peers side by side, in interleaved rounds, so that what the machine does meanwhile hits all alike.

mod idle;
mod plot;
mod results;
mod write;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::args::CompareArgs;
use crate::certificate::Certificate;
use crate::client::load::{self, Drive, Load};
use crate::install;
use crate::issuer::Issuer;
use crate::origin::Origin;
use crate::peers::{Job, Kind, Peer};
use crate::procfs;
use crate::proxy::{Bench, Running, Scratch};
use crate::report::complain;
use crate::scenario::{self, Scenario};
use results::{Contestant, Outcome, Report, Sample};

/// How long and how often.
#[derive(Debug, Clone, Copy)]
struct Effort {
    rounds: usize,
    closed: Duration,
    open: Duration,
    rate: Option<f64>,
    warm_up: Duration,
    connections: usize,
}

/// Runs the comparison; false when a request failed, a wanted peer did not start, or Fairway took more than it may.
pub(crate) async fn run(args: &CompareArgs) -> Result<bool> {
    let effort = effort(args)?;
    let (mut scenarios, is_idle_wanted) = Scenario::choose(&args.scenario)?;
    let peers = peers(args)?;
    scenarios.retain(|scenario| {
        let is_for_any = peers.iter().any(|peer| scenario.is_for(peer.kind));
        if !is_for_any {
            complain(format_args!("{} is left out: no peer that takes part can do it", scenario.name));
        }
        is_for_any
    });
    let scratch = Scratch::create()?;
    let certificate = Certificate::create(scratch.path())?;
    // Before the CPUs are divided: signing takes all of them.
    let path = format!("/{}", scenario::SMALL);
    let issuer = Issuer::create(&Scenario::algs(&scenarios), &path, args.quick)?;
    let (origin, address) = Origin::new(None).spawn().await?;
    let core = split_cores()?;
    let (certificate, issuer, dir) = (&certificate, Some(&issuer), scratch.path());
    let bench = Bench { origin: address, certificate, issuer, dir, core };
    let mut report = Report::new(effort.rounds, args.quick);
    for scenario in scenarios {
        complain(format_args!("{}: {}", scenario.name, scenario.title));
        report.outcomes.push(measure(&scenario, &peers, &bench, effort).await);
    }
    if is_idle_wanted {
        complain(format_args!("idle: {} connections", effort.connections));
        for peer in &peers {
            report.idle.push(idle::measure(peer, &bench, &origin, effort.connections).await);
        }
    }
    fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    write::all(&report, &args.out)?;
    Ok(report.is_valid() && (args.quick || report.is_within()))
}

fn effort(args: &CompareArgs) -> Result<Effort> {
    let seconds = |name, value: f64| {
        if (0.0..=600.0).contains(&value) {
            return Ok(Duration::from_secs_f64(value));
        }
        bail!("{name} {value}: give 0 to 600 seconds");
    };
    if args.rate.is_some_and(|r| !(1.0..=1e6).contains(&r)) {
        bail!("--rate: give 1 to 1000000 requests per second");
    }
    if args.rounds == 0 || args.rounds > 1000 || args.connections == 0 || args.connections > 5000 {
        bail!("--rounds: 1 to 1000; --connections: 1 to 5000");
    }
    let full = Effort {
        rounds: args.rounds,
        closed: seconds("--seconds", args.seconds)?,
        open: seconds("--open-seconds", args.open_seconds)?,
        rate: args.rate,
        warm_up: Duration::from_millis(500),
        connections: args.connections,
    };
    if !args.quick {
        return Ok(full);
    }
    let short = Duration::from_millis(300);
    let rate = args.rate.or(Some(200.0));
    Ok(Effort { rounds: 2, closed: short, open: short, rate, warm_up: short / 3, connections: 50 })
}

/// Those named, or all that are present; what is missing is said.
fn peers(args: &CompareArgs) -> Result<Vec<Peer>> {
    if let Some(unknown) = args.peers.iter().find(|p| !Kind::ALL.iter().any(|k| k.name() == **p)) {
        bail!("--peers {unknown}: there are {}", Kind::ALL.map(Kind::name).join(", "));
    }
    let mut peers = Vec::new();
    for kind in Kind::ALL {
        if !args.peers.is_empty() && !args.peers.iter().any(|p| p == kind.name()) {
            continue;
        }
        if let Some(program) = own(kind, args)? {
            peers.push(Peer { kind, program });
            continue;
        }
        let mut peer = install::find(kind, &args.cache);
        if peer.is_none() && args.install {
            install::install(kind, &args.cache)?;
            peer = install::find(kind, &args.cache);
        }
        match peer {
            Some(peer) => peers.push(peer),
            None => {
                complain(format_args!("{} is missing and left out: {}", kind.name(), install::remedy(kind)))
            }
        }
    }
    Ok(peers)
}

/// The program, if it is one of this workspace: both built alike, or one pays for what the compiler did.
fn own(kind: Kind, args: &CompareArgs) -> Result<Option<PathBuf>> {
    let (given, name) = match kind {
        Kind::Fairway => (&args.fairway, "fairway-gateway"),
        Kind::Floor => (&args.floor, "loadtests"),
        Kind::Envoy | Kind::Nginx | Kind::Haproxy | Kind::Waypoint => return Ok(None),
    };
    if let Some(program) = given {
        return program.canonicalize().with_context(|| program.display().to_string()).map(Some);
    }
    let this = std::env::current_exe().context("own path")?;
    let is_shipped = this.parent().is_some_and(|dir| dir.ends_with("dist"));
    if kind == Kind::Floor && (args.quick || is_shipped) {
        return Ok(Some(this));
    }
    install::build(name, name).map(Some)
}

/// This process, with load and origin, on the last CPU; the proxies on the first. None when there is only one.
pub(crate) fn split_cores() -> Result<Option<usize>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        complain("one CPU only: load and proxies share it, latencies mean nothing");
        return Ok(None);
    }
    crate::leash::pin(cores - 1)?;
    Ok(Some(0))
}

async fn measure(scenario: &Scenario, peers: &[Peer], bench: &Bench<'_>, effort: Effort) -> Outcome {
    let mut outcome = Outcome::new(scenario, effort.rate.unwrap_or(scenario.rate));
    let mut running = Vec::new();
    let able = peers.iter().filter(|peer| scenario.is_for(peer.kind));
    for (peer, job) in able.flat_map(|p| scenario.jobs.iter().map(move |j| (p, *j))) {
        let mut contestant = Contestant::new(peer.kind, job);
        match Running::start(peer, job, bench).await {
            Ok(proxy) => {
                contestant.start_kib = proxy.pss_kib();
                running.push((outcome.contestants.len(), proxy));
            }
            Err(error) => contestant.fail(format!("did not start: {error:#}")),
        }
        outcome.contestants.push(contestant);
    }
    let before = Usage::now(&running);
    for (_, proxy) in &running {
        let load = scenario.load(proxy, bench.certificate);
        // An error shows again in the rounds, where it is counted.
        let _ = load::run(&load, Drive::Closed(effort.warm_up), || ()).await;
    }
    for round in 0..effort.rounds {
        complain(format_args!("  round {} of {}", round + 1, effort.rounds));
        for (i, proxy) in &running {
            let Some(contestant) = outcome.contestants.get_mut(*i) else { continue };
            let load = scenario.load(proxy, bench.certificate);
            let drive = Drive::Closed(effort.closed);
            take(&mut contestant.closed, &mut contestant.error, &load, drive, proxy).await;
            if !effort.open.is_zero() {
                let drive = Drive::Open(outcome.rate, effort.open);
                take(&mut contestant.open, &mut contestant.error, &load, drive, proxy).await;
            }
        }
    }
    outcome.foreign = Usage::now(&running).foreign_since(&before);
    for (i, proxy) in &running {
        if let Some(contestant) = outcome.contestants.get_mut(*i) {
            contestant.loaded_kib = proxy.pss_kib();
        }
    }
    outcome
}

/// CPU time so far, in microseconds.
#[derive(Debug)]
struct Usage {
    ours: u64,
    busy: u64,
    all: u64,
}

impl Usage {
    fn now(running: &[(usize, Running)]) -> Self {
        let (busy, all) = procfs::machine_micros();
        let proxies: u64 = running.iter().map(|(_, proxy)| proxy.cpu_micros()).sum();
        Self { ours: proxies + procfs::cpu_micros(&[std::process::id()]), busy, all }
    }

    /// The share of all CPUs that other programs used.
    fn foreign_since(&self, before: &Self) -> f64 {
        let foreign = (self.busy - before.busy).saturating_sub(self.ours - before.ours);
        foreign as f64 / (self.all - before.all).max(1) as f64
    }
}

/// Takes one sample. The CPU time counts from when all connections are there.
async fn take(
    samples: &mut Vec<Sample>,
    error: &mut Option<String>,
    load: &Arc<Load>,
    drive: Drive,
    proxy: &Running,
) {
    let mut before = 0;
    match load::run(load, drive, || before = proxy.cpu_micros()).await {
        Ok(tally) => {
            if tally.errors > 0 {
                let why = tally.first_error.as_deref().unwrap_or_default();
                error.get_or_insert(format!("{} requests failed: {why}", tally.errors));
            }
            samples.push(Sample::new(&tally, proxy.cpu_micros().saturating_sub(before)));
        }
        Err(why) => {
            error.get_or_insert(format!("{why:#}"));
        }
    }
}

/// A job's name in tables.
fn job_name(kind: Kind, job: Job, jobs: usize) -> String {
    if jobs == 1 { kind.name().to_owned() } else { format!("{}, {}", kind.name(), job.label()) }
}
