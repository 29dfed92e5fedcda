//! The life of a proxy process: where its configuration comes from, admin port, signals, drain. Shared by the binaries of
//! the roles.

mod feed;
mod flags;

use std::net::SocketAddr;
use std::sync::Arc;

use config::Rejection;
use config::source::Answer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub use self::feed::{Fed, Feed, FeedError};
pub use self::flags::{Flags, Start};
use crate::Proxy;
use crate::admin::{self, Exposure, Status};
use crate::telemetry::{Telemetry, fresh};

/// Why a process ends in an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin port cannot be opened.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// `--log`.
    #[error("--log")]
    Log(#[source] tracing_subscriber::filter::ParseError),
    /// The system gives no threads.
    #[error("threads cannot be started")]
    Threads(#[source] std::io::Error),
    /// Logs, metrics or traces cannot start.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::Error),
    /// There can be no configuration.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// Pingora cannot be started.
    #[error("the proxy cannot be started: it needs a port of 127.0.0.1 for a moment")]
    Start(#[source] std::io::Error),
    /// The system does not let signals be handled.
    #[error("signals cannot be handled")]
    Signals(#[source] std::io::Error),
}

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends it at once. `answers`: of the proxy, to its source.
///
/// # Errors
/// When the process cannot be set up.
pub async fn run(
    proxy: Proxy,
    telemetry: Arc<Telemetry>,
    mut answers: mpsc::Receiver<Answer>,
    admin: Option<(SocketAddr, Exposure)>,
) -> Result<(), Error> {
    let status = Status::new(telemetry.clone(), proxy.resources());
    let _admin = match admin {
        Some((address, exposure)) => Some(admin::serve(address, exposure, vec![status.clone()], None).await?),
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut rejections = None;
    loop {
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => applied(&status, answer, &mut rejections),
                // The source is gone; what it told last is served on.
                None => break,
            },
            _ = terminate.recv() => return drain(proxy, &status, &telemetry, terminate, interrupt).await,
            _ = interrupt.recv() => return drain(proxy, &status, &telemetry, terminate, interrupt).await,
        }
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drain(proxy, &status, &telemetry, terminate, interrupt).await
}

/// Says what is new: an update a second would fill a log with what was said before.
fn applied(status: &Status, answer: Answer, before: &mut Option<Vec<Rejection>>) {
    status.applied(answer.version, &answer.rejections);
    let (version, rejections) = (answer.version, answer.rejections.len());
    if before.as_ref().is_none_or(|before| *before != answer.rejections) {
        tracing::info!(version, rejections, "configuration applied");
    } else {
        tracing::debug!(version, rejections, "configuration applied");
    }
    for rejection in fresh(before.as_deref().unwrap_or_default(), &answer.rejections) {
        tracing::warn!(key = %rejection.key, severity = ?rejection.severity, "{}", rejection.message);
    }
    *before = Some(answer.rejections);
}

async fn drain(
    proxy: Proxy,
    status: &Status,
    telemetry: &Arc<Telemetry>,
    mut terminate: tokio::signal::unix::Signal,
    mut interrupt: tokio::signal::unix::Signal,
) -> Result<(), Error> {
    status.draining();
    tracing::info!("draining");
    tokio::select! {
        () = proxy.drain() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let telemetry = telemetry.clone();
    // It may block for as long as a collector does.
    let _ = tokio::task::spawn_blocking(move || telemetry.flush()).await;
    Ok(())
}
