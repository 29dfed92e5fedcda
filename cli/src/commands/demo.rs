//! `fairway demo`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderMap, HeaderValue, header};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::watch;

use super::controller::signalled;
use crate::args::{Demo, DemoCommand};
use crate::demo::echo::{Pod, serve};
use crate::demo::tally::{self, Tally};
use crate::output;

/// Longest time for what is in flight when it is to end.
const DRAIN: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Demo) -> anyhow::Result<bool> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start threads")?;
    match &args.command {
        DemoCommand::Serve { listen, name, service, call } => {
            let pod = Pod { name: name.clone(), service: service.clone(), calls: call.clone() };
            runtime.block_on(async {
                let listener = TcpListener::bind(listen).await;
                let listener = listener.with_context(|| format!("cannot listen at {listen}"))?;
                output::line(&format!("ready at {}", listener.local_addr()?));
                let (stop, stopped) = watch::channel(());
                tokio::select! {
                    () = serve(Arc::new(pod), listener, stopped) => {}
                    ended = signalled() => ended.context("cannot wait for signals")?,
                }
                // What is in flight ends; who keeps a connection open has to go.
                let _ = stop.send(());
                let _ = tokio::time::timeout(DRAIN, stop.closed()).await;
                Ok(true)
            })
        }
        DemoCommand::Ask { url, count, headers, every, wait, timeout, token } => {
            let mut fields: HeaderMap = headers.iter().cloned().collect();
            if let Some(token) = token {
                fields.insert(header::AUTHORIZATION, bearer(token)?);
            }
            if let Some(most) = wait {
                runtime.block_on(tally::wait_for(url, *most));
            }
            let tally = runtime.block_on(Tally::of(url, &fields, *count, (*every, *timeout)));
            tally.lines().for_each(|line| output::line(&line));
            Ok(tally.is_answered())
        }
    }
}

fn bearer(file: &Path) -> anyhow::Result<HeaderValue> {
    let token = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .with_context(|| format!("{} holds no token", file.display()))?;
    value.set_sensitive(true);
    Ok(value)
}
