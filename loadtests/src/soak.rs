//! `soak`: mixed load for long, with faults by a seed.
//!
//! Three backends in processes are killed, stopped, paused and taken out; the configuration changes all the time; other
//! backends break off, reset and never answer; clients read slowly, leave and send rubbish. Ordinary requests meanwhile
//! must succeed, save POSTs that had reached a process which was killed; each fault must show as itself and not as
//! another or as a whole answer; memory and open files must not grow.

mod clients;
mod dice;
mod faults;
mod growth;
mod origin;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::args::SoakArgs;
use crate::proxy::{Scratch, free_ports};
use crate::report::{complain, say};
use crate::standalone::Standalone;
use crate::standalone::backend::{Backend, Death};
use crate::standalone::manifests::{Route, endpoints, gateway, service};
use crate::standalone::traffic::{Ask, Outcome, Reply, Scene, Traffic};
use clients::Tally;
use dice::Dice;
use growth::Growth;

const HOST: &str = "soak.example.com";
const FAULTS: &str = "faults.example.com";

/// Runs it; false when something is not explained by its fault, or grew.
pub(crate) async fn run(args: &SoakArgs) -> Result<bool> {
    let seconds = if args.quick { 20 } else { args.seconds };
    if !(10..=86_400).contains(&seconds) || !(1.0..=20_000.0).contains(&args.rate) {
        bail!("--seconds: 10 to 86400; --rate: 1 to 20000");
    }
    let scratch = Scratch::create()?;
    let mut fairway = Standalone::prepare(args.fairway.as_deref(), scratch.path())?;
    let mut backends = start_backends(scratch.path()).await?;
    let addresses: Vec<SocketAddr> = backends.iter().map(|b| b.address).collect();
    let odd = origin::spawn().await?;
    fairway.replace("base.yaml", &base(fairway.address.socket.port(), odd))?;
    fairway.replace("endpoints.yaml", &endpoints("echo", &addresses))?;
    fairway.replace("routes.yaml", &route(0))?;
    fairway.start(HOST, "/p/x").await?;
    complain(format_args!("soak: {seconds} s, seed {}, {} requests/s", args.seed, args.rate));

    let end = Instant::now() + Duration::from_secs(seconds);
    let traffic = Traffic::start(&fairway.address, &Arc::new(Plain), args.rate, u64::MAX);
    let clients = clients::start(fairway.address.socket, args.seed, end);
    let mut growth = Growth::default();
    let deaths = disturb(&mut fairway, &mut backends, Dice::new(args.seed), end, &mut growth).await;
    let tally = clients.await.context("clients")?;
    let outcome = traffic.stop().await?;
    let deaths = deaths?;
    // What was opened for requests is closed within the idle time of both sides, which the sum must not need.
    tokio::time::sleep(Duration::from_secs(2)).await;
    growth.end(fairway.descriptors());
    let verdict = Verdict::new(&outcome, &deaths, &tally, &growth, fairway.is_running());
    verdict.print(&outcome, &tally, &growth);
    if let Some(path) = &args.json {
        let figures = json!({ "seconds": seconds, "seed": args.seed, "requests": outcome.sent(),
            "kills": deaths.len(), "failed": outcome.failures.len(), "unexplained": verdict.unexplained,
            "faults": tally.explained, "notThemselves": tally.wrong.len(), "mebibytes": growth.memory(),
            "descriptors": growth.descriptors(), "good": verdict.is_good() });
        std::fs::write(path, serde_json::to_string_pretty(&figures)?)
            .with_context(|| path.display().to_string())?;
    }
    Ok(verdict.is_good())
}

/// Ordinary requests.
struct Plain;

const fn is_post(id: u64) -> bool {
    id % 4 == 1
}

impl Scene for Plain {
    type Mark = ();

    fn ask(&self, id: u64) -> (Ask, ()) {
        (Ask { id, is_post: is_post(id), host: HOST.to_owned(), path: "/p/x".to_owned() }, ())
    }

    fn judge(&self, _: &Ask, (): (), reply: &Reply) -> Result<(), String> {
        match (reply.number("x-state"), reply.number("x-echo-state"), reply.field("x-origin")) {
            (Some(told), Some(echoed), Some(_)) if told == echoed => Ok(()),
            marks => Err(format!("half a change: {marks:?}")),
        }
    }
}

