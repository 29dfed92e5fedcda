//! `fairway controller`: the controller of a cluster.

use anyhow::Context as _;
use controller::cluster::{self, Settings};
use controller::install::Installation;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::redis;
use crate::args::{Controller, Period};

pub(crate) fn run(args: Controller) -> anyhow::Result<bool> {
    // What kube's parts say of failures we say ourselves, with the object.
    log(&format!("kube_runtime=off,kube_client=off,{}", args.log))?;
    let settings = Settings {
        namespace: args.namespace,
        account: args.service_account,
        replica: args.replica,
        service: args.service,
        advertise: args.advertise,
        listen: args.listen,
        admin: args.admin,
        image: args.gateway_image.unwrap_or_else(|| Installation::default().gateway_image),
        waypoint_image: args.waypoint_image.unwrap_or_else(|| Installation::default().waypoint_image),
        trust_domain: args.trust_domain,
        epoch: args.epoch,
        authority_period: match args.authority_period {
            Period::Never => None,
            Period::Every(period) => Some(period),
        },
        redis: redis::settings(&args.redis)?,
    };
    let runtime = Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let done = runtime.block_on(async {
        let (end, ended) = watch::channel(false);
        tokio::spawn(async move {
            if let Err(error) = signalled().await {
                tracing::error!(%error, "signals cannot be heard");
            }
            end.send_replace(true);
        });
        cluster::run(settings, ended).await
    });
    // Nothing that is left is worth waiting for.
    runtime.shutdown_background();
    done.context("the controller ends")?;
    Ok(true)
}

/// Has the process say on standard error what it does.
pub(super) fn log(filter: &str) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter).context("--log")?)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

/// SIGTERM or Ctrl-C.
pub(super) async fn signalled() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            done = tokio::signal::ctrl_c() => done,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
