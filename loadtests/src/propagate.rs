//! `propagate`: from saving a file to the first request it serves, with other traffic meanwhile.
//!
//! Each route stamps its state on the answer, on the request (sent back by the backend) and in the choice of the
//! backend. An answer whose three marks disagree saw half a change; one whose state is neither the last confirmed nor
//! the one just saved went back in time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::args::PropagateArgs;
use crate::histogram::Histogram;
use crate::origin::Origin;
use crate::peers::route;
use crate::proxy::Scratch;
use crate::report::{Table, complain, figure, say};
use crate::standalone::manifests::{Route, endpoints, gateway, service};
use crate::standalone::traffic::{Ask, Outcome, Reply, Scene, Traffic};
use crate::standalone::{Standalone, get};

/// Routes in a file, unless all are in one.
const PER_FILE: usize = 100;
const BACKENDS: [&str; 2] = ["even", "odd"];

/// Figures of one size.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    routes: usize,
    changes: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    requests: u64,
    failed: usize,
    wrong: usize,
    request_p99_ms: f64,
    memory_mib: f64,
    cpu_ms_per_change: f64,
    start_seconds: f64,
}

/// Runs all sizes; false when a request failed, an answer was wrong or p99 is over the limit.
pub(crate) async fn run(args: &PropagateArgs) -> Result<bool> {
    let (sizes, changes) = if args.quick { (vec![10, 100], 10) } else { (args.routes.clone(), args.changes) };
    if sizes.iter().any(|n| !(1..=100_000).contains(n)) || !(1..=100_000).contains(&changes) {
        bail!("--routes and --changes: 1 to 100000");
    }
    if !(1.0..=20_000.0).contains(&args.rate) {
        bail!("--rate: 1 to 20000 requests per second");
    }
    let scratch = Scratch::create()?;
    let mut rows = Vec::new();
    for routes in sizes {
        complain(format_args!("{routes} routes, {changes} changes"));
        rows.push(measure(args, scratch.path(), routes, changes).await?);
    }
    let layout = if args.single_file { "one file" } else { "100 routes in a file" };
    say(format_args!(
        "\npropagation from rename to first answer, {layout}, {} requests/s meanwhile",
        args.rate
    ));
    say(table(&rows).aligned());
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    let is_fast = |row: &Row| args.max_p99_ms.is_none_or(|max| row.p99_ms <= max);
    Ok(rows.iter().all(|row| row.failed == 0 && row.wrong == 0 && is_fast(row)))
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "routes",
        "changes",
        "p50 ms",
        "p99 ms",
        "max ms",
        "requests",
        "failed",
        "wrong",
        "request p99 ms",
        "MiB",
        "CPU ms/change",
        "start s",
    ]);
    for row in rows {
        table.row(vec![
            row.routes.to_string(),
            row.changes.to_string(),
            figure(Some(row.p50_ms)),
            figure(Some(row.p99_ms)),
            figure(Some(row.max_ms)),
            row.requests.to_string(),
            row.failed.to_string(),
            row.wrong.to_string(),
            figure(Some(row.request_p99_ms)),
            figure(Some(row.memory_mib)),
            figure(Some(row.cpu_ms_per_change)),
            figure(Some(row.start_seconds)),
        ]);
    }
    table
}

async fn measure(args: &PropagateArgs, scratch: &Path, routes: usize, changes: usize) -> Result<Row> {
    let mut fairway = Standalone::prepare(args.fairway.as_deref(), scratch)?;
    let mut base = gateway(fairway.address.socket.port());
    for name in BACKENDS {
        let (_, address) = Origin::new(Some(name.to_owned())).spawn().await?;
        base += &(service(name) + &endpoints(name, &[address]));
    }
    let mut files = Files::new(routes, args.single_file, base);
    for file in 0..files.count() {
        fairway.replace(&files.name(file), &files.text(file))?;
    }
    let (host, prefix) = route(routes - 1);
    let start = Instant::now();
    fairway.start(&host, &prefix).await?;
    let start_seconds = start.elapsed().as_secs_f64();
    let scene = Arc::new(States::new(routes));
    let traffic = Traffic::start(&fairway.address, &scene, args.rate, u64::MAX);
    let memory_mib = fairway.pss_mib();
    let cpu = fairway.cpu_seconds();
    let mut times = Histogram::new();
    let result = change_all(&fairway, &scene, &mut files, changes, &mut times).await;
    let cpu = fairway.cpu_seconds() - cpu;
    let outcome = traffic.stop().await?;
    outcome.complain();
    result?;
    Ok(row(routes, &times, &outcome, &Figures { memory_mib, cpu, start_seconds }))
}

