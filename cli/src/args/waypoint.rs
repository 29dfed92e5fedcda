//! `fairway waypoint`.

use std::time::Duration;

use clap::Parser;

use super::{Cluster, Explanation};

/// Lead clients of Services to a waypoint and back, and show where each Service is.
///
/// A namespace, or a Service, asks for a waypoint by labels; `enroll` and `release` write these and nothing else, as
/// `kubectl label` would. `verify` compares what clients are led to with what the controller says.
///
/// Exit code 0: done, or nothing is wrong. 1: `verify` found something. 2: the cluster cannot be asked, or refuses.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway waypoint enroll shop                   Services of shop that a route or policy is attached to
  fairway waypoint enroll shop --capture observe what would be captured, and why something cannot be
  fairway waypoint list -n shop
  fairway waypoint status shop/cart
  fairway waypoint release shop/cart
  fairway waypoint release shop --break-glass    without a controller: pods come back at once
  fairway waypoint release --all                 before Fairway is uninstalled
  fairway waypoint verify")]
pub(crate) struct Waypoint {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    #[command(subcommand)]
    pub(crate) command: WaypointCommand,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum WaypointCommand {
    /// Label a namespace, or a Service, so that its clients are led to a waypoint.
    Enroll {
        /// What.
        #[arg(value_name = "NAMESPACE[/SERVICE]")]
        what: String,
        /// The Gateway that is its waypoint; `auto`: one that is made for the namespace.
        #[arg(long, default_value = "auto", value_name = "NAME")]
        waypoint: String,
        /// Which Services of a namespace.
        #[arg(long, default_value = "attached", value_name = "attached|all|observe")]
        capture: Capture,
    },
    /// Show every Service that a waypoint has to do with.
    List {
        /// Form.
        #[arg(short, long, default_value = "text", value_name = "FORM")]
        output: Explanation,
    },
    /// Show one Service.
    Status {
        /// Which.
        #[arg(value_name = "NAMESPACE/SERVICE")]
        service: String,
    },
    /// Take the labels away, so that clients are led back to the pods.
    Release {
        /// What.
        #[arg(value_name = "NAMESPACE[/SERVICE]", required_unless_present = "all")]
        what: Option<String>,
        /// Everything, for good: takes GatewayClass fairway-waypoint away and waits until the controller has let all Services
        /// go. Labels of namespaces stay. Helm does this before it removes Fairway.
        #[arg(long, conflicts_with = "what")]
        all: bool,
        /// With --all: how long to wait for the controller.
        #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = super::duration, requires = "all")]
        wait: Duration,
        /// Take away what the controller has written, for when there is none. One that runs writes it again.
        #[arg(long)]
        break_glass: bool,
    },
    /// Compare what clients are led to with what it shall be.
    Verify,
}

/// Which Services of a namespace are captured.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Capture {
    /// Those that a route or policy is attached to.
    Attached,
    /// All.
    All,
    /// None; their conditions say what would be.
    Observe,
}

impl Capture {
    /// As labels say it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::All => "all",
            Self::Observe => "observe",
        }
    }
}
