//! The waypoint as a process of its own, fed by the controller or from a file.

use std::net::SocketAddr;

use clap::Parser;
use config::identity::Role;
use proxy::process::Flags;

/// Requests make many small, short-lived allocations; the system's allocator costs several percent of CPU there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Fairway's waypoint, in front of captured Services.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// Address of the admin port: /livez, /readyz, /metrics, /config, /limits.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15001")]
    admin: SocketAddr,
    #[command(flatten)]
    flags: Flags,
}

const EXAMPLES: &str = "Examples:
  fairway translate -f examples/quickstart > ir.yaml
  fairway-waypoint --config-file ir.yaml
  fairway-waypoint --config-file ir.yaml --workers 1 --access-log stdout --log warn
  fairway-waypoint --controller https://fairway-controller.fairway-system.svc:15010 \\
    --controller-ca /var/run/fairway/ca.crt --token-file /var/run/fairway/token \\
    --gateway shop/waypoint --snapshot /var/lib/fairway/snapshot
  curl http://127.0.0.1:15001/readyz";

fn main() -> anyhow::Result<()> {
    let Args { admin, flags } = Args::parse();
    Ok(flags.serve(Role::Waypoint, admin, fairway_waypoint::options(), fairway_waypoint::start)?)
}