struct Figures {
    memory_mib: f64,
    cpu: f64,
    start_seconds: f64,
}

fn row(routes: usize, times: &Histogram, outcome: &Outcome, figures: &Figures) -> Row {
    let changes = usize::try_from(times.count()).unwrap_or(0);
    Row {
        routes,
        changes,
        p50_ms: times.micros(0.5) / 1e3,
        p99_ms: times.micros(0.99) / 1e3,
        max_ms: times.max_micros() / 1e3,
        requests: outcome.sent(),
        failed: outcome.failures.len(),
        wrong: outcome.wrong.len(),
        request_p99_ms: outcome.latency.micros(0.99) / 1e3,
        memory_mib: figures.memory_mib,
        cpu_ms_per_change: figures.cpu * 1e3 / changes.max(1) as f64,
        start_seconds: figures.start_seconds,
    }
}

async fn change_all(
    fairway: &Standalone,
    scene: &States,
    files: &mut Files,
    changes: usize,
    times: &mut Histogram,
) -> Result<()> {
    let mut probe = None;
    for change in 0..changes {
        // A stride that visits files far apart.
        let route_number = change * 7919 % scene.routes.len();
        let Some(states) = scene.routes.get(route_number) else { continue };
        let state = states.saved.load(Ordering::SeqCst) + 1;
        files.set(route_number, state);
        let file = files.file_of(route_number);
        let text = files.text(file);
        scene.changing.store(route_number, Ordering::SeqCst);
        states.saved.store(state, Ordering::SeqCst);
        let begun = fairway.replace(&files.name(file), &text)?;
        let (host, prefix) = route(route_number);
        let request = get(&host, &prefix);
        let wanted = state.to_string();
        let took = fairway.await_field(&mut probe, &request, ("x-state", &wanted), begun).await?;
        states.confirmed.store(state, Ordering::SeqCst);
        times.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        // Uneven, so that no rhythm of the proxy is met or missed by chance.
        tokio::time::sleep(Duration::from_millis(20 + (change as u64 * 13) % 31)).await;
    }
    Ok(())
}

/// The manifests as text, a piece for each route.
struct Files {
    base: String,
    pieces: Vec<String>,
    per_file: usize,
}

impl Files {
    fn new(routes: usize, is_single: bool, base: String) -> Self {
        let pieces = (0..routes).map(|i| piece(i, 0)).collect();
        Self { base, pieces, per_file: if is_single { usize::MAX } else { PER_FILE } }
    }

    /// With the file of the Gateway and the Services, if that is one of its own.
    fn count(&self) -> usize {
        if self.per_file == usize::MAX { 1 } else { 1 + self.pieces.len().div_ceil(self.per_file) }
    }

    fn name(&self, file: usize) -> String {
        if file == 0 { "base.yaml".to_owned() } else { format!("routes-{file:04}.yaml") }
    }

    const fn file_of(&self, route: usize) -> usize {
        if self.per_file == usize::MAX { 0 } else { 1 + route / self.per_file }
    }

    fn set(&mut self, route: usize, state: u64) {
        if let Some(text) = self.pieces.get_mut(route) {
            *text = piece(route, state);
        }
    }

    fn text(&self, file: usize) -> String {
        if self.per_file == usize::MAX {
            return self.base.clone() + &self.pieces.concat();
        }
        let Some(first) = file.checked_sub(1).map(|f| f * self.per_file) else { return self.base.clone() };
        self.pieces.iter().skip(first).take(self.per_file).map(String::as_str).collect()
    }
}

