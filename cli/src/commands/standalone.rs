//! `fairway standalone`: starts everything, waits for changes and signals, drains.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use config::load::Counters;
use config::source;
use controller::Options;
use controller::manifests::Loader;
use proxy::admin;
use proxy::telemetry::{Settings, Telemetry};
use proxy::{Proxy, Workers};
use tokio::runtime::{Builder, Runtime};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::args::{Admin, Standalone};
use crate::certificates::Authority;
use crate::input::local_options;
use crate::output;
use crate::standalone::{Control, Live, Pods, Quotas, Roles, Rollouts, Watch};

/// How often Rollouts are looked at.
const ROLL: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &Standalone) -> anyhow::Result<bool> {
    log();
    let paths: Vec<PathBuf> = args.paths.iter().chain(&args.files).cloned().collect();
    if paths.is_empty() {
        bail!("name a directory: fairway standalone DIR");
    }
    let workers = match args.workers {
        Some(workers) => Workers::start(workers),
        None => Workers::one_per_processor(),
    }
    .context("cannot start threads")?;
    let pods = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("demo-pods")
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let control = Builder::new_current_thread().enable_all().build().context("cannot start threads")?;
    let done = control.block_on(serve(args, &paths, &workers, &pods));
    // What has not ended by now is not waited for.
    pods.shutdown_background();
    done
}

/// Errors and warnings to standard error; `RUST_LOG` for more.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // A second call would be a second subscriber; there is one process and one call.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

async fn serve(
    args: &Standalone,
    paths: &[PathBuf],
    workers: &Workers,
    pods: &Runtime,
) -> anyhow::Result<bool> {
    let mut interrupts = Interrupts::new()?;
    let loader = Loader::open(paths).map_err(|finding| anyhow!("{finding}"))?;
    if !loader.unknowable().is_empty() {
        let findings = loader.findings().into_iter().chain(loader.unknowable().iter().cloned());
        let findings: Vec<String> = findings.map(|finding| finding.to_string()).collect();
        bail!("does not start, since something may be open that was to be closed:\n{}", findings.join("\n"));
    }
    let mut watch = (!args.no_watch).then(|| Watch::new(loader.directories())).transpose()?;
    let authority = Authority::new()?;
    let ca = CaFile::write(authority.pem())?;
    let settings =
        Settings { access_log: args.access_log.clone(), otlp: args.otlp_endpoint.clone(), sampling: None };
    let quotas = Quotas::start();
    let options = |options: proxy::Options| {
        let quota = Some(quotas.way(options.role));
        proxy::Options { drain: args.drain, quota, ..options }
    };
    let (gateway, gateway_live) = start(options(gateway::options()), gateway::start, &settings, workers)?;
    let (waypoint, waypoint_live) = start(options(waypoint::options()), waypoint::start, &settings, workers)?;
    let roles: Roles = [gateway_live, waypoint_live];
    let statuses = roles.iter().map(|role| role.status.clone()).collect();
    let telemetries: Vec<Arc<Telemetry>> = vec![gateway.telemetry.clone(), waypoint.telemetry.clone()];
    let counters = telemetries.iter().map(|telemetry| Arc::clone(telemetry) as Arc<dyn Counters>);
    let rollouts = Rollouts::new(counters.collect());
    let admin = match args.admin {
        Admin::Off => None,
        Admin::At(address) => {
            let quotas = Some(quotas.server.clone());
            let admin = admin::serve(address, admin::Exposure::Loopback, statuses, quotas).await;
            Some(admin.context("choose another address with --admin, or off")?)
        }
    };
    let options = Options {
        waypoint_ports: args.waypoint_ports.clone(),
        controller_namespace: args.controller_namespace.clone(),
        ..local_options()
    };
    let pods = Pods::new(pods.handle().clone());
    let mut control = Control::new(loader, authority, pods, options, roles, (quotas, rollouts));
    control.start(&ca.path()).await?;
    if let Some(admin) = &admin {
        output::line(&format!("admin: http://{}/metrics, /config, /limits, /readyz", admin.address()));
    }
    let what = if watch.is_some() { "watching for changes; " } else { "" };
    output::line(&format!("ready; {what}Ctrl-C drains"));
    follow(&mut control, &mut watch, &mut interrupts).await;
    control.draining();
    output::line(&format!("draining, {} at most; Ctrl-C again ends at once", policies::Duration(args.drain)));
    let drained = tokio::select! {
        () = interrupts.next() => false,
        _ = async { tokio::join!(gateway.proxy.drain(), waypoint.proxy.drain()) } => true,
    };
    telemetries.iter().for_each(|telemetry| telemetry.flush());
    output::line(if drained { "drained" } else { "ended at once" });
    Ok(drained)
}

/// Follows files and Rollouts until a signal comes. What fails leaves what is served; the next may be better.
async fn follow(control: &mut Control, watch: &mut Option<Watch>, interrupts: &mut Interrupts) {
    let mut tick = interval(ROLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let changed = async {
            match watch {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        // Given up half-way it would lose what it has seen.
        tokio::pin!(changed);
        let changed = loop {
            tokio::select! {
                biased;
                () = interrupts.next() => return,
                changed = &mut changed => break changed,
                _ = tick.tick() => {
                    if let Err(error) = control.roll().await {
                        output::line(&format!("refused: {error:#}"));
                    }
                }
            }
        };
        if let Err(error) = control.apply(changed).await {
            output::line(&format!("refused: {error:#}"));
        }
    }
}

/// A started proxy with its telemetry.
struct Started {
    proxy: Proxy,
    telemetry: Arc<Telemetry>,
}

fn start(
    options: proxy::Options,
    start: fn(proxy::Options, Workers, Arc<Telemetry>, source::Source) -> std::io::Result<Proxy>,
    settings: &Settings,
    workers: &Workers,
) -> anyhow::Result<(Started, Live)> {
    let telemetry = Telemetry::new(options.role, settings)?;
    let (publisher, source) = source::channel();
    let proxy = start(options, workers.clone(), telemetry.clone(), source)
        .context("the proxy needs a port of 127.0.0.1 for a moment")?;
    let status = admin::Status::new(telemetry.clone(), proxy.resources());
    Ok((Started { proxy, telemetry }, Live::new(publisher, status)))
}

/// Ctrl-C and SIGTERM, kept while nobody waits for them.
#[cfg(unix)]
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

#[cfg(unix)]
impl Interrupts {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot wait for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
struct Interrupts;

#[cfg(not(unix))]
impl Interrupts {
    fn new() -> anyhow::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// The certificate authority's certificate in a directory of our own, so that nobody can have put a file there before.
/// It goes with the process.
struct CaFile {
    directory: PathBuf,
}

impl CaFile {
    fn write(pem: &str) -> anyhow::Result<Self> {
        let directory = std::env::temp_dir().join(format!("fairway-{}", std::process::id()));
        // A process of this number may have ended without cleaning up. Only our own can be removed in a sticky /tmp.
        let _ = fs::remove_dir_all(&directory);
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let file = Self { directory };
        let mut out = fs::File::create_new(file.directory.join("ca.pem")).context("cannot write the CA")?;
        out.write_all(pem.as_bytes()).context("cannot write the CA")?;
        Ok(file)
    }

    fn path(&self) -> String {
        self.directory.join("ca.pem").display().to_string()
    }
}

impl Drop for CaFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
