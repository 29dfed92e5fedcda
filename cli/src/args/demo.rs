//! `fairway demo`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use http::{HeaderName, HeaderValue, Uri};

/// Servers and a client to try a mesh with, as pods of a cluster: see examples/books.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway demo serve --name reviews-1 --service books/reviews-v1 --call http://ratings/
  fairway demo ask http://reviews/ --count 100   how many answers came from whom")]
pub(crate) struct Demo {
    #[command(subcommand)]
    pub(crate) command: DemoCommand,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DemoCommand {
    /// Answer requests with JSON that says what they were, until SIGTERM.
    ///
    /// HTTP/1.1, HTTP/2 and gRPC (each method says what it was told) on one port, without TLS. `?status=503` makes it answer so,
    /// `?delay=200ms` wait first. /healthz calls nobody.
    Serve {
        /// Where.
        #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
        listen: SocketAddr,
        /// Who answers.
        #[arg(long, env = "POD_NAME", default_value = "demo", value_name = "NAME")]
        name: String,
        /// For which Service.
        #[arg(long, default_value = "demo", value_name = "NAMESPACE/NAME")]
        service: String,
        /// Who is called for each request, over a connection of its own; several are called at once. Trace context, x-request-id and
        /// x-user are passed on. Repeatable.
        #[arg(long, value_name = "URL")]
        call: Vec<Uri>,
    },
    /// Send requests, each over a connection of its own, and count answers by who gave them.
    ///
    /// Exit code 0: each was answered, whatever the answer. 1: some were not.
    Ask {
        /// Whom: http://HOST:PORT/PATH; without a port, 80.
        #[arg(value_name = "URL")]
        url: Uri,
        /// How many requests.
        #[arg(short = 'n', long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
        /// A field of each request. Repeatable.
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field)]
        headers: Vec<(HeaderName, HeaderValue)>,
        /// How long to wait between two requests.
        #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = super::duration)]
        every: Duration,
        /// Try so long before the first request until somebody takes a connection: pods that are ready may take a moment to be
        /// reached.
        #[arg(long, value_name = "DURATION", value_parser = super::duration)]
        wait: Option<Duration>,
        /// Longest time for an answer.
        #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = super::duration)]
        timeout: Duration,
        /// A file whose text is sent as `Authorization: Bearer`, such as that of a projected ServiceAccount token.
        #[arg(long, value_name = "FILE")]
        token: Option<PathBuf>,
    },
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is no name of a field"))?;
    let value = value.trim().parse().map_err(|_| format!("{value:?} is no value of a field"))?;
    Ok((name, value))
}
