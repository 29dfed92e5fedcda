//! What one more hop costs: the same requests straight to the backend, through the waypoint, and through Envoy in its place.
//!
//! At a fixed rate, as calls between workloads come: the difference of the medians is what a caller waits longer, the CPU of
//! the proxy what a request costs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::args::HopArgs;
use crate::certificate::{Certificate, NAME};
use crate::client::io::Address;
use crate::client::load::{self, Drive, Load, Shape};
use crate::compare::split_cores;
use crate::install;
use crate::origin::{Origin, SMALL};
use crate::peers::{Job, Kind, Peer};
use crate::proxy::{Bench, Running, Scratch};
use crate::report::{Table, complain, figure, median, say};

/// What it may cost: microseconds that the median grows by, the CPU of Envoy, MiB.
const WAIT: f64 = 250.0;
const CPU: f64 = 0.7;
const MEMORY: f64 = 25.0;

/// One way to the backend.
struct Way {
    name: &'static str,
    /// `None`: there is nobody in between.
    proxy: Option<Running>,
    load: Arc<Load>,
    rounds: Vec<Round>,
}

/// Microseconds.
struct Round {
    p50: f64,
    p99: f64,
    /// Of the proxy, per request.
    cpu: f64,
}

impl Way {
    fn new(
        name: &'static str,
        proxy: Option<Running>,
        origin: std::net::SocketAddr,
        connections: usize,
    ) -> Self {
        let load = Load {
            address: Address { socket: proxy.as_ref().map_or(origin, |proxy| proxy.http), tls: None },
            shape: Shape::Http1 { connections },
            requests: vec![(NAME.to_owned(), "/".to_owned())],
            turns: None,
            body: SMALL.len(),
        };
        Self { name, proxy, load: Arc::new(load), rounds: Vec::new() }
    }

    async fn round(&mut self, rate: f64, length: Duration) -> Result<()> {
        let cpu = || self.proxy.as_ref().map_or(0, Running::cpu_micros);
        let mut before = cpu();
        let tally = load::run(&self.load, Drive::Open(rate, length), || before = cpu()).await?;
        if let Some(error) = tally.first_error {
            bail!("{}: {} requests failed, such as: {error}", self.name, tally.errors);
        }
        let spent = cpu().saturating_sub(before) as f64;
        let (p50, p99) = (tally.latency.micros(0.5), tally.latency.micros(0.99));
        self.rounds.push(Round { p50, p99, cpu: spent / tally.latency.count().max(1) as f64 });
        Ok(())
    }

    fn median(&self, of: fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of)).unwrap_or(f64::NAN)
    }

    /// Of this way over, or beside, the other in the same round.
    fn against(&self, other: &Self, how: impl Fn(&Round, &Round) -> f64) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(own, other)| how(own, other))).unwrap_or(f64::NAN)
    }

    fn mebibytes(&self) -> Option<f64> {
        self.proxy.as_ref().map(|proxy| proxy.pss_kib() as f64 / 1024.0)
    }
}

/// Runs it; true when the hop costs no more than it may.
///
/// # Errors
/// When a proxy or the backend does not start, or a request fails.
pub(crate) async fn run(args: &HopArgs) -> Result<bool> {
    let (rounds, length) = if args.quick { (2, 0.5) } else { (args.rounds.max(1), args.seconds) };
    let program = match &args.waypoint {
        Some(program) => program.canonicalize().with_context(|| program.display().to_string())?,
        None => install::build("fairway-waypoint", "fairway-waypoint")?,
    };
    let mut peers = vec![Peer { kind: Kind::Waypoint, program }];
    if !args.quick {
        peers.push(install::peer(Kind::Envoy, &args.cache, args.install)?);
    }
    let scratch = Scratch::create()?;
    let certificate = Certificate::create(scratch.path())?;
    let core = split_cores()?;
    let (_origin, origin) = Origin::new(None).spawn().await?;
    let bench = Bench { origin, certificate: &certificate, issuer: None, dir: scratch.path(), core };
    let mut ways = vec![Way::new("direct", None, origin, args.connections)];
    for peer in &peers {
        let proxy = Running::start(peer, Job::HOP, &bench).await?;
        ways.push(Way::new(peer.kind.name(), Some(proxy), origin, args.connections));
    }
    // The first round of each warms up.
    for round in 0..=rounds {
        for way in &mut ways {
            way.round(args.rate, Duration::from_secs_f64(length)).await?;
        }
        if round == 0 {
            ways.iter_mut().for_each(|way| way.rounds.clear());
        } else {
            complain(format_args!("round {round} of {rounds}"));
        }
    }
    report(args, &ways)
}

fn report(args: &HopArgs, ways: &[Way]) -> Result<bool> {
    let [direct, waypoint, others @ ..] = ways else { return Ok(false) };
    let mut table = Table::new(&["way", "p50 µs", "p99 µs", "p50 added µs", "CPU µs/request", "MiB"]);
    for way in ways {
        let is_proxy = way.proxy.is_some();
        table.row(vec![
            way.name.to_owned(),
            figure(Some(way.median(|round| round.p50))),
            figure(Some(way.median(|round| round.p99))),
            figure(is_proxy.then(|| way.against(direct, |own, direct| own.p50 - direct.p50))),
            figure(is_proxy.then(|| way.median(|round| round.cpu))),
            figure(way.mebibytes()),
        ]);
    }
    say(table.aligned());
    let added = waypoint.against(direct, |own, direct| own.p50 - direct.p50);
    let memory = waypoint.mebibytes().unwrap_or(f64::NAN);
    let cpu = others.first().map(|envoy| waypoint.against(envoy, |own, envoy| own.cpu / envoy.cpu));
    let is_good = added <= WAIT && memory <= MEMORY && cpu.is_none_or(|cpu| cpu <= CPU);
    say(format_args!(
        "added {added:.0} µs (limit {WAIT}), CPU {} of Envoy's (limit {CPU}), {memory:.1} MiB (limit {MEMORY}): {}",
        figure(cpu),
        if is_good { "held" } else { "NOT held" }
    ));
    if let Some(path) = &args.json {
        let all = json!({ "rate": args.rate, "addedMicros": added, "cpuOfEnvoys": cpu, "mebibytes": memory });
        std::fs::write(path, serde_json::to_string_pretty(&all)?)
            .with_context(|| path.display().to_string())?;
    }
    Ok(is_good || args.quick)
}
