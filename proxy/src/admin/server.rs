//! The admin port's connections: HTTP/1.1, one request each, bounded in number, size and time.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::quota::Quotas;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Status, pages};

/// Connections at one time; more wait in the system's queue.
pub(super) const CONNECTIONS: usize = 32;
/// Longest time for a request head.
const HEAD: Duration = Duration::from_secs(5);
/// Longest time for a connection: a scrape of 5,000 routes over a slow link.
const WHOLE: Duration = Duration::from_secs(60);
/// Bytes and fields of a request head.
const HEAD_BYTES: usize = 16 * 1024;
const HEAD_FIELDS: usize = 64;

/// Who may reach an admin port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exposure {
    /// Processes of this host (or pod).
    #[default]
    Loopback,
    /// Whoever can reach the address.
    Anyone,
}

/// Why an admin port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can be reached from elsewhere.
    #[error("admin address {0} is no loopback address: use 127.0.0.1 or [::1], or allow exposure explicitly")]
    Exposed(SocketAddr),
    /// The system refuses the address.
    #[error("admin address {address} cannot be opened; is another process using it?")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// An admin port; dropping it closes it.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Admin {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves the admin port of a process with these roles, on the current runtime: that it answers shows that the runtime
/// runs. Port 0 takes a free one. `quotas`: the quota server of the process, where it has one.
///
/// # Errors
/// When the address is taken, or is no loopback address and `exposure` does not allow that.
pub async fn serve(
    address: SocketAddr,
    exposure: Exposure,
    roles: Vec<Arc<Status>>,
    quotas: Option<Quotas>,
) -> Result<Admin, Error> {
    let is_loopback = address.ip().to_canonical().is_loopback();
    if exposure == Exposure::Loopback && !is_loopback {
        return Err(Error::Exposed(address));
    }
    let refused = |source| Error::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let site = Arc::new(pages::Site { roles, quotas, is_loopback });
    // Dropped with its task, so that closing the port ends its connections.
    let accepting = config::accept(listener, CONNECTIONS, "admin port", move |stream, _| {
        let site = site.clone();
        async move { _ = tokio::time::timeout(WHOLE, connection(stream, site)).await }
    });
    Ok(Admin { address, task: tokio::spawn(accepting) })
}

async fn connection(stream: TcpStream, site: Arc<pages::Site>) {
    let answer = service_fn(move |req| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(pages::answer(site, &req).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        // Scrapes and probes are far apart; a kept connection would only occupy a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection broke");
    }
}
