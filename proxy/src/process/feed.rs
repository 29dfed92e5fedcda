//! Where a proxy's configuration comes from, as flags: a file, or the controller with a snapshot on disk.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use config::identity::{GatewayRef, ProxyId, Role};
use config::source::{self, Answer, FileError, Source};
use config::xds::{self, BadUrl, ClientOptions, ClientState, Controlled, ControllerWay, SnapshotFile};
use tokio::sync::{mpsc, watch};

/// Where configuration comes from.
#[derive(Debug, Args)]
pub struct Feed {
    /// IR documents, as `fairway translate` prints them. Each change of the file is served at once; a broken one is
    /// logged, and the last good one is served on.
    #[arg(long, value_name = "FILE", required_unless_present = "controller", conflicts_with = "controller")]
    config_file: Option<PathBuf>,
    /// The controller: https://HOST:PORT. Its certificate must hold the host name. While it is away, what it told last
    /// is served on.
    #[arg(long, value_name = "URL", requires_all = ["controller_ca", "token_file", "gateway"])]
    controller: Option<String>,
    /// Certificate authorities of the controller, PEM. Read for every connection, so it can be exchanged in place.
    #[arg(long, value_name = "FILE", requires = "controller")]
    controller_ca: Option<PathBuf>,
    /// ServiceAccount token for the controller's audience. Read for every connection.
    #[arg(long, value_name = "FILE", requires = "controller")]
    token_file: Option<PathBuf>,
    /// The Gateway to serve; the token has to be that of its ServiceAccount.
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "controller")]
    gateway: Option<String>,
    /// Name of this pod among those of the Gateway. Default: the host's name.
    #[arg(long, value_name = "NAME", requires = "controller")]
    pod: Option<String>,
    /// Where to keep what is served, to start from when the controller is away. Its directory must be writable.
    #[arg(long, value_name = "FILE", requires = "controller")]
    snapshot: Option<PathBuf>,
    /// Keep private keys in the snapshot too (mode 0600). Without, listeners that need one wait for the controller
    /// after a start.
    #[arg(long, requires = "snapshot")]
    snapshot_keys: bool,
}

/// Configuration as it comes.
#[derive(Debug)]
pub struct Fed {
    /// For the proxy.
    pub source: Source,
    /// Its answers, for who shows them.
    pub answers: mpsc::Receiver<Answer>,
    /// How it goes with the controller, where there is one.
    pub controller: Option<watch::Receiver<ClientState>>,
    /// To the quota server, and to who asks for loads, where there is one.
    pub way: Option<Arc<ControllerWay>>,
}

/// Why there can be no configuration.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// `--controller`.
    #[error("--controller")]
    Controller(#[from] BadUrl),
    /// `--gateway`.
    #[error("--gateway: {0:?} is no Gateway: write NAMESPACE/NAME")]
    Gateway(String),
    /// A flag is missing.
    #[error("write --config-file FILE, or --controller URL with --controller-ca, --token-file and --gateway")]
    Incomplete,
}

impl Feed {
    /// Opens it, on the current runtime.
    ///
    /// # Errors
    /// When the file cannot be used, or a flag. A controller may come later.
    pub fn open(self, role: Role) -> Result<Fed, FeedError> {
        if let Some(path) = &self.config_file {
            let (source, answers) = source::file(path)?;
            return Ok(Fed { source, answers, controller: None, way: None });
        }
        let (Some(controller), Some(controller_ca), Some(token_file), Some(gateway)) =
            (self.controller, self.controller_ca, self.token_file, self.gateway)
        else {
            return Err(FeedError::Incomplete);
        };
        let gateway: GatewayRef =
            format!("{}/{gateway}", role.as_str()).parse().map_err(|_| FeedError::Gateway(gateway))?;
        let proxy = ProxyId { gateway, pod: self.pod.unwrap_or_else(host_name) };
        let with_keys = self.snapshot_keys;
        let snapshot = self.snapshot.map(|path| SnapshotFile { path, with_keys });
        let options = ClientOptions { controller, controller_ca, token_file, proxy, snapshot };
        let Controlled { source, answers, state, way } = xds::client(options)?;
        Ok(Fed { source, answers, controller: Some(state), way: Some(way) })
    }
}

/// In a cluster that is the pod's name.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}
