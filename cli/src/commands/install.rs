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
        replicas: args.replicas,
        log: default.log,
    };
    let crds = if args.skip_crds { Vec::new() } else { install::crds() };
    let objects = if args.crds_only { Vec::new() } else { install::objects(&installation) };
    let mut text = String::new();
    for object in crds.iter().chain(&objects) {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(object)?);
    }
    output::line(text.trim_end());
    Ok(true)
}
