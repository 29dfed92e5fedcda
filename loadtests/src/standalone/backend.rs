//! Backends in processes of their own, which come and go, each with a ledger of what reached it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::net::TcpStream;

use super::traffic::Failure;
use crate::leash::Leashed;

/// One of the processes behind a Service.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Where it listens, process after process.
    pub(crate) address: SocketAddr,
    name: String,
    scratch: PathBuf,
    starts: usize,
    child: Option<Leashed>,
}

/// When and where a process was killed.
#[derive(Debug)]
pub(crate) struct Death {
    ordered: Instant,
    gone: Instant,
    ledger: PathBuf,
}

impl Death {
    /// The requests that had reached the process.
    pub(crate) fn reached(&self) -> Vec<u64> {
        read(&self.ledger)
    }

    /// Sent before the process was gone, over after it was told to go: its bytes may have lain in the socket unread.
    pub(crate) fn is_around(&self, failure: &Failure) -> bool {
        failure.began <= self.gone && failure.ended >= self.ordered
    }
}

impl Backend {
    /// One that does not run yet; what it says and sees is written below `scratch`.
    pub(crate) const fn new(address: SocketAddr, name: String, scratch: PathBuf) -> Self {
        Self { address, name, scratch, starts: 0, child: None }
    }

    /// Of the process that runs, or ran last.
    fn ledger(&self) -> PathBuf {
        self.ledger_of(self.starts)
    }

    /// Of all processes so far.
    pub(crate) fn ledgers(&self) -> impl Iterator<Item = PathBuf> {
        (1..=self.starts).map(|start| self.ledger_of(start))
    }

    fn ledger_of(&self, start: usize) -> PathBuf {
        self.scratch.join(format!("ledger-{}-{start}", self.name))
    }

    /// Starts a process and waits until it listens.
    pub(crate) async fn start(&mut self) -> Result<()> {
        self.starts += 1;
        let mut command = Command::new(std::env::current_exe().context("own path")?);
        command.args(["origin", "--address", &self.address.ip().to_string()]);
        command.args(["--port", &self.address.port().to_string(), "--name", &self.name, "--drain-ms", "500"]);
        command.arg("--ledger").arg(self.ledger());
        self.child = Some(Leashed::spawn(&command, None, &self.scratch.join(format!("{}.log", self.name)))?);
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.address).await.is_err() {
            if Instant::now() > end {
                bail!("backend {} does not listen", self.name);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Sends the process a signal that does not end it.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            child.signal(signal);
        }
    }

    /// Ends the process by a signal.
    pub(crate) async fn stop(&mut self, signal: Signal) -> Result<Death> {
        let ledger = self.ledger();
        let mut child = self.child.take().context("backend runs")?;
        let ordered = Instant::now();
        child.signal(signal);
        let end = ordered + Duration::from_secs(20);
        while child.is_running() {
            if Instant::now() > end {
                bail!("backend {} does not end", self.name);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Death { ordered, gone: Instant::now(), ledger })
    }
}

/// What a ledger holds.
pub(crate) fn read(ledger: &Path) -> Vec<u64> {
    fs::read_to_string(ledger).unwrap_or_default().lines().filter_map(|l| l.parse().ok()).collect()
}
