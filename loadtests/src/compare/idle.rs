//! Memory that connections cost while nothing moves on them.
//!
//! Each figure is of a process of its own, warmed up: memory it may keep from an earlier peak would hide the cost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::results::{Idle, IdleFigure};
use crate::client::http1::Http1;
use crate::client::io::{Address, PATIENCE};
use crate::client::load::{self, Drive, Load, Shape};
use crate::origin::{Origin, SMALL};
use crate::peers::{Job, Peer};
use crate::proxy::{Bench, Running};
use crate::report::complain;

/// Time for buffers to be given back.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) async fn measure(peer: &Peer, bench: &Bench<'_>, origin: &Origin, connections: usize) -> Idle {
    let mut idle = Idle {
        peer: peer.kind.name(),
        connections,
        start_mib: None,
        plain: None,
        tls: None,
        plain_with_upstream: None,
        tls_with_upstream: None,
        error: None,
    };
    for (tls, with_upstream) in [(false, false), (true, false), (false, true), (true, true)] {
        complain(format_args!("  {}: tls {tls}, with upstream {with_upstream}", idle.peer));
        match one(peer, bench, origin, connections, tls, with_upstream).await {
            Ok((start_mib, figure)) => {
                idle.start_mib = idle.start_mib.or(Some(start_mib));
                let field = match (tls, with_upstream) {
                    (false, false) => &mut idle.plain,
                    (true, false) => &mut idle.tls,
                    (false, true) => &mut idle.plain_with_upstream,
                    (true, true) => &mut idle.tls_with_upstream,
                };
                *field = Some(figure);
            }
            Err(error) => {
                idle.error.get_or_insert(format!("{error:#}"));
            }
        }
    }
    idle
}

async fn one(
    peer: &Peer,
    bench: &Bench<'_>,
    origin: &Origin,
    connections: usize,
    tls: bool,
    with_upstream: bool,
) -> Result<(f64, IdleFigure)> {
    let proxy = Running::start(peer, Job::PLAIN, bench).await?;
    let start_mib = proxy.pss_kib() as f64 / 1024.0;
    let certificate = bench.certificate;
    let address = Address {
        socket: if tls { proxy.https } else { proxy.http },
        tls: tls.then(|| certificate.http1.clone()),
    };
    let warm_up = Load {
        address: address.clone(),
        shape: Shape::Http1 { connections: 16 },
        requests: vec![(crate::certificate::NAME.to_owned(), "/close".to_owned())],
        turns: None,
        body: SMALL.len(),
    };
    load::run(&warm_up.into(), Drive::Closed(Duration::from_millis(300)), || ()).await?;
    tokio::time::sleep(SETTLE).await;
    let before = proxy.pss_kib();
    let open = if with_upstream {
        open_all_at_once(&address, origin, connections).await?
    } else {
        open_few_at_once(&address, connections).await?
    };
    tokio::time::sleep(SETTLE).await;
    let kib = proxy.pss_kib().saturating_sub(before);
    if let Some(closed) = open.iter().map(|c| !c.is_quiet()).filter(|c| *c).count().checked_sub(1) {
        bail!("{} of {connections} idle connections were closed", closed + 1);
    }
    let figure =
        IdleFigure { kib_per_connection: kib as f64 / connections as f64, pooled: origin.connections() };
    Ok((start_mib, figure))
}

/// The origin closes after each answer, so the proxy has nothing to keep in its pool.
async fn open_few_at_once(address: &Address, connections: usize) -> Result<Vec<Http1>> {
    let mut open = Vec::with_capacity(connections);
    while open.len() < connections {
        let mut tasks = JoinSet::new();
        for _ in 0..16.min(connections - open.len()) {
            tasks.spawn(request(address.clone(), "/close"));
        }
        while let Some(connection) = tasks.join_next().await {
            open.push(connection??);
        }
    }
    Ok(open)
}

/// The origin answers none before all have come, so the proxy needs a connection for each.
async fn open_all_at_once(address: &Address, origin: &Origin, connections: usize) -> Result<Vec<Http1>> {
    origin.set_gate(false);
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(request(address.clone(), "/hold"));
    }
    let end = Instant::now() + Duration::from_secs(15);
    while origin.connections() < connections && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    origin.set_gate(true);
    let mut open = Vec::with_capacity(connections);
    while let Some(connection) = tasks.join_next().await {
        open.push(connection??);
    }
    Ok(open)
}

async fn request(address: Address, path: &'static str) -> Result<Http1> {
    let mut connection = Http1::new(address.connect().await.context("connect")?);
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", crate::certificate::NAME);
    // The gate of `/hold` opens after 15 s at the latest.
    let head = timeout(PATIENCE * 3, connection.exchange(request.as_bytes())).await??;
    if head.status != 200 || head.closes {
        bail!("{path}: status {}, closes: {}", head.status, head.closes);
    }
    Ok(connection)
}
