//! The backend: HTTP/1.1, HTTP/2 with prior knowledge and gRPC on one port.
//!
//! It costs as little as it can, since it shares a core with the load. When it drains it stops accepting, goes on
//! answering on the connections it has, with `Connection: close`, and closes those that stay idle at the end: what a
//! well-behaved server does in Kubernetes after SIGTERM.

mod http1;
mod http2;

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::args::OriginArgs;

/// What all connections of an origin share.
#[derive(Debug)]
pub(crate) struct Origin {
    name: Option<String>,
    ledger: Option<Mutex<File>>,
    delay: Duration,
    connections: AtomicUsize,
    /// Answers to `/hold` wait for true.
    gate: watch::Sender<bool>,
    /// When idle connections are closed; set: drains.
    drain: watch::Sender<Option<Instant>>,
}

/// Bytes of the body for a path that ends in `/10k`.
pub(crate) const LARGE: usize = 10 * 1024;
/// The body for all other paths.
pub(crate) const SMALL: &[u8] = b"ok";

impl Origin {
    /// One in this process, for `compare` and `propagate`.
    pub(crate) fn new(name: Option<String>) -> Self {
        Self {
            name,
            ledger: None,
            delay: Duration::ZERO,
            connections: AtomicUsize::new(0),
            gate: watch::Sender::new(false),
            drain: watch::Sender::new(None),
        }
    }

    /// Starts serving on the current runtime, on a port of loopback that the system chooses.
    pub(crate) async fn spawn(self) -> Result<(Arc<Self>, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("origin")?;
        let address = listener.local_addr().context("origin")?;
        let origin = Arc::new(self);
        tokio::spawn(accept(listener, Arc::clone(&origin)));
        Ok((origin, address))
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Lets answers to `/hold` go, or wait.
    pub(crate) fn set_gate(&self, open: bool) {
        self.gate.send_replace(open);
    }

    fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    fn record(&self, id: &str) {
        if let Some(ledger) = &self.ledger {
            // One write to a file opened for appending: it survives SIGKILL of this process.
            let _ = ledger.lock().write_all(format!("{id}\n").as_bytes());
        }
    }

    async fn wait(&self, path: &str) {
        if path.ends_with("/hold") {
            let _ = self.gate.subscribe().wait_for(|open| *open).await;
        }
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }
}

/// The subcommand.
pub(crate) async fn run(args: &OriginArgs) -> Result<()> {
    let listener = TcpListener::bind((args.address, args.port)).await.context("origin")?;
    let ledger = args.ledger.as_ref().map(|path| {
        let file = File::options().append(true).create(true).open(path);
        file.with_context(|| path.display().to_string()).map(Mutex::new)
    });
    let origin = Arc::new(Origin {
        ledger: ledger.transpose()?,
        delay: Duration::from_millis(args.delay_ms),
        ..Origin::new(args.name.clone())
    });
    let mut terminate = signal(SignalKind::terminate()).context("signal")?;
    let accepting = tokio::spawn(accept(listener, Arc::clone(&origin)));
    terminate.recv().await;
    accepting.abort();
    let close_idle = Instant::now() + Duration::from_millis(args.drain_ms);
    origin.drain.send_replace(Some(close_idle));
    let end = close_idle + Duration::from_secs(5);
    while origin.connections() > 0 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn accept(listener: TcpListener, origin: Arc<Origin>) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await; // out of descriptors: some will close
            continue;
        };
        origin.connections.fetch_add(1, Ordering::Relaxed);
        let origin = Arc::clone(&origin);
        tokio::spawn(async move {
            let _ = serve(tcp, &origin).await; // a client that went away is no concern of the origin
            origin.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn serve(tcp: TcpStream, origin: &Arc<Origin>) -> Result<()> {
    tcp.set_nodelay(true)?;
    let mut first = [0; 3];
    loop {
        let n = tcp.peek(&mut first).await?;
        if n == 3 || n == 0 || first.first() != Some(&b'P') {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await; // the rest of `PRI` or `POST` is on its way
    }
    if first == *b"PRI" { http2::serve(tcp, origin).await } else { http1::serve(tcp, origin).await }
}
