//! A proxy that runs and answers.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Request;
use tokio::time::timeout;

use crate::certificate::{Certificate, NAME};
use crate::client::http1::Http1;
use crate::client::http2::Http2;
use crate::client::io::{Address, PATIENCE};
use crate::issuer::{Issuer, Turns};
use crate::leash::Leashed;
use crate::peers::{Job, Peer, Setup, route};
use crate::procfs;

/// A proxy under measurement. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) job: Job,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    /// Requests with tokens, where its job has any.
    pub(crate) turns: Option<Turns>,
    child: Leashed,
}

/// Where the parts of a run are, and who they talk to.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) origin: SocketAddr,
    pub(crate) certificate: &'a Certificate,
    pub(crate) issuer: Option<&'a Issuer>,
    pub(crate) dir: &'a Path,
    /// CPU of the proxies.
    pub(crate) core: Option<usize>,
}

/// Configurations with thousands of routes take their time.
const START: Duration = Duration::from_secs(60);

impl Running {
    /// Starts a proxy and waits until it answers.
    pub(crate) async fn start(peer: &Peer, job: Job, bench: &Bench<'_>) -> Result<Self> {
        let dir = bench.dir.join(format!(
            "{}-{}-{}-{}-{}-{:?}",
            peer.kind.name(),
            job.routes,
            job.asked,
            u8::from(job.h2c),
            u8::from(job.plain_only),
            job.tokens.map(|tokens| (tokens.alg, tokens.again, tokens.verified))
        ));
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let [port, tls_port, admin_port] = free_ports()?;
        let setup = Setup {
            job,
            port,
            tls_port,
            admin_port,
            origin: bench.origin,
            certificate: bench.certificate,
            issuer: bench.issuer,
            dir: &dir,
        };
        let log = dir.join("log");
        let child = Leashed::spawn(&peer.command(&setup)?, bench.core, &log)?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let turns = job.tokens.zip(bench.issuer).and_then(|(tokens, issuer)| issuer.turns(tokens));
        let mut running = Self { job, http: local(port), https: local(tls_port), turns, child };
        running.wait(bench.certificate, &log).await.with_context(|| peer.kind.name())?;
        Ok(running)
    }

    /// User and system time so far, in microseconds.
    pub(crate) fn cpu_micros(&self) -> u64 {
        procfs::cpu_micros(&procfs::tree(self.child.pid()))
    }

    /// Memory in KiB.
    pub(crate) fn pss_kib(&self) -> u64 {
        procfs::pss_kib(&procfs::tree(self.child.pid()))
    }

    async fn wait(&mut self, certificate: &Certificate, log: &Path) -> Result<()> {
        let end = Instant::now() + START;
        loop {
            let tried = timeout(PATIENCE, self.try_once(certificate)).await.map_err(Into::into);
            let Err(error) = tried.and_then(|t| t) else { return Ok(()) };
            if !self.child.is_running() {
                bail!("it ended: {}", tail(log));
            }
            if Instant::now() > end {
                bail!("no answer in {START:?}: {error}: {}", tail(log));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn try_once(&self, certificate: &Certificate) -> Result<()> {
        let (host, prefix) = match self.job.routes {
            0 => (NAME.to_owned(), "/".to_owned()),
            n => route(n - 1),
        };
        let plain = Address { socket: self.http, tls: None };
        if self.job.h2c {
            let mut connection = Http2::new(plain.connect().await?).await?;
            let request = Request::builder().method("POST").uri(format!("http://{host}{prefix}x"));
            let request = request.header("content-type", "application/grpc").header("te", "trailers");
            let answer = connection.exchange(request.body(())?, Bytes::from_static(b"\0\0\0\0\0")).await?;
            return if answer.trailers.is_some() {
                Ok(())
            } else {
                bail!("no trailers: {}", answer.head.status())
            };
        }
        let secure = Address { socket: self.https, tls: Some(certificate.http1.clone()) };
        let request = format!("GET {prefix}x HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let addresses = if self.job.plain_only { vec![plain] } else { vec![plain, secure] };
        for address in addresses {
            let mut connection = Http1::new(address.connect().await?);
            let signed = self.turns.as_ref().and_then(Turns::next);
            let head = connection.exchange(signed.unwrap_or(request.as_bytes())).await?;
            if head.status != 200 {
                bail!("{} answers {}", address.socket, head.status);
            }
        }
        Ok(())
    }
}

/// Ports of loopback nobody listens on. Another program could take one before the proxy does; then it does not start,
/// and says so.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .context("free port")?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().context("free port")?.port();
    }
    Ok(ports)
}

/// The end of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// A folder that goes with the run.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn create() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("fairway-loadtests-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
