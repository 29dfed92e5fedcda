//! The life of a proxy process: admin port, signals, drain. Shared by the binaries of the roles.

use std::net::SocketAddr;
use std::sync::Arc;

use config::source::Answer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::Proxy;
use crate::admin::{self, Exposure, Status};
use crate::telemetry::Telemetry;

/// Why a process ends in an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin port cannot be opened.
    #[error(transparent)]
    Admin(#[from] admin::Error),
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
        Some((address, exposure)) => Some(admin::serve(address, exposure, vec![status.clone()]).await?),
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    loop {
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => applied(&status, &answer),
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

fn applied(status: &Status, answer: &Answer) {
    status.applied(answer.version, &answer.rejections);
    tracing::info!(version = answer.version, rejections = answer.rejections.len(), "configuration applied");
    for rejection in &answer.rejections {
        tracing::warn!(key = %rejection.key, severity = ?rejection.severity, "{}", rejection.message);
    }
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
