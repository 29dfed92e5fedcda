//! Steady traffic at a fixed rate, half HTTP/1.1 and half HTTP/2, every answer of which is judged.

mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use http::HeaderMap;
use tokio::task::{AbortHandle, JoinSet};

use crate::client::io::Address;
use crate::client::pace::{self, Pace};
use crate::histogram::Histogram;
use crate::report::complain;
use sender::Sender;

/// A request.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Unique in its traffic; sent as `x-lt-id`.
    pub(crate) id: u64,
    pub(crate) is_post: bool,
    pub(crate) host: String,
    pub(crate) path: String,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: usize,
    pub(crate) fields: HeaderMap,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.to_str().ok()
    }

    /// A field that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }
}

/// What is asked, and which answers are right.
pub(crate) trait Scene: Send + Sync + 'static {
    /// What was known when a request was sent.
    type Mark: Send;

    /// Request number `id`.
    fn ask(&self, id: u64) -> (Ask, Self::Mark);

    /// Says what is wrong with an answer of status 200.
    fn judge(&self, ask: &Ask, mark: Self::Mark, reply: &Reply) -> Result<(), String>;
}

/// A request that was not answered with 200.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) id: u64,
    pub(crate) is_post: bool,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) why: String,
}

/// What came of it all.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Answered with 200, right or wrong.
    pub(crate) latency: Histogram,
    pub(crate) failures: Vec<Failure>,
    /// Answers that fit no state.
    pub(crate) wrong: Vec<String>,
    /// Requests sent again, since the proxy said that it had not touched them.
    pub(crate) resent: u64,
    /// Requests that were due, but not sent before the end: the machine could not keep up.
    pub(crate) unsent: u64,
}

impl Outcome {
    const fn new(latency: Histogram) -> Self {
        Self { latency, failures: Vec::new(), wrong: Vec::new(), resent: 0, unsent: 0 }
    }

    /// All requests.
    pub(crate) fn sent(&self) -> u64 {
        self.latency.count() + self.failures.len() as u64
    }

    /// Shows the first few things that went wrong.
    pub(crate) fn complain(&self) {
        self.failures.iter().take(5).for_each(|f| complain(format_args!("  failed: {}", f.why)));
        self.wrong.iter().take(5).for_each(|w| complain(format_args!("  wrong: {w}")));
        if self.unsent > 0 {
            complain(format_args!(
                "  {} requests were due but not sent: the machine is too busy",
                self.unsent
            ));
        }
    }
}

/// Traffic under way.
#[derive(Debug)]
pub(crate) struct Traffic {
    tasks: JoinSet<Outcome>,
    pacer: AbortHandle,
    is_stopped: Arc<AtomicBool>,
}

const HTTP1: usize = 16;
const HTTP2_CONNECTIONS: usize = 2;
const HTTP2_STREAMS: usize = 8;

impl Traffic {
    /// Starts `rate` requests per second, until stopped or `limit` are sent.
    pub(crate) fn start<S: Scene>(address: &Address, scene: &Arc<S>, rate: f64, limit: u64) -> Self {
        let mut senders: Vec<Sender> = Vec::new();
        for connection in 0..HTTP2_CONNECTIONS {
            let shared = sender::Shared::default();
            for stream in 0..HTTP2_STREAMS {
                // Interleaved, since the pace goes round the senders.
                let at = (connection * HTTP2_STREAMS + stream) * HTTP1 / (HTTP2_CONNECTIONS * HTTP2_STREAMS);
                if at < HTTP1 {
                    senders.push(Sender::http1(address.clone()));
                }
                senders.push(Sender::http2(address.clone(), shared.clone()));
            }
        }
        let never = Instant::now() + Duration::from_secs(24 * 3600);
        let (paces, pacer) = pace::open(senders.len(), rate, never, limit);
        let next = Arc::new(AtomicU64::new(0));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for (sender, pace) in senders.into_iter().zip(paces) {
            let run = Run {
                scene: Arc::clone(scene),
                next: Arc::clone(&next),
                is_stopped: Arc::clone(&is_stopped),
            };
            tasks.spawn(work(sender, pace, run));
        }
        Self { tasks, pacer, is_stopped }
    }

    /// True once the limit was sent, or is due.
    pub(crate) fn is_over(&self) -> bool {
        self.pacer.is_finished()
    }

    /// Sends all that is due, up to the limit, for at most `patience`, and waits for the answers.
    pub(crate) async fn finish(mut self, patience: Duration) -> Result<Outcome> {
        let is_stopped = Arc::clone(&self.is_stopped);
        let stopper = tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            is_stopped.store(true, Ordering::SeqCst);
        });
        let outcome = self.collect().await;
        stopper.abort();
        outcome
    }

    /// Sends nothing more and waits for what is under way.
    pub(crate) async fn stop(mut self) -> Result<Outcome> {
        self.is_stopped.store(true, Ordering::SeqCst);
        self.pacer.abort();
        self.collect().await
    }

    async fn collect(&mut self) -> Result<Outcome> {
        let mut sum = Outcome::new(Histogram::new());
        while let Some(part) = self.tasks.join_next().await {
            let part = part?;
            sum.latency.merge(&part.latency);
            sum.failures.extend(part.failures);
            sum.wrong.extend(part.wrong);
            sum.resent += part.resent;
            sum.unsent += part.unsent;
        }
        Ok(sum)
    }
}

/// What all workers share.
struct Run<S> {
    scene: Arc<S>,
    next: Arc<AtomicU64>,
    is_stopped: Arc<AtomicBool>,
}

async fn work<S: Scene>(mut sender: Sender, mut pace: Pace, run: Run<S>) -> Outcome {
    let mut outcome = Outcome::new(Histogram::new());
    while let Some(due) = pace.next().await {
        if run.is_stopped.load(Ordering::SeqCst) {
            outcome.unsent += 1;
            continue;
        }
        let (ask, mark) = run.scene.ask(run.next.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        let answer = sender.exchange(&ask, &mut outcome.resent).await;
        let why = match answer {
            Ok(reply) if reply.status == 200 && reply.body == crate::origin::SMALL.len() => {
                outcome.latency.record(u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX));
                outcome.wrong.extend(run.scene.judge(&ask, mark, &reply).err());
                continue;
            }
            Ok(reply) => format!("status {} with {} bytes", reply.status, reply.body),
            Err(why) => why,
        };
        let why = format!("{} {}{} over {}: {why}", method(&ask), ask.host, ask.path, sender.name());
        outcome.failures.push(Failure {
            id: ask.id,
            is_post: ask.is_post,
            began,
            ended: Instant::now(),
            why,
        });
    }
    outcome
}

const fn method(ask: &Ask) -> &'static str {
    if ask.is_post { "POST" } else { "GET" }
}
