//! What is left of a proxy's work when far more comes than it can do.
//!
//! Peak is what a closed loop gets over the same connections. Then so many requests come as if nobody waited for answers, three times as many by
//! default, over many connections, and after that half of the peak, until all is as before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::args::OverloadArgs;
use crate::certificate::{Certificate, NAME};
use crate::client::io::Address;
use crate::client::load::{self, Drive, Load, Shape, Tally};
use crate::compare::split_cores;
use crate::install;
use crate::origin::{Origin, SMALL};
use crate::peers::{Job, Kind, Peer};
use crate::proxy::{Bench, Running, Scratch};
use crate::report::{Table, complain, figure, say};

/// Connections of the closed loop, and of what is no overload.
const CALM: usize = 64;
/// A look at whether all is as before.
const SLICE: Duration = Duration::from_millis(500);
/// After so long it is not expected any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of peak, what has to be left; of the unloaded p99, what it may become.
const GOODPUT: f64 = 0.9;
const LATENCY: f64 = 2.0;

/// Runs it; true when enough is left.
///
/// # Errors
/// When the proxy or its backend does not start.
pub(crate) async fn run(args: &OverloadArgs) -> Result<bool> {
    let program = match &args.fairway {
        Some(program) => program.canonicalize().with_context(|| program.display().to_string())?,
        None => install::build("fairway-gateway", "fairway-gateway")?,
    };
    let scratch = Scratch::create()?;
    let certificate = Certificate::create(scratch.path())?;
    let core = split_cores()?;
    let (_origin, address) = Origin::new(None).spawn().await?;
    let bench = Bench { origin: address, certificate: &certificate, issuer: None, dir: scratch.path(), core };
    let proxy = Running::start(&Peer { kind: Kind::Fairway, program }, Job::PLAIN, &bench).await?;
    let length = Duration::from_secs_f64(if args.quick { 1.0 } else { args.seconds });
    let connections = if args.quick { 2 * CALM } else { args.connections };

    let closed = send(&proxy, connections, Drive::Closed(length)).await?;
    if let Some(error) = &closed.first_error {
        complain(format_args!("{} errors in the closed loop, such as: {error}", closed.errors));
    }
    let peak = rate(&closed);
    let unloaded = send(&proxy, connections, Drive::Open(peak / 2.0, length)).await?;
    let before = proxy.pss_kib();
    let cpu = proxy.cpu_micros();
    let loaded = send(&proxy, connections, Drive::Flood(peak * args.times, length)).await?;
    let busy = (proxy.cpu_micros() - cpu) as f64 / 1e6 / (loaded.elapsed + load::WARM).as_secs_f64();
    let memory = proxy.pss_kib();
    let p99 = unloaded.latency.micros(0.99);
    let recovered = recover(&proxy, peak / 2.0, p99).await?;

    let all = loaded.latency.count() + loaded.errors + loaded.skipped;
    let offered = all as f64 / loaded.elapsed.as_secs_f64() / peak;
    let goodput = rate(&loaded) / peak;
    let latency = loaded.latency.micros(0.99) / p99.max(1.0);
    let rows = [
        ("peak, requests/s", Some(peak)),
        ("offered / peak", Some(offered)),
        ("goodput / peak", Some(goodput)),
        ("not asked / peak", Some(loaded.skipped as f64 / loaded.elapsed.as_secs_f64() / peak)),
        ("turned away / peak", Some(loaded.errors as f64 / loaded.elapsed.as_secs_f64() / peak)),
        ("CPU of the proxy, cores", Some(busy)),
        ("p99 unloaded, µs", Some(p99)),
        ("p99 of admitted / unloaded", Some(latency)),
        ("memory before, MiB", Some(before as f64 / 1024.0)),
        ("memory after, MiB", Some(memory as f64 / 1024.0)),
        ("recovery, s", recovered.map(|time| time.as_secs_f64())),
    ];
    let mut table = Table::new(&["overload", ""]);
    rows.iter().for_each(|(name, value)| table.row(vec![(*name).to_owned(), figure(*value)]));
    say(table.aligned());
    if let Some(path) = &args.json {
        let all: serde_json::Map<String, serde_json::Value> =
            rows.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        std::fs::write(path, serde_json::to_string_pretty(&all)?)
            .with_context(|| path.display().to_string())?;
    }
    let is_good = goodput >= GOODPUT && latency <= LATENCY && recovered.is_some();
    Ok(is_good || (args.quick && recovered.is_some()))
}

async fn send(proxy: &Running, connections: usize, drive: Drive) -> Result<Tally> {
    let load = Load {
        address: Address { socket: proxy.http, tls: None },
        shape: Shape::Http1 { connections },
        requests: vec![(NAME.to_owned(), "/".to_owned())],
        turns: None,
        body: SMALL.len(),
    };
    load::run(&Arc::new(load), drive, || ()).await
}

fn rate(tally: &Tally) -> f64 {
    tally.latency.count() as f64 / tally.elapsed.as_secs_f64().max(1e-9)
}

/// Until nothing is turned away and all is nearly as fast as it was; `None`: it never came to that.
async fn recover(proxy: &Running, rate: f64, p99: f64) -> Result<Option<Duration>> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let since = begun.elapsed();
        let tally = send(proxy, CALM, Drive::Open(rate, SLICE)).await?;
        if tally.errors == 0 && tally.latency.micros(0.5) <= LATENCY * p99 {
            return Ok(Some(since));
        }
    }
    Ok(None)
}
