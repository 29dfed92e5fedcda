//! `fairway standalone` on a folder of manifests that changes while it runs.

pub(crate) mod backend;
pub(crate) mod manifests;
pub(crate) mod traffic;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::timeout;

use crate::client::http1::Http1;
use crate::client::io::{Address, PATIENCE};
use crate::install;
use crate::leash::Leashed;
use crate::procfs;
use crate::proxy::{free_ports, tail};

/// A running `fairway standalone`. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Standalone {
    /// Where the Gateway listens.
    pub(crate) address: Address,
    dir: PathBuf,
    staging: PathBuf,
    log: PathBuf,
    child: Option<Leashed>,
    program: PathBuf,
}

impl Standalone {
    /// Prepares a folder below `scratch`; nothing runs yet.
    pub(crate) fn prepare(program: Option<&Path>, scratch: &Path) -> Result<Self> {
        let program = match program {
            Some(program) => program.canonicalize().with_context(|| program.display().to_string())?,
            None => install::build("fairway", "fairway")?,
        };
        let [port] = free_ports()?;
        let (dir, staging) = (scratch.join("manifests"), scratch.join("staging"));
        for dir in [&dir, &staging] {
            if dir.exists() {
                fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
            }
            fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        let address = Address { socket: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), tls: None };
        Ok(Self { address, dir, staging, log: scratch.join("fairway.log"), child: None, program })
    }

    /// Starts it and waits until `host` and `path` are answered with 200.
    pub(crate) async fn start(&mut self, host: &str, path: &str) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("standalone").arg(&self.dir).args(["--access-log", "off", "--admin", "off"]);
        let mut child = Leashed::spawn(&command, None, &self.log)?;
        let end = Instant::now() + Duration::from_secs(120);
        while let Err(error) = self.ask_once(host, path).await {
            if !child.is_running() {
                bail!("fairway ended: {}", tail(&self.log));
            }
            if Instant::now() > end {
                bail!("fairway: {host}{path}: {error:#}: {}", tail(&self.log));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.child = Some(child);
        Ok(())
    }

    /// Replaces a file as an editor does: whole, by a rename from outside the folder. Gives the moment of the rename.
    pub(crate) fn replace(&self, file: &str, text: &str) -> Result<Instant> {
        let staged = self.staging.join(file);
        fs::write(&staged, text).with_context(|| staged.display().to_string())?;
        let begun = Instant::now();
        fs::rename(&staged, self.dir.join(file)).with_context(|| file.to_owned())?;
        Ok(begun)
    }

    /// Asks on one connection, without a pause, until an answer has `field` with `value`; gives the time since
    /// `begun` when that answer was complete.
    pub(crate) async fn await_field(
        &self,
        probe: &mut Option<Http1>,
        request: &[u8],
        (field, value): (&str, &str),
        begun: Instant,
    ) -> Result<Duration> {
        let limit = Duration::from_secs(30);
        while begun.elapsed() < limit {
            let mut connection = match probe.take() {
                Some(connection) => connection,
                None => Http1::new(self.address.connect().await.context("probe")?),
            };
            // What the probe itself sees go wrong is counted by the traffic beside it, which asks for the same route.
            let Ok(Ok(head)) = timeout(PATIENCE, connection.exchange(request)).await else { continue };
            let is_there = connection.field(field) == Some(value);
            if !head.closes {
                *probe = Some(connection);
            }
            if is_there {
                return Ok(begun.elapsed());
            }
            tokio::task::yield_now().await;
        }
        bail!("{field}: {value} is not served {limit:?} after the change: {}", tail(&self.log))
    }

    /// Memory in MiB.
    pub(crate) fn pss_mib(&self) -> f64 {
        self.child.as_ref().map_or(0, |c| procfs::pss_kib(&procfs::tree(c.pid()))) as f64 / 1024.0
    }

    /// Open files of all its processes.
    pub(crate) fn descriptors(&self) -> usize {
        self.child.as_ref().map_or(0, |c| procfs::descriptors(&procfs::tree(c.pid())))
    }

    /// False once it has ended by itself.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(Leashed::is_running)
    }

    /// User and system time so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.child.as_ref().map_or(0, |c| procfs::cpu_micros(&procfs::tree(c.pid()))) as f64 / 1e6
    }

    async fn ask_once(&self, host: &str, path: &str) -> Result<()> {
        let mut connection = Http1::new(self.address.connect().await?);
        let head = timeout(PATIENCE, connection.exchange(&get(host, path))).await??;
        if head.status != 200 {
            bail!("status {}", head.status);
        }
        Ok(())
    }
}

/// A GET.
pub(crate) fn get(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
}