fn piece(i: usize, state: u64) -> String {
    let (host, prefix) = route(i);
    let route = Route {
        name: &format!("r{i}"),
        hosts: &[&host],
        prefix: prefix.trim_end_matches('/'),
        state,
        rewrite: None,
        fields: &[],
        backends: &[(backend(state), 1)],
    };
    route.manifest()
}

const fn backend(state: u64) -> &'static str {
    if state.is_multiple_of(2) { BACKENDS[0] } else { BACKENDS[1] }
}

/// What each route may show.
struct States {
    routes: Vec<Shown>,
    /// The route under change gets a good share of the traffic.
    changing: AtomicUsize,
}

#[derive(Default)]
struct Shown {
    /// In a file.
    saved: AtomicU64,
    /// Seen by the probe: nothing older may follow.
    confirmed: AtomicU64,
}

impl States {
    fn new(routes: usize) -> Self {
        Self { routes: (0..routes).map(|_| Shown::default()).collect(), changing: AtomicUsize::new(0) }
    }
}

impl Scene for States {
    /// The route, and the state confirmed when it was asked.
    type Mark = (usize, u64);

    fn ask(&self, id: u64) -> (Ask, (usize, u64)) {
        let number = if id.is_multiple_of(4) {
            self.changing.load(Ordering::SeqCst)
        } else {
            usize::try_from(id * 104_729).unwrap_or(0) % self.routes.len()
        };
        let confirmed = self.routes.get(number).map_or(0, |r| r.confirmed.load(Ordering::SeqCst));
        let (host, prefix) = route(number);
        (Ask { id, is_post: id % 5 == 1, host, path: prefix + "x" }, (number, confirmed))
    }

    fn judge(&self, ask: &Ask, (number, confirmed): (usize, u64), reply: &Reply) -> Result<(), String> {
        let saved = self.routes.get(number).map_or(0, |r| r.saved.load(Ordering::SeqCst));
        judge(&ask.host, confirmed, saved, reply)
    }
}

fn judge(host: &str, confirmed: u64, saved: u64, reply: &Reply) -> Result<(), String> {
    let marks: BTreeMap<&str, Option<&str>> =
        ["x-state", "x-echo-state", "x-origin"].into_iter().map(|name| (name, reply.field(name))).collect();
    let Some(state) = reply.number("x-state") else { return Err(format!("{host}: no state: {marks:?}")) };
    if reply.number("x-echo-state") != Some(state) || reply.field("x-origin") != Some(backend(state)) {
        return Err(format!("{host}: half a change: {marks:?}"));
    }
    if !(confirmed..=saved).contains(&state) {
        return Err(format!("{host}: state {state} although {confirmed} was served and {saved} is saved"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(state: &'static str, echo: &'static str, origin: &'static str) -> Reply {
        let fields = [("x-state", state), ("x-echo-state", echo), ("x-origin", origin)];
        let fields = fields.into_iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        Reply { status: 200, body: 2, fields }
    }

    #[test]
    fn half_a_change_and_a_step_back_are_seen() {
        assert_eq!(judge("a", 3, 4, &reply("3", "3", "odd")), Ok(()));
        assert_eq!(judge("a", 3, 4, &reply("4", "4", "even")), Ok(()));
        assert!(judge("a", 3, 4, &reply("4", "3", "even")).unwrap_err().contains("half"));
        assert!(judge("a", 3, 4, &reply("4", "4", "odd")).unwrap_err().contains("half"));
        assert!(judge("a", 4, 4, &reply("3", "3", "odd")).unwrap_err().contains("although"));
        assert!(judge("a", 4, 4, &reply("x", "x", "odd")).unwrap_err().contains("no state"));
    }

    #[test]
    fn every_route_is_in_one_file_in_both_layouts() {
        for is_single in [false, true] {
            let files = Files::new(250, is_single, "base\n".to_owned());
            assert_eq!(files.count(), if is_single { 1 } else { 4 });
            let all: String = (0..files.count()).map(|f| files.text(f)).collect();
            assert_eq!(all.matches("kind: HTTPRoute").count(), 250);
            for route in [0, 99, 100, 249] {
                let name = format!("{{name: r{route}, ");
                assert!(files.text(files.file_of(route)).contains(&name), "{route}");
            }
        }
    }
}
