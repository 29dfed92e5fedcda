//! `fairway rls`: a rate limit service.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;
use config::rls::{BadFile, Counters, File, Limits, Service};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::controller::signalled;
use crate::args::Rls;
use crate::output;
use crate::standalone::Watch;

pub(crate) fn run(args: &Rls) -> anyhow::Result<bool> {
    let runtime = Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(serve(args))?;
    // Nothing that is left is worth waiting for.
    runtime.shutdown_background();
    Ok(true)
}

async fn serve(args: &Rls) -> anyhow::Result<()> {
    let mut watch = Watch::new(args.files.iter().map(|path| directory(path)).collect())?;
    let limits = Arc::new(ArcSwap::from_pointee(read(args)?));
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen at {}", args.listen))?;
    output::line(&format!("ready at {}; watching for changes; Ctrl-C ends", listener.local_addr()?));
    let counters = Arc::new(Counters::new(args.keys as usize));
    let service = Service { limits: limits.clone(), counters }.serve(listener);
    let changes = async {
        loop {
            watch.next().await;
            match read(args) {
                Ok(read) => {
                    limits.store(Arc::new(read));
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

fn directory(path: &Path) -> PathBuf {
    let parent = || path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() { path.to_path_buf() } else { parent().to_path_buf() }
}

/// All files as they are now, in order of their names.
fn read(args: &Rls) -> anyhow::Result<Limits> {
    let mut paths = Vec::new();
    for path in &args.files {
        if path.is_dir() {
            let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
            let files = entries.filter_map(Result::ok).map(|entry| entry.path());
            paths.extend(files.filter(|path| path.extension().is_some_and(|is| is == "yaml" || is == "yml")));
        } else {
            paths.push(path.clone());
        }
    }
    paths.sort();
    let bad = |bad: BadFile| anyhow!("{bad}");
    let mut files = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        files.push(File::read(&path.display().to_string(), &text).map_err(bad)?);
    }
    Limits::of(&files, args.merge_domains).map_err(bad)
}
