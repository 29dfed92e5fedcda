//! `fairway rls`, and where Redis is, for whoever keeps something there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::duration;

/// Serve a rate limit service (RLS, envoy.service.ratelimit.v3): asked for each request, it says yes or no.
///
/// For Envoy and others that ask one; Fairway's own proxies need none. Reads the configuration files of
/// envoyproxy/ratelimit and watches them: a saved file holds at once; one that cannot be followed is refused, and what the
/// files said last holds on. Counts are kept in fixed windows: in memory, so that one process has to be asked by all, or
/// in Redis or Valkey, where several count together. While that is away, who asks is told so at once, and decides itself.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway rls -f limits.yaml
  fairway rls -f limits/ --listen 0.0.0.0:8081 --keys 5000000
  fairway rls -f limits.yaml --redis redis://127.0.0.1:6379/0")]
pub(crate) struct Rls {
    /// Directories and files that say the limits, one domain each.
    #[arg(short, long = "file", value_name = "DIR", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Where it is asked: gRPC over HTTP/2 without TLS.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Several files may be about one domain.
    #[arg(long)]
    pub(crate) merge_domains: bool,
    /// Counters in memory, some 64 bytes each; what has no place of its own shares one with others.
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "url")]
    pub(crate) keys: u32,
    #[command(flatten)]
    pub(crate) redis: Redis,
    /// How long an answer of Redis may take. Less than who asks waits for ours.
    #[arg(long, default_value = "20ms", value_name = "DURATION", value_parser = duration, requires = "url")]
    pub(crate) redis_timeout: Duration,
    /// What the process says of itself on standard error: `error`, `warn`, `info`, `debug`, or filters by module.
    #[arg(long, env = "FAIRWAY_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

/// Where Redis or Valkey is.
#[derive(Debug, clap::Args)]
pub(crate) struct Redis {
    /// Redis or Valkey, as `redis://USER@HOST:PORT/DB`, or `rediss:` for TLS. A password is better in the environment or
    /// in a file than here, where everybody on the machine sees it.
    #[arg(id = "url", long = "redis", env = "FAIRWAY_REDIS", hide_env_values = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// File that holds the password.
    #[arg(long = "redis-password-file", value_name = "FILE", requires = "url")]
    pub(crate) password: Option<PathBuf>,
    /// File of certificates, in PEM, that the server's has to come from. Default: those the system trusts.
    #[arg(long = "redis-ca", value_name = "FILE", requires = "url")]
    pub(crate) authority: Option<PathBuf>,
    /// What names of keys begin with, for several that use one database.
    #[arg(long = "redis-prefix", default_value = "fairway:", value_name = "TEXT", requires = "url")]
    pub(crate) prefix: String,
}
