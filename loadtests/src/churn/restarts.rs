//! Restarts of one of three backends under load.
//!
//! A POST may fail only where its bytes had reached a process that was then killed: no proxy can know whether it was
//! acted upon. Each backend keeps a ledger of what reached it; bytes that lay in the sockets of the dying process are
//! counted apart, by when they were sent.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::json;

use super::{Part, Plan};
use crate::proxy::free_ports;
use crate::report::complain;
use crate::standalone::Standalone;
use crate::standalone::backend::{self, Backend, Death};
use crate::standalone::manifests::{Route, endpoints, gateway, service};
use crate::standalone::traffic::{Ask, Failure, Outcome, Reply, Scene, Traffic};

/// How the backend goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Out of the EndpointSlice, then SIGTERM.
    Removed,
    /// SIGTERM alone: it drains, and the EndpointSlice still names it.
    Terminated,
    /// SIGKILL.
    Killed,
}

const HOST: &str = "restarts.example.com";
/// Which of the three is restarted.
const VICTIM: usize = 1;

struct Always;

impl Scene for Always {
    type Mark = ();

    fn ask(&self, id: u64) -> (Ask, ()) {
        (Ask { id, is_post: is_post(id), host: HOST.to_owned(), path: "/p/x".to_owned() }, ())
    }

    fn judge(&self, _: &Ask, (): (), reply: &Reply) -> Result<(), String> {
        reply.field("x-origin").map(|_| ()).ok_or_else(|| "no x-origin".to_owned())
    }
}

pub(super) async fn run(program: Option<&Path>, scratch: &Path, plan: &Plan, way: Way) -> Result<Part> {
    let name = match way {
        Way::Removed => "restarts, removed first",
        Way::Terminated => "restarts, SIGTERM alone",
        Way::Killed => "kills",
    };
    complain(format_args!("{name}: {} under {} requests", plan.restarts, plan.requests));
    let scratch = scratch.join(format!("{way:?}"));
    fs::create_dir_all(&scratch).context("scratch")?;
    let mut fairway = Standalone::prepare(program, &scratch)?;
    let [port] = free_ports()?;
    let mut backends = Vec::new();
    for i in 0..3_u8 {
        let address = SocketAddr::from(([127, 0, 0, 11 + i], port));
        let mut backend = Backend::new(address, format!("b{i}"), scratch.clone());
        backend.start().await?;
        backends.push(backend);
    }
    let all: Vec<SocketAddr> = backends.iter().map(|b| b.address).collect();
    fairway.replace("base.yaml", &(gateway(fairway.address.socket.port()) + &service("echo") + &route()))?;
    fairway.replace("endpoints.yaml", &endpoints("echo", &all))?;
    fairway.start(HOST, "/p/x").await?;
    let traffic = Traffic::start(&fairway.address, &Arc::new(Always), plan.restart_rate, plan.requests);
    let deaths = restart_all(&fairway, &mut backends, &traffic, plan, way).await;
    while !traffic.is_over() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let outcome = traffic.finish(Duration::from_secs(60)).await?;
    outcome.complain();
    let deaths = deaths?;
    Ok(judge(name, way, &outcome, &deaths, twice(&backends)))
}

fn route() -> String {
    let (hosts, backends) = (&[HOST][..], &[("echo", 1)][..]);
    Route { name: "restarts", hosts, prefix: "/p", state: 0, rewrite: None, fields: &[], backends }.manifest()
}

async fn restart_all(
    fairway: &Standalone,
    backends: &mut [Backend],
    traffic: &Traffic,
    plan: &Plan,
    way: Way,
) -> Result<Vec<Death>> {
    let all: Vec<SocketAddr> = backends.iter().map(|b| b.address).collect();
    let others: Vec<SocketAddr> =
        all.iter().enumerate().filter(|(i, _)| *i != VICTIM).map(|(_, a)| *a).collect();
    let victim = backends.get_mut(VICTIM).context("three backends")?;
    let length = plan.requests as f64 / plan.restart_rate;
    let step = Duration::from_secs_f64(length / (plan.restarts + 1) as f64);
    let begun = Instant::now();
    let mut deaths = Vec::new();
    for i in 1..=plan.restarts {
        tokio::time::sleep_until((begun + step * u32::try_from(i)?).into()).await;
        if traffic.is_over() {
            bail!("the load was over after {} of {} restarts: give more requests", i - 1, plan.restarts);
        }
        if way == Way::Removed {
            fairway.replace("endpoints.yaml", &endpoints("echo", &others))?;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let signal = if way == Way::Killed { Signal::KILL } else { Signal::TERM };
        deaths.push(victim.stop(signal).await?);
        tokio::time::sleep(Duration::from_millis(100)).await; // gone for a while
        victim.start().await?;
        if way == Way::Removed {
            fairway.replace("endpoints.yaml", &endpoints("echo", &all))?;
        }
    }
    Ok(deaths)
}

/// POSTs that reached backends more than once: a proxy must not repeat what may have been acted upon.
fn twice(backends: &[Backend]) -> usize {
    let ledgers = backends.iter().flat_map(Backend::ledgers);
    let mut seen = HashSet::new();
    ledgers
        .flat_map(|path| backend::read(&path))
        .filter(|id| is_post(*id))
        .filter(|id| !seen.insert(*id))
        .count()
}

const fn is_post(id: u64) -> bool {
    id % 2 == 1
}

fn judge(name: &'static str, way: Way, outcome: &Outcome, deaths: &[Death], twice: usize) -> Part {
    let gets = outcome.failures.iter().filter(|f| !f.is_post).count();
    let posts: Vec<&Failure> = outcome.failures.iter().filter(|f| f.is_post).collect();
    let reached: HashSet<u64> = deaths.iter().flat_map(Death::reached).collect();
    let is_in_ledger = |f: &&&Failure| reached.contains(&f.id);
    let in_ledger = posts.iter().filter(is_in_ledger).count();
    let in_socket =
        posts.iter().filter(|f| !reached.contains(&f.id) && deaths.iter().any(|d| d.is_around(f))).count();
    let unexplained = posts.len() - in_ledger - in_socket;
    let may_fail = way == Way::Killed;
    let wrong = outcome.wrong.len();
    let is_good =
        gets == 0 && wrong == 0 && twice == 0 && if may_fail { unexplained == 0 } else { posts.is_empty() };
    Part {
        name,
        is_good,
        text: format!(
            "{} restarts, {} requests: {gets} GET failed; {} POST failed, of which {in_ledger} had reached the process \
             that died, {in_socket} may have lain in its sockets, {unexplained} had not; {twice} POST \
             reached backends twice; p99 {:.1} ms, max {:.1} ms",
            deaths.len(),
            outcome.sent(),
            posts.len(),
            outcome.latency.micros(0.99) / 1e3,
            outcome.latency.max_micros() / 1e3
        ),
        figures: json!({ "restarts": deaths.len(), "requests": outcome.sent(), "failedGets": gets,
            "failedPosts": posts.len(), "postsInLedger": in_ledger, "postsInSocket": in_socket,
            "postsUnexplained": unexplained, "postsTwice": twice, "wrong": wrong, "resent": outcome.resent, "unsent": outcome.unsent }),
    }
}
