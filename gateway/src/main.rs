//! The gateway as a process of its own, fed by the controller or from a file.

use std::net::SocketAddr;

use clap::Parser;
use config::identity::Role;
use proxy::process::Flags;

/// Requests make many small, short-lived allocations; the system's allocator costs several percent of CPU there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Fairway's gateway, the edge: serves Gateway listeners.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// Address of the admin port: /livez, /readyz, /metrics, /config, /limits.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15000")]
    admin: SocketAddr,
    #[command(flatten)]
    flags: Flags,
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
    let Args { admin, flags } = Args::parse();
    Ok(flags.serve(Role::Gateway, admin, fairway_gateway::options(), fairway_gateway::start)?)
}
