//! What the binaries of all roles are told, and how they start.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use config::identity::Role;
use config::source::Source;
use config::{load, quota};
use policies::client_traffic::ByteSize;
use tracing_subscriber::EnvFilter;

use super::{Error, Fed, Feed, run};
use crate::admin::Exposure;
use crate::telemetry::{AccessLog, Settings, Telemetry};
use crate::{Options, Proxy, Workers};

/// Flags of a proxy's binary; the admin port's default differs by role, so its address is not among them.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    feed: Feed,
    /// Lets `--admin` be an address that others can reach. It shows what runs inside.
    #[arg(long)]
    expose_admin: bool,
    /// Threads that serve requests. Default: one per processor.
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Seconds that requests in flight may take to end when a port closes or the process ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain: u64,
    /// Client connections at once; what is more is closed. Never more than half of the descriptors the process may have.
    #[arg(long, value_name = "N", default_value = "50000")]
    max_connections: NonZeroUsize,
    /// Memory the process may have, such as 512Mi, if less than its control group may. When it runs short, connections
    /// end, then requests get 503, then connections are closed.
    #[arg(long, value_name = "BYTES")]
    max_memory: Option<ByteSize>,
    /// Access log: `off`, `stdout` or a file.
    #[arg(long, value_name = "WHERE", default_value = "off")]
    access_log: AccessLog,
    /// OTLP/gRPC collector for traces.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// What the process says of itself on standard error: `error`, `warn`, `info`, `debug`, or filters by module.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

/// Starts a proxy of a role.
pub type Start = fn(Options, Workers, Arc<Telemetry>, Source) -> std::io::Result<Proxy>;

impl Flags {
    /// Runs a proxy until the process is told to end.
    ///
    /// # Errors
    /// When something cannot be used or set up.
    pub fn serve(self, role: Role, admin: SocketAddr, options: Options, start: Start) -> Result<(), Error> {
        // Pingora's own lines are about single connections.
        let filter = EnvFilter::try_new(format!("pingora=off,{}", self.log)).map_err(Error::Log)?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .init();
        let workers = match self.workers {
            Some(workers) => Workers::start(workers),
            None => Workers::one_per_processor(),
        }
        .map_err(Error::Threads)?;
        // Configuration, the admin port and signals: apart from requests.
        let control =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Threads)?;
        control.block_on(self.on(workers, role, admin, options, start))
    }

    async fn on(
        self,
        workers: Workers,
        role: Role,
        admin: SocketAddr,
        options: Options,
        start: Start,
    ) -> Result<(), Error> {
        let settings =
            Settings { access_log: self.access_log, otlp: self.otlp_endpoint, ..Settings::default() };
        let telemetry = Telemetry::new(options.role, &settings)?;
        let Fed { source, answers, controller, way } = self.feed.open(role)?;
        if let Some(state) = controller {
            telemetry.follow_controller(state);
        }
        let (drain, max_connections) = (Duration::from_secs(self.drain), self.max_connections.get());
        let max_memory = self.max_memory.map(|most| most.0);
        let quota = way.clone().map(|way| way as Arc<dyn quota::Way>);
        let load = way.map(|way| way as Arc<dyn load::Way>);
        let options = Options { drain, max_connections, max_memory, quota, load, ..options };
        let proxy = start(options, workers, telemetry.clone(), source).map_err(Error::Start)?;
        let exposure = if self.expose_admin { Exposure::Anyone } else { Exposure::Loopback };
        run(proxy, telemetry, answers, Some((admin, exposure))).await
    }
}
