//! What the commands that start nothing read: manifests, and what they mean.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, anyhow};
use controller::manifests::Loader;
use controller::status::GatewayAddress;
use controller::{Options, Resources, Translation, translate};

use crate::args::Manifests;
use crate::certificates::Authority;

/// Manifests and their translation.
pub(crate) struct Input {
    pub(crate) loader: Loader,
    pub(crate) resources: Resources,
    pub(crate) translation: Translation,
}

impl Input {
    /// Reads and translates. What does not load is in `loader.findings()`.
    pub(crate) fn read(manifests: &Manifests) -> anyhow::Result<Self> {
        let loader = Loader::open(&manifests.files).map_err(|finding| anyhow!("{finding}"))?;
        let mut objects = loader.objects();
        Authority::new()?.fill(&mut objects).context("self-made certificates")?;
        let resources = Resources::collect(objects);
        let options =
            Options { controller_namespace: manifests.controller_namespace.clone(), ..local_options() };
        let translation = translate(&resources, &options);
        Ok(Self { loader, resources, translation })
    }
}

/// As standalone translates: Gateways are reached on this host.
pub(crate) fn local_options() -> Options {
    Options {
        addresses: vec![GatewayAddress { r#type: "IPAddress".into(), value: "127.0.0.1".into() }],
        shared_host: true,
        waypoint_address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ..Options::default()
    }
}