async fn start_backends(scratch: &Path) -> Result<Vec<Backend>> {
    let [port] = free_ports()?;
    let mut backends = Vec::new();
    for i in 0..3_u8 {
        let address = SocketAddr::from(([127, 0, 0, 21 + i], port));
        let mut backend = Backend::new(address, format!("b{i}"), scratch.to_owned());
        backend.start().await?;
        backends.push(backend);
    }
    Ok(backends)
}

/// What does not change: the Gateway, both Services, and a route of the faults whose requests may last a second.
fn base(port: u16, odd: SocketAddr) -> String {
    let faults = format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: faults, namespace: \
         default}}\nspec:\n  parentRefs:\n  - {{name: gw}}\n  hostnames: [{FAULTS}]\n  rules:\n  \
         - matches:\n    - path: {{type: PathPrefix, value: /silent}}\n    timeouts: {{request: 1s}}\n    \
         backendRefs:\n    - {{name: odd, port: 80}}\n  - backendRefs:\n    - {{name: odd, port: 80}}\n"
    );
    gateway(port) + &service("echo") + &service("odd") + &endpoints("odd", &[odd]) + &faults
}

fn route(state: u64) -> String {
    let (hosts, backends) = (&[HOST][..], &[("echo", 1)][..]);
    let fields: &[(&str, &str)] = if state.is_multiple_of(2) { &[] } else { &[("x-odd", "yes")] };
    Route { name: "soak", hosts, prefix: "/p", state, rewrite: None, fields, backends }.manifest()
}

/// Changes and faults until the end; gives the deaths.
async fn disturb(
    fairway: &mut Standalone,
    backends: &mut [Backend],
    mut dice: Dice,
    end: Instant,
    growth: &mut Growth,
) -> Result<Vec<Death>> {
    let (mut deaths, mut state, mut sampled) = (Vec::new(), 0, Instant::now());
    let mut next_fault = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(200 + dice.below(400))).await;
        state += 1;
        fairway.replace("routes.yaml", &route(state))?;
        if Instant::now() >= next_fault {
            deaths.extend(faults::strike(fairway, backends, &mut dice).await?);
            next_fault = Instant::now() + Duration::from_millis(1500 + dice.below(3000));
        }
        if sampled.elapsed() >= Duration::from_secs(2) {
            sampled = Instant::now();
            growth.sample(fairway.pss_mib(), fairway.descriptors());
        }
    }
    Ok(deaths)
}

/// What is left to be explained.
struct Verdict {
    unexplained: Vec<String>,
    by_kill: usize,
    has_grown: Option<String>,
    is_running: bool,
}

impl Verdict {
    fn new(outcome: &Outcome, deaths: &[Death], tally: &Tally, growth: &Growth, is_running: bool) -> Self {
        let reached: HashSet<u64> = deaths.iter().flat_map(Death::reached).collect();
        let (by_kill, not): (Vec<_>, Vec<_>) = outcome.failures.iter().partition(|failure| {
            failure.is_post && (reached.contains(&failure.id) || deaths.iter().any(|d| d.is_around(failure)))
        });
        let unexplained = not.iter().map(|failure| failure.why.clone());
        let unexplained = unexplained.chain(outcome.wrong.iter().cloned()).chain(tally.wrong.iter().cloned());
        Self {
            unexplained: unexplained.collect(),
            by_kill: by_kill.len(),
            has_grown: growth.verdict(),
            is_running,
        }
    }

    const fn is_good(&self) -> bool {
        self.unexplained.is_empty() && self.has_grown.is_none() && self.is_running
    }

    fn print(&self, outcome: &Outcome, tally: &Tally, growth: &Growth) {
        self.unexplained.iter().take(10).for_each(|why| complain(format_args!("  unexplained: {why}")));
        let faults: BTreeMap<_, _> = tally.explained.iter().collect();
        say(format_args!("faults that showed as themselves: {faults:?}"));
        say(format_args!("{growth}"));
        if let Some(grown) = &self.has_grown {
            complain(format_args!("  {grown}"));
        }
        if !self.is_running {
            complain("  fairway has ended");
        }
        say(format_args!(
            "{} soak: {} requests, {} failed: {} POST with a process that was killed, {} unexplained; p99 {:.1} ms, {} \
             not sent in time",
            if self.is_good() { "PASS" } else { "FAIL" },
            outcome.sent(),
            outcome.failures.len(),
            self.by_kill,
            self.unexplained.len(),
            outcome.latency.micros(0.99) / 1e3,
            outcome.unsent,
        ));
    }
}
