//! What is measured.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, bail};

use crate::certificate::Certificate;
use crate::client::io::Address;
use crate::client::load::{GRPC_MESSAGE, Load, Shape};
use crate::issuer::Alg;
use crate::origin;
use crate::peers::{Job, Kind, route};
use crate::proxy::Running;

/// A way to use a proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) shape: Shape,
    pub(crate) tls: bool,
    /// The proxy's jobs, each measured; several are compared with one another.
    pub(crate) jobs: &'static [Job],
    pub(crate) path: &'static str,
    /// Requests per second at a fixed rate: well under what the slowest peer can do.
    pub(crate) rate: f64,
    /// The most CPU that Fairway may take, over Envoy's.
    pub(crate) limit: Option<f64>,
}

const PLAIN: &[Job] = &[Job::PLAIN];
/// Of requests with tokens, too.
pub(crate) const SMALL: &str = "small";
const KEEP_ALIVE: Shape = Shape::Http1 { connections: 64 };

/// The name of the one that counts memory, not time.
pub(crate) const IDLE: &str = "idle";

/// All but `idle`.
pub(crate) const ALL: [Scenario; 12] = [
    Scenario {
        name: "h1",
        title: "HTTP/1.1 keep-alive, 64 connections, 2 bytes",
        shape: KEEP_ALIVE,
        tls: false,
        jobs: PLAIN,
        path: SMALL,
        rate: 8000.0,
        limit: None,
    },
    Scenario {
        name: "h1-10k",
        title: "HTTP/1.1 keep-alive, 64 connections, 10 KiB",
        shape: KEEP_ALIVE,
        tls: false,
        jobs: PLAIN,
        path: "10k",
        rate: 5000.0,
        limit: None,
    },
    Scenario {
        name: "tls-h1",
        title: "TLS 1.3, HTTP/1.1 keep-alive, 64 connections",
        shape: KEEP_ALIVE,
        tls: true,
        jobs: PLAIN,
        path: SMALL,
        rate: 6000.0,
        limit: None,
    },
    Scenario {
        name: "tls-h2",
        title: "TLS 1.3, HTTP/2, 10 connections of 32 streams",
        shape: Shape::Http2 { connections: 10, streams: 32 },
        tls: true,
        jobs: PLAIN,
        path: SMALL,
        rate: 6000.0,
        limit: None,
    },
    Scenario {
        name: "grpc",
        title: "gRPC unary, h2c on both sides, 10 connections of 32 streams",
        shape: Shape::Grpc { connections: 10, streams: 32 },
        tls: false,
        jobs: &[Job::GRPC],
        path: "bench.Echo/Unary",
        rate: 6000.0,
        limit: None,
    },
    Scenario {
        name: "routes-1000",
        title: "1,000 routes by host and prefix, HTTP/1.1 keep-alive",
        shape: KEEP_ALIVE,
        tls: false,
        jobs: &[Job::routes(1000, 1000)],
        path: SMALL,
        rate: 6000.0,
        limit: None,
    },
    Scenario {
        name: "routes-5000",
        title: "10 routes, the same 10 among 5,000, and all 5,000: cost of a match, and memory",
        shape: KEEP_ALIVE,
        tls: false,
        jobs: &[Job::routes(10, 10), Job::routes(5000, 10), Job::routes(5000, 5000)],
        path: SMALL,
        rate: 6000.0,
        limit: None,
    },
    Scenario {
        name: "new",
        title: "a new TCP connection for each request",
        shape: Shape::Fresh { at_once: 32 },
        tls: false,
        jobs: PLAIN,
        path: SMALL,
        rate: 2000.0,
        limit: None,
    },
    Scenario {
        name: "new-tls",
        title: "a new TLS 1.3 connection for each request, no resumption",
        shape: Shape::Fresh { at_once: 32 },
        tls: true,
        jobs: PLAIN,
        path: SMALL,
        rate: 500.0,
        limit: None,
    },
    Scenario {
        name: "jwt-rs256",
        title: "a token that was not seen before with each request, RS256 with a key of 2,048 bits",
        shape: KEEP_ALIVE,
        tls: false,
        jobs: &[Job::first_seen(Alg::Rs256)],
        path: SMALL,
        rate: 3000.0,
        limit: Some(0.6),
    },
    Scenario {
        name: "jwt-es256",
        title: "a token that was not seen before with each request, ES256",
        shape: KEEP_ALIVE,
        tls: false,
        jobs: &[Job::first_seen(Alg::Es256)],
        path: SMALL,
        rate: 3000.0,
        limit: Some(0.6),
    },
    Scenario {
        name: "jwt-cached",
        title: "500 tokens (RS256) that come again and again: ignored, and verified",
        shape: KEEP_ALIVE,
        tls: false,
        jobs: &[Job::again(Alg::Rs256, false), Job::again(Alg::Rs256, true)],
        path: SMALL,
        rate: 6000.0,
        limit: None,
    },
];

impl Scenario {
    /// Those named, or all; and whether `idle` is among them.
    pub(crate) fn choose(names: &[String]) -> Result<(Vec<Self>, bool)> {
        let known = || ALL.iter().map(|s| s.name).chain([IDLE]);
        if let Some(unknown) = names.iter().find(|n| !known().any(|k| k == **n)) {
            let known: Vec<&str> = known().collect();
            bail!("--scenario {unknown}: there is none of that name; there are {}", known.join(", "));
        }
        let wanted = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
        Ok((ALL.into_iter().filter(|s| wanted(s.name)).collect(), wanted(IDLE)))
    }

    /// Whether a proxy can do all of it.
    pub(crate) fn is_for(&self, kind: Kind) -> bool {
        self.jobs.iter().all(|job| kind.can(*job))
    }

    /// The load for a proxy that runs with one of the jobs.
    pub(crate) fn load(&self, proxy: &Running, certificate: &Certificate) -> Arc<Load> {
        let is_http2 = matches!(self.shape, Shape::Http2 { .. });
        let tls = if is_http2 { &certificate.http2 } else { &certificate.http1 };
        let address = Address {
            socket: if self.tls { proxy.https } else { proxy.http },
            tls: self.tls.then(|| Arc::clone(tls)),
        };
        let requests = if proxy.job.routes == 0 {
            vec![(crate::certificate::NAME.to_owned(), format!("/{}", self.path))]
        } else {
            let request = |i| (route(i).0, route(i).1 + self.path);
            // A stride that shares no factor with the number of routes: neighbours in time are not so in memory.
            (0..proxy.job.asked).map(|i| request(i * 7919 % proxy.job.asked)).collect()
        };
        let body = match (self.shape, self.path) {
            (Shape::Grpc { .. }, _) => GRPC_MESSAGE.len(),
            (_, "10k") => origin::LARGE,
            _ => origin::SMALL.len(),
        };
        Arc::new(Load { address, shape: self.shape, requests, turns: proxy.turns.clone(), body })
    }

    /// How tokens are signed that these need.
    pub(crate) fn algs(scenarios: &[Self]) -> BTreeSet<Alg> {
        let jobs = scenarios.iter().flat_map(|scenario| scenario.jobs);
        jobs.filter_map(|job| job.tokens).map(|tokens| tokens.alg).collect()
    }
}
