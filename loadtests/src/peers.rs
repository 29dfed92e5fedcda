//! The proxies that are measured, all with the same job: the same listeners, routes and backend, one worker, no
//! access log.

mod envoy;
mod fairway;
mod haproxy;
mod nginx;
mod waypoint;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::certificate::Certificate;
use crate::issuer::{Alg, Issuer, Tokens};

/// A proxy program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
}

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Fairway,
    Floor,
    Envoy,
    Nginx,
    Haproxy,
    /// Fairway's waypoint, in `hop` only.
    Waypoint,
}

impl Kind {
    /// Those of `compare`.
    pub(crate) const ALL: [Self; 5] = [Self::Fairway, Self::Floor, Self::Envoy, Self::Nginx, Self::Haproxy];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fairway => "fairway",
            Self::Floor => "floor",
            Self::Envoy => "envoy",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Waypoint => "waypoint",
        }
    }

    /// Whether it can do this job.
    pub(crate) const fn can(self, job: Job) -> bool {
        !job.verifies() || matches!(self, Self::Fairway | Self::Envoy)
    }
}

/// What a proxy has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Job {
    /// HTTP/2 with prior knowledge on both sides, for gRPC; else HTTP and HTTPS in front, HTTP/1.1 behind.
    pub(crate) h2c: bool,
    /// Routes for `r<i>.example.com` with the prefix `/p<i>/`; 0: one for all hosts and paths.
    pub(crate) routes: usize,
    /// How many of them, from the first on, are asked for.
    pub(crate) asked: usize,
    /// What requests have with them.
    pub(crate) tokens: Option<Tokens>,
    /// Without HTTPS in front.
    pub(crate) plain_only: bool,
}

impl Job {
    /// One route.
    pub(crate) const PLAIN: Self = Self { h2c: false, routes: 0, asked: 0, tokens: None, plain_only: false };
    /// The same without HTTPS: what a waypoint does.
    pub(crate) const HOP: Self = Self { plain_only: true, ..Self::PLAIN };
    /// One route for gRPC.
    pub(crate) const GRPC: Self = Self { h2c: true, ..Self::PLAIN };

    /// Routes over HTTP/1.1, and how many of them are asked for.
    pub(crate) const fn routes(routes: usize, asked: usize) -> Self {
        Self { routes, asked, ..Self::PLAIN }
    }

    /// One route for all whose tokens are good, each of which comes once.
    pub(crate) const fn first_seen(alg: Alg) -> Self {
        Self { tokens: Some(Tokens { alg, again: false, verified: true }), ..Self::PLAIN }
    }

    /// The same with few tokens, or for requests that have a token with them that nobody looks at.
    pub(crate) const fn again(alg: Alg, verified: bool) -> Self {
        Self { tokens: Some(Tokens { alg, again: true, verified }), ..Self::PLAIN }
    }

    pub(crate) const fn verifies(self) -> bool {
        matches!(self.tokens, Some(Tokens { verified: true, .. }))
    }

    /// What tells it from the others of a scenario.
    pub(crate) fn label(self) -> String {
        match self {
            Self { tokens: Some(Tokens { verified: true, .. }), .. } => "tokens verified".to_owned(),
            Self { routes: 0, .. } => "tokens ignored".to_owned(),
            Self { routes, asked, .. } if asked < routes => format!("{asked} of {routes} routes"),
            Self { routes, .. } => format!("{routes} routes"),
        }
    }
}

/// Everything a peer needs to write its configuration.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) job: Job,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) admin_port: u16,
    pub(crate) origin: SocketAddr,
    pub(crate) certificate: &'a Certificate,
    /// Whose tokens are good.
    pub(crate) issuer: Option<&'a Issuer>,
    /// A folder of its own.
    pub(crate) dir: &'a Path,
}

impl Peer {
    /// Writes the configuration and says how to start.
    pub(crate) fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        match self.kind {
            Kind::Fairway => fairway::command(&self.program, setup),
            Kind::Floor => Ok(floor(&self.program, setup)),
            Kind::Envoy => envoy::command(&self.program, setup),
            Kind::Nginx => nginx::command(&self.program, setup),
            Kind::Haproxy => haproxy::command(&self.program, setup),
            Kind::Waypoint => waypoint::command(&self.program, setup),
        }
    }
}

fn floor(program: &Path, setup: &Setup<'_>) -> Command {
    let mut command = Command::new(program);
    command.args(["floor", "--port", &setup.port.to_string(), "--upstream", &setup.origin.to_string()]);
    command.args(["--routes", &setup.job.routes.to_string()]);
    if setup.job.h2c {
        command.arg("--h2c");
    } else {
        command.args(["--tls-port", &setup.tls_port.to_string()]);
        command.arg("--cert").arg(&setup.certificate.chain).arg("--key").arg(&setup.certificate.key);
    }
    command
}

/// Host and path prefix of a route.
pub(crate) fn route(i: usize) -> (String, String) {
    (format!("r{i}.example.com"), format!("/p{i}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_what_the_proxies_decode() {
        let dir = tempfile::tempdir().unwrap();
        let certificate = Certificate::create(dir.path()).unwrap();
        let issuer = Issuer::create(&[Alg::Es256].into(), "/", true).unwrap();
        for job in [Job::PLAIN, Job::GRPC, Job::routes(3, 3), Job::first_seen(Alg::Es256)] {
            let origin = "127.0.0.1:9000".parse().unwrap();
            let (port, tls_port, admin_port) = (8080, 8443, 9901);
            let (certificate, issuer, dir) = (&certificate, Some(&issuer), dir.path());
            let setup = Setup { job, port, tls_port, admin_port, origin, certificate, issuer, dir };
            let text = fairway::documents(&setup);
            let resources = config::decode_documents(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let count = |kind| resources.keys().filter(|k| k.kind == kind).count();
            assert_eq!(count(config::Kind::HttpRoute), job.routes.max(1));
            assert_eq!(count(config::Kind::SecurityPolicy), usize::from(job.verifies()));
            let is_unread = |resource: &config::Resource| matches!(resource, config::Resource::SecurityPolicy(policy) if policy.invalid.is_some());
            assert!(!resources.values().any(|resource| is_unread(resource)), "{text}");
            let text = waypoint::documents(&setup);
            let of_waypoint = config::decode_documents(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let listeners = of_waypoint.keys().filter(|key| key.kind == config::Kind::Listener);
            assert_eq!(listeners.count(), waypoint::SERVICES);
            let text = envoy::text(&setup);
            let envoy: serde_json::Value =
                serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let chain = &envoy["static_resources"]["listeners"][0]["filter_chains"][0];
            let filters = &chain["filters"][0]["typed_config"]["http_filters"];
            assert_eq!(filters.as_array().unwrap().len(), 1 + usize::from(job.verifies()), "{text}");
        }
    }
}
