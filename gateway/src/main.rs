//! The gateway as a process of its own, fed by the controller or from a file.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use clap::Parser;
use config::identity::Role;
use proxy::admin::Exposure;
use proxy::process::{Fed, Feed};
use proxy::telemetry::{AccessLog, Settings, Telemetry};
use proxy::{Options, Workers};
use tracing_subscriber::EnvFilter;

/// Requests make many small, short-lived allocations; the system's allocator costs several percent of CPU there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Fairway's gateway, the edge: serves Gateway listeners.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    #[command(flatten)]
    feed: Feed,
    /// Address of the admin port: /livez, /readyz, /metrics, /config.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15000")]
    admin: SocketAddr,
    /// Lets `--admin` be an address that others can reach. It shows what runs inside.
    #[arg(long)]
    expose_admin: bool,
    /// Threads that serve requests. Default: one per processor.
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Seconds that requests in flight may take to end when a port closes or the process ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain: u64,
    /// Access log: `off`, `stdout` or a file.
    #[arg(long, value_name = "WHERE", default_value = "off")]
    access_log: String,
    /// OTLP/gRPC collector for traces.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// What the process says of itself on standard error: `error`, `warn`, `info`, `debug`, or filters by module.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

const EXAMPLES: &str = "Examples:
  fairway translate -f examples/quickstart > ir.yaml
  fairway-gateway --config-file ir.yaml
  fairway-gateway --config-file ir.yaml --workers 1 --access-log stdout --log warn
  fairway-gateway --controller https://fairway-controller.fairway-system.svc:15010 \\
    --controller-ca /var/run/fairway/ca.crt --token-file /var/run/fairway/token \\
    --gateway shop/edge --snapshot /var/lib/fairway/snapshot
  curl http://127.0.0.1:15000/readyz";

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Pingora's own lines are about single connections.
    let filter = EnvFilter::try_new(format!("pingora=off,{}", args.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let workers = match args.workers {
        Some(workers) => Workers::start(workers)?,
        None => Workers::one_per_processor()?,
    };
    // Configuration, the admin port and signals: apart from requests.
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    control.block_on(serve(args, workers))
}

async fn serve(args: Args, workers: Workers) -> anyhow::Result<()> {
    let settings = Settings {
        access_log: match args.access_log.as_str() {
            "off" => AccessLog::Off,
            "stdout" => AccessLog::Stdout,
            file => AccessLog::File(file.into()),
        },
        otlp: args.otlp_endpoint,
        ..Settings::default()
    };
    let telemetry = Telemetry::new("gateway", &settings)?;
    let Fed { source, answers, controller } = args.feed.open(Role::Gateway)?;
    if let Some(state) = controller {
        telemetry.follow_controller(state);
    }
    let drain = std::time::Duration::from_secs(args.drain);
    let options = Options { drain, ..fairway_gateway::options() };
    let proxy = fairway_gateway::start(options, workers, telemetry.clone(), source);
    let exposure = if args.expose_admin { Exposure::Anyone } else { Exposure::Loopback };
    proxy::process::run(proxy, telemetry, answers, Some((args.admin, exposure))).await?;
    Ok(())
}
