//! `propagate`: from saving a file to the first request it serves, with other traffic meanwhile.
//!
//! Each route stamps its state on the answer, on the request (sent back by the backend) and in the choice of the
//! backend. An answer whose three marks disagree saw half a change; one whose state is neither the last confirmed nor
//! the one just saved went back in time.

mod files;
mod states;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::args::PropagateArgs;
use crate::histogram::Histogram;
use crate::origin::Origin;
use crate::peers::route;
use crate::proxy::Scratch;
use crate::report::{Table, complain, figure, say};
use crate::standalone::manifests::{endpoints, gateway, service};
use crate::standalone::traffic::{Outcome, Traffic};
use crate::standalone::{Standalone, get};
use files::Files;
use states::{BACKENDS, States};

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
