//! `fairway rls`: a rate limit service.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use config::redis::Redis;
use config::rls::{BadFile, Counters, File, Limits, Service, Shared, Store};
use controller::manifests::roots;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::controller::{log, signalled};
use super::redis;
use crate::args::Rls;
use crate::output;
use crate::standalone::Watch;

pub(crate) fn run(args: &Rls) -> anyhow::Result<bool> {
    log(&args.log)?;
    let runtime = Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(serve(args))?;
    // Nothing that is left is worth waiting for.
    runtime.shutdown_background();
    Ok(true)
}

async fn serve(args: &Rls) -> anyhow::Result<()> {
    let mut watch = Watch::new(roots::directories(&args.files))?;
    let mut texts = read(args)?;
    let served = Arc::new(ArcSwap::from_pointee(limits(args, &texts)?));
    let store = match redis::settings(&args.redis)? {
        Some(settings) => {
            // Nobody has to be there yet.
            let redis = Redis::open(&settings).context("--redis")?;
            Store::Redis(Shared { redis, timeout: args.redis_timeout })
        }
        None => Store::Memory(Counters::new(args.keys as usize)),
    };
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen at {}", args.listen))?;
    output::line(&format!("ready at {}; watching for changes; Ctrl-C ends", listener.local_addr()?));
    let service = Service { limits: served.clone(), store: Arc::new(store) }.serve(listener);
    let changes = async {
        loop {
            watch.next().await;
            let changed = match read(args) {
                // Another file of the directory.
                Ok(now) if now == texts => continue,
                Ok(now) => {
                    texts = now;
                    limits(args, &texts).map_err(Into::into)
                }
                Err(error) => Err(error),
            };
            match changed {
                Ok(limits) => {
                    served.store(Arc::new(limits));
                    output::line("live");
                }
                Err(error) => output::line(&format!("refused: {error:#}; what was read before holds on")),
            }
        }
    };
    tokio::select! {
        () = service => {}
        () = changes => {}
        ended = signalled() => ended.context("cannot wait for signals")?,
    }
    Ok(())
}

/// All files as they are now, in order of their names.
fn read(args: &Rls) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut paths = roots::files(&args.files);
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok((path, text))
    };
    paths.into_iter().map(read).collect()
}

fn limits(args: &Rls, texts: &[(PathBuf, String)]) -> Result<Limits, BadFile> {
    let files = texts.iter().map(|(path, text)| File::read(&path.display().to_string(), text));
    Limits::of(&files.collect::<Result<Vec<_>, _>>()?, args.merge_domains)
}
