//! What happens to backends.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::time::sleep;

use super::dice::Dice;
use crate::standalone::Standalone;
use crate::standalone::backend::{Backend, Death};
use crate::standalone::manifests::endpoints;

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGTERM while the EndpointSlice still names it.
    Terminate,
    /// Out of the EndpointSlice, then SIGTERM.
    Remove,
    /// Half open: connections are made and bytes taken, and nothing is answered for a while.
    Pause,
}

/// One fault of one backend, which is back and listens afterwards.
pub(super) async fn strike(
    fairway: &Standalone,
    backends: &mut [Backend],
    dice: &mut Dice,
) -> Result<Option<Death>> {
    let all: Vec<SocketAddr> = backends.iter().map(|b| b.address).collect();
    let at = usize::try_from(dice.below(backends.len() as u64))?;
    let victim = backends.get_mut(at).context("backends")?;
    let fault = dice.pick(&[Fault::Kill, Fault::Terminate, Fault::Remove, Fault::Pause]);
    let away = Duration::from_millis(50 + dice.below(700));
    let death = match fault.context("faults")? {
        Fault::Pause => {
            victim.signal(Signal::STOP);
            sleep(away).await;
            victim.signal(Signal::CONT);
            return Ok(None);
        }
        Fault::Kill => Some(victim.stop(Signal::KILL).await?),
        Fault::Terminate => {
            victim.stop(Signal::TERM).await?;
            None
        }
        Fault::Remove => {
            let others: Vec<SocketAddr> = all.iter().copied().filter(|a| *a != victim.address).collect();
            fairway.replace("endpoints.yaml", &endpoints("echo", &others))?;
            sleep(Duration::from_millis(250)).await;
            victim.stop(Signal::TERM).await?;
            None
        }
    };
    sleep(away).await;
    victim.start().await?;
    fairway.replace("endpoints.yaml", &endpoints("echo", &all))?;
    Ok(death)
}
