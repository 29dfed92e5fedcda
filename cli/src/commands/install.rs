//! `fairway install`: the manifests of an installation.

use controller::install::{self, Installation};

use crate::args::Install;
use crate::output;

pub(crate) fn run(args: &Install) -> anyhow::Result<bool> {
    let default = Installation::default();
    let installation = Installation {
        namespace: args.namespace.clone(),
        image: args.image.clone().unwrap_or(default.image),
        gateway_image: args.gateway_image.clone().unwrap_or(default.gateway_image),
        waypoint_image: args.waypoint_image.clone().unwrap_or(default.waypoint_image),
        waypoints: !args.without_waypoints,
        replicas: args.replicas,
        log: default.log,
        authority_period: default.authority_period,
    };
    let crds = if args.skip_crds { Vec::new() } else { install::crds() };
    let objects = if args.crds_only { Vec::new() } else { install::objects(&installation) };
    let text = install::yaml(crds.iter().chain(&objects))?;
    output::line(text.trim_end());
    Ok(true)
}
