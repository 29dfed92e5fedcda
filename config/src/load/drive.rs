//! A proxy's end of the stream: tells what it is asked for, over whatever leads to a server.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::proto::{Report, Request};
use super::{Counters, Reporter};
use crate::backoff::Backoff;

/// Whatever a server asks for, a proxy tells no more often.
const SHORTEST: Duration = Duration::from_millis(500);
/// Nor less.
const LONGEST: Duration = Duration::from_secs(60);
/// First and longest wait between tries.
const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(5);

/// Leads to a server.
#[async_trait]
pub trait Way: Send + Sync + fmt::Debug + 'static {
    /// Opens a stream. It may take as long as it takes.
    ///
    /// # Errors
    /// Why there is none, for people.
    async fn open(&self) -> Result<Line, String>;
}

/// A stream.
#[derive(Debug)]
pub struct Line {
    /// To the server; has room for some.
    pub reports: mpsc::Sender<Report>,
    /// From the server; the last may say why it ended.
    pub requests: mpsc::Receiver<Result<Request, String>>,
}

/// Drives a [`Reporter`].
#[derive(Debug)]
pub struct Driver {
    /// To the server.
    pub way: Arc<dyn Way>,
    /// What is told.
    pub counters: Arc<dyn Counters>,
}

impl Driver {
    /// Tells until the future is dropped. Connecting is tried again after a random time that grows with each failure (full
    /// jitter).
    pub async fn run(self) -> Infallible {
        let mut backoff = Backoff::new(BASE, CAP);
        let mut before = None;
        loop {
            let problem = match self.way.open().await {
                Ok(line) => self.talk(line, &mut backoff).await,
                Err(problem) => problem,
            };
            let wait = backoff.next();
            // The same again is not worth a line each time, and nothing depends on it.
            if before.as_ref() != Some(&problem) {
                tracing::debug!(?wait, "loads are told nobody: {problem}");
            }
            before = Some(problem);
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns why it is over.
    async fn talk(&self, line: Line, backoff: &mut Backoff) -> String {
        let Line { reports, mut requests } = line;
        let (began, mut reporter) = (Instant::now(), Reporter::default());
        let now = || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut tick = interval(LONGEST);
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Ok(request)) => {
                        backoff.reset();
                        reporter.asked(now(), &request, &*self.counters);
                        tick = ticking(&request);
                    }
                    Some(Err(problem)) => return problem,
                    None => return "the server ended the stream".to_owned(),
                },
                _ = tick.tick(), if reporter.is_asked() => {
                    if let Some(report) = reporter.report(now(), &*self.counters)
                        && reports.send(report).await.is_err()
                    {
                        return "the server takes no reports".to_owned();
                    }
                }
            }
        }
    }
}

fn ticking(request: &Request) -> tokio::time::Interval {
    let wanted = request.interval.as_ref().map_or(LONGEST, |span| Duration::from_nanos(span.in_nanos()));
    let mut tick = interval(wanted.clamp(SHORTEST, LONGEST));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is due at once, and nothing has happened yet.
    tick.reset();
    tick
}
