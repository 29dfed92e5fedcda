//! The proxy's end: a [`Source`] that is fed by the controller and, at start, by the snapshot on disk.
//!
//! Traffic never waits for it. Without the controller the last configuration is served for ever, and connecting is tried
//! again after a random time of up to 100 ms, doubled with each failure up to 30 s (full jitter), so that the proxies of
//! a restarted controller do not come all at once.
//!
//! Trust bundle and token are read again for every connection, because both are rotated in place.

pub(in crate::xds) mod certify;
pub(in crate::xds) mod dial;
mod held;
mod keep;
mod session;
mod ways;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use self::dial::BadUrl;
use self::dial::Dialer;
use self::held::Held;
use self::session::Client;
pub use self::ways::ControllerWay;
use crate::identity::ProxyId;
use crate::source::{Answer, Source, channel};
use crate::{Generation, snapshot};

/// How a proxy finds its controller.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// `https://HOST:PORT`; port 443 unless said. The host is the name the controller's certificate must hold.
    pub controller: String,
    /// Certificates of the authorities that sign the controller's, PEM. Read for every connection.
    pub controller_ca: PathBuf,
    /// The ServiceAccount token for the controller's audience. Read for every connection.
    pub token_file: PathBuf,
    /// Who the proxy is. The token has to prove it.
    pub proxy: ProxyId,
    /// Where what is served is kept for the next start. Default: nowhere.
    pub snapshot: Option<SnapshotFile>,
}

/// Where a proxy keeps what it serves.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// The file; its directory must be writable.
    pub path: PathBuf,
    /// Keep private keys too. Without, listeners that need one wait for the controller after a start.
    pub with_keys: bool,
}

/// How a proxy and its controller get on.
#[derive(Debug, Clone, Default)]
pub struct ClientState {
    /// A stream is open.
    pub is_connected: bool,
    /// What is in use.
    pub generation: Option<Generation>,
    /// The controller has been heard; until then what is in use comes from the snapshot.
    pub is_confirmed: bool,
    /// Why there is no stream.
    pub problem: Option<String>,
    /// When the controller was answered last.
    pub answered: Option<Instant>,
    /// Answers without rejections.
    pub acks: u64,
    /// Answers with rejections.
    pub nacks: u64,
    /// Streams opened.
    pub streams: u64,
    /// Certificates received.
    pub certificates: u64,
    /// Names this build cannot read, which no [`Answer`] can list; sorted.
    pub unknown: Vec<String>,
    /// When the snapshot that is on disk was written; at start the time of the file.
    pub snapshot_written: Option<std::time::SystemTime>,
    /// Why the snapshot on disk is not used or not written.
    pub snapshot_problem: Option<String>,
}

/// A source fed by the controller.
#[derive(Debug)]
pub struct Controlled {
    /// For the proxy.
    pub source: Source,
    /// The answers of the proxy, with what could not even be decoded. Of several that nobody took the newest is told.
    pub answers: mpsc::Receiver<Answer>,
    /// How it goes.
    pub state: watch::Receiver<ClientState>,
    /// To the quota server, and to who asks for loads.
    pub way: Arc<ControllerWay>,
}

/// Starts a client on the current runtime; it ends with the source.
///
/// # Errors
/// When the URL is none. Everything else may be there later.
pub fn client(options: ClientOptions) -> Result<Controlled, BadUrl> {
    let dialer = Arc::new(Dialer::new(&options)?);
    let (publisher, source) = channel();
    let (told, answers) = mpsc::channel(1);
    let (state, seen) = watch::channel(ClientState::default());
    let (connected, connection) = watch::channel(None);
    let way = Arc::new(ControllerWay { dialer: dialer.clone(), connection });
    let client = Client {
        connected,
        certifier: Arc::new(certify::Certifier::new(dialer.clone(), state.clone())),
        dialer,
        publisher,
        answer: watch::Sender::new(None),
        held: Arc::new(Mutex::new(Held::default())),
        state,
        keep: None,
    };
    tokio::spawn(client.run(options.snapshot, told));
    Ok(Controlled { source, answers, state: seen, way })
}

/// Reads a snapshot as a client does at start, for tools.
///
/// # Errors
/// When it cannot be used.
pub fn read_snapshot(
    path: &std::path::Path,
    proxy: &ProxyId,
) -> Result<crate::Resources, snapshot::SnapshotError> {
    let read = snapshot::read(path, &proxy.gateway)?;
    Ok(read.records.into_iter().map(|record| (record.key, record.resource)).collect())
}
