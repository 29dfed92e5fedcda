//! Load of one shape against one proxy.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Version};
use tokio::task::JoinSet;

use super::http1::Http1;
use super::http2::Http2;
use super::io::Address;
use super::pace::{self, Pace};
use crate::histogram::Histogram;
use crate::issuer::Turns;

/// How the client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Keep-alive connections, one request after the other on each.
    Http1 { connections: usize },
    /// Connections with many streams, each one request after the other.
    Http2 { connections: usize, streams: usize },
    /// The same with unary gRPC calls.
    Grpc { connections: usize, streams: usize },
    /// A new connection for each request.
    Fresh { at_once: usize },
}

/// What is sent, and what must come back.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) address: Address,
    pub(crate) shape: Shape,
    /// Host and path of the requests, taken in turn.
    pub(crate) requests: Vec<(String, String)>,
    /// Instead of those, on keep-alive connections: whole heads.
    pub(crate) turns: Option<Turns>,
    /// Bytes of each answer's body.
    pub(crate) body: usize,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drive {
    /// The next as soon as the last is answered.
    Closed(Duration),
    /// So many per second.
    Open(f64, Duration),
    /// So many per second, save those that come due while a client still waits: they are counted, and never sent.
    Flood(f64, Duration),
}

/// What a flood does in the beginning is not counted.
pub(crate) const WARM: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) errors: u64,
    /// Due, and never sent.
    pub(crate) skipped: u64,
    pub(crate) first_error: Option<String>,
    /// Of the requests that were answered as they should.
    pub(crate) latency: Histogram,
    pub(crate) elapsed: Duration,
}

impl Tally {
    fn new() -> Self {
        Self { errors: 0, skipped: 0, first_error: None, latency: Histogram::new(), elapsed: Duration::ZERO }
    }

    fn count(&mut self, due: Instant, result: Result<(), String>) {
        match result {
            Ok(()) => self.latency.record(u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.errors += other.errors;
        self.skipped += other.skipped;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latency.merge(&other.latency);
    }
}

/// A gRPC message: flag, length, 16 bytes.
pub(crate) const GRPC_MESSAGE: &[u8] = b"\0\0\0\0\x10sixteen bytes ok";

/// Connects, then sends what `drive` says. `begin` is called when all connections are there.
pub(crate) async fn run(load: &Arc<Load>, drive: Drive, begin: impl FnOnce()) -> Result<Tally> {
    let length = match drive {
        Drive::Closed(length) | Drive::Open(_, length) => length,
        Drive::Flood(_, length) => WARM + length,
    };
    let work = async {
        match load.shape {
            Shape::Http1 { connections } => {
                let requests = heads(load, "");
                let mut workers = Vec::with_capacity(connections);
                for _ in 0..connections {
                    let connection = Some(Http1::new(load.address.connect().await?));
                    let requests = Arc::clone(&requests);
                    workers.push(KeepAlive { load: Arc::clone(load), requests, connection });
                }
                drive_all(workers, drive, begin).await
            }
            Shape::Fresh { at_once } => {
                let requests = heads(load, "connection: close\r\n");
                let worker = |_| Fresh { load: Arc::clone(load), requests: Arc::clone(&requests) };
                drive_all((0..at_once).map(worker).collect(), drive, begin).await
            }
            Shape::Http2 { connections, streams } | Shape::Grpc { connections, streams } => {
                let requests = streams_of(load)?;
                let mut workers = Vec::with_capacity(connections * streams);
                for _ in 0..connections {
                    let connection = Http2::new(load.address.connect().await?).await?;
                    workers.extend((0..streams).map(|_| Stream {
                        load: Arc::clone(load),
                        requests: Arc::clone(&requests),
                        connection: connection.clone(),
                    }));
                }
                drive_all(workers, drive, begin).await
            }
        }
    };
    tokio::time::timeout(length + Duration::from_secs(15), work)
        .await
        .context("the load did not end in time")?
}

async fn drive_all<W: Worker>(workers: Vec<W>, drive: Drive, begin: impl FnOnce()) -> Result<Tally> {
    if workers.is_empty() {
        bail!("no workers");
    }
    begin();
    let start = Instant::now();
    let warm = if matches!(drive, Drive::Flood(..)) { WARM } else { Duration::ZERO };
    let from = start + warm;
    let paces = match drive {
        Drive::Closed(length) => workers.iter().map(|_| Pace::Closed(start + length)).collect(),
        Drive::Open(rate, length) => pace::open(workers.len(), rate, start + length, u64::MAX).0,
        Drive::Flood(rate, length) => pace::alone(workers.len(), rate, from + length),
    };
    let mut tasks = JoinSet::new();
    let step = workers.len();
    for (i, (mut worker, mut pace)) in workers.into_iter().zip(paces).enumerate() {
        tasks.spawn(async move {
            let mut tally = Tally::new();
            let mut n = i;
            while let Some(due) = pace.next().await {
                let result = worker.send(n).await;
                let failed = result.is_err();
                if due >= from {
                    tally.count(due, result);
                }
                if failed {
                    // A proxy that refuses everything must not be asked in a tight loop.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                n += step;
                if matches!(drive, Drive::Flood(..)) {
                    let skipped = pace.skip();
                    tally.skipped += if Instant::now() >= from { skipped } else { 0 };
                }
            }
            tally
        });
    }
    let mut sum = Tally::new();
    while let Some(tally) = tasks.join_next().await {
        sum.merge(tally?);
    }
    sum.elapsed = start.elapsed().saturating_sub(warm);
    Ok(sum)
}

trait Worker: Send + 'static {
    fn send(&mut self, n: usize) -> impl Future<Output = Result<(), String>> + Send;
}

struct KeepAlive {
    load: Arc<Load>,
    requests: Arc<[Vec<u8>]>,
    connection: Option<Http1>,
}

impl Worker for KeepAlive {
    async fn send(&mut self, n: usize) -> Result<(), String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Http1::new(self.load.address.connect().await.map_err(|e| format!("connect: {e}"))?),
        };
        let request = match self.load.turns.as_ref().and_then(Turns::next) {
            Some(head) => head,
            None => turn(&self.requests, n)?,
        };
        let head = connection.exchange(request).await.map_err(|e| e.to_string())?;
        if !head.closes {
            self.connection = Some(connection);
        }
        check(head.status, head.body, self.load.body)
    }
}

