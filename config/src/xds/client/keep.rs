//! Keeps the snapshot on disk up to date, off the path of updates.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::held::Held;
use super::{ClientState, SnapshotFile};
use crate::identity::GatewayRef;
use crate::snapshot;

/// Changes within this time are written at once.
const GATHER: Duration = Duration::from_millis(500);
/// Writing takes at most this part of the time, so that endpoints that come and go each second do not keep a disk busy.
const SHARE: u32 = 20;

/// Asks for a snapshot to be written.
#[derive(Clone)]
pub(super) struct Keep {
    wanted: Arc<Notify>,
}

impl Keep {
    /// What is held has changed and is in use.
    pub(super) fn changed(&self) {
        self.wanted.notify_one();
    }
}

/// Writes when asked, until it is dropped.
pub(super) fn keeper(
    file: SnapshotFile,
    gateway: GatewayRef,
    held: Arc<Mutex<Held>>,
    state: watch::Sender<ClientState>,
) -> (Keep, impl Future<Output = ()>) {
    let keep = Keep { wanted: Arc::new(Notify::new()) };
    let wanted = keep.wanted.clone();
    let writing = async move {
        let mut said = None;
        loop {
            wanted.notified().await;
            tokio::time::sleep(GATHER).await;
            let began = Instant::now();
            let (file, gateway, held) = (file.clone(), gateway.clone(), held.clone());
            let written = tokio::task::spawn_blocking(move || write(&file, &gateway, &held)).await;
            let problem = match written {
                Ok(Ok(None)) => continue,
                Ok(Ok(Some(left_out))) => {
                    if said.replace(left_out) != Some(left_out) && left_out > 0 {
                        tracing::info!(
                            left_out,
                            "the snapshot holds no private keys: after a start their listeners wait for the \
                             controller; --snapshot-keys keeps them"
                        );
                    }
                    None
                }
                Ok(Err(error)) => Some(format!("the snapshot cannot be written: {error}")),
                Err(_) => Some("the snapshot cannot be written: a bug".to_owned()),
            };
            state.send_modify(|state| {
                if let Some(problem) = &problem
                    && state.snapshot_problem.as_ref() != Some(problem)
                {
                    tracing::warn!("{problem}");
                }
                if problem.is_none() {
                    state.snapshot_written = Some(SystemTime::now());
                }
                state.snapshot_problem = problem;
            });
            tokio::time::sleep(began.elapsed().saturating_mul(SHARE)).await;
        }
    };
    (keep, writing)
}

fn write(file: &SnapshotFile, gateway: &GatewayRef, held: &Mutex<Held>) -> std::io::Result<Option<usize>> {
    // Copies pointers, not resources.
    let Some(snapshot) = held.lock().snapshot() else { return Ok(None) };
    snapshot::write(&file.path, gateway, &snapshot, file.with_keys).map(Some)
}
