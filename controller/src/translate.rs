//! From the user's objects to the IR and a status for each object.

use std::ops::RangeInclusive;

use config::Rejection;

use crate::status::GatewayAddress;
use crate::{Resources, Statuses};

/// What the environment decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where Gateways can be reached: standalone says 127.0.0.1. Empty: nothing is assigned yet, and every Gateway says
    /// so.
    pub addresses: Vec<GatewayAddress>,
    /// Ports for waypoint listeners, one per (Service, port). Default 20000 to 29999: under `ip_local_port_range`.
    pub waypoint_ports: RangeInclusive<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self { addresses: Vec::new(), waypoint_ports: 20_000..=29_999 }
    }
}

/// What the objects mean.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Translation {
    /// What the proxies should do.
    pub resources: config::Resources,
    /// What the user is told. `Programmed` is `Unknown` until [`program`] knows better.
    pub statuses: Statuses,
}

/// Translates, and remembers parts of the last translation so that the next costs what changed. The result is the same
/// as that of [`translate`].
#[derive(Debug, Default)]
pub struct Translator {
    options: Options,
}

impl Translator {
    /// A translator that remembers nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Translates.
    pub fn translate(&mut self, resources: &Resources) -> Translation {
        translate(resources, &self.options)
    }
}

/// Translates once.
#[must_use]
pub fn translate(_resources: &Resources, _options: &Options) -> Translation {
    Translation::default()
}

/// The statuses once a proxy has answered: `applied` says that it serves this translation, save what it rejects.
#[must_use]
pub fn program(translation: &Translation, _rejections: &[Rejection], _applied: bool) -> Statuses {
    translation.statuses.clone()
}