struct Fresh {
    load: Arc<Load>,
    requests: Arc<[Vec<u8>]>,
}

impl Worker for Fresh {
    async fn send(&mut self, n: usize) -> Result<(), String> {
        let io = self.load.address.connect().await.map_err(|e| format!("connect: {e}"))?;
        let head = Http1::new(io).exchange(turn(&self.requests, n)?).await.map_err(|e| e.to_string())?;
        check(head.status, head.body, self.load.body)
    }
}

struct Stream {
    load: Arc<Load>,
    requests: Arc<[Request<()>]>,
    connection: Http2,
}

impl Worker for Stream {
    async fn send(&mut self, n: usize) -> Result<(), String> {
        let is_grpc = matches!(self.load.shape, Shape::Grpc { .. });
        let body = if is_grpc { Bytes::from_static(GRPC_MESSAGE) } else { Bytes::new() };
        let request = turn(&self.requests, n)?.clone();
        let answer = match self.connection.exchange(request, body).await {
            Ok(answer) => answer,
            Err(error) => {
                let io = self.load.address.connect().await.map_err(|e| format!("connect: {e}"))?;
                self.connection = Http2::new(io).await.map_err(|e| e.to_string())?;
                return Err(error.to_string());
            }
        };
        let status = answer.trailers.as_ref().and_then(|t| t.get("grpc-status"));
        if is_grpc && status.is_none_or(|s| s != "0") {
            return Err(format!("grpc-status {status:?}"));
        }
        check(answer.head.status().as_u16(), answer.body, self.load.body)
    }
}

fn check(status: u16, body: usize, wanted: usize) -> Result<(), String> {
    if status == 200 && body == wanted {
        return Ok(());
    }
    Err(format!("status {status} with {body} bytes, not 200 with {wanted}"))
}

fn turn<T>(all: &[T], n: usize) -> Result<&T, String> {
    all.get(n % all.len().max(1)).ok_or_else(|| "no requests".to_owned())
}

fn heads(load: &Load, extra: &str) -> Arc<[Vec<u8>]> {
    let head = |(host, path): &(String, String)| {
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: loadtests\r\naccept: */*\r\n{extra}\r\n")
            .into_bytes()
    };
    load.requests.iter().map(head).collect()
}

fn streams_of(load: &Load) -> Result<Arc<[Request<()>]>> {
    let scheme = if load.address.tls.is_some() { "https" } else { "http" };
    let is_grpc = matches!(load.shape, Shape::Grpc { .. });
    let request = |(host, path): &(String, String)| {
        let request = Request::builder().version(Version::HTTP_2).uri(format!("{scheme}://{host}{path}"));
        let request = request.header("user-agent", "loadtests");
        Ok(if is_grpc {
            request
                .method(Method::POST)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())?
        } else {
            request.header("accept", "*/*").body(())?
        })
    };
    load.requests.iter().map(request).collect()
}
