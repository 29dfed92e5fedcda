//! Spans of sampled requests on their way to an OpenTelemetry collector (OTLP over gRPC).
//!
//! A thread with a runtime of its own batches and sends them, so that a slow collector takes no time of the data path.
//! What does not fit in the queue, or cannot be delivered within a few attempts, is dropped and counted.

mod grpc;
mod proto;
mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use self::grpc::{Client, Failure};
use self::proto::{ExportTraceServiceRequest, Resource, ResourceSpans, Scope, ScopeSpans, Span};
use super::Record;
use super::settings::Error;

/// Queue, batch and delay are the defaults of OpenTelemetry's batch processor.
const QUEUE: usize = 2048;
const BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(5);
/// Pauses between attempts to deliver one batch.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Longest wait for what is queued to be delivered.
const FLUSH: Duration = Duration::from_secs(2);

/// Takes spans and delivers them in the background. Dropping it ends that without a last delivery: flush first.
#[derive(Debug)]
pub(super) struct Exporter {
    spans: mpsc::Sender<Span>,
    flushes: mpsc::UnboundedSender<blocking::Sender<()>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Exporter {
    /// Starts the thread; it connects with the first batch.
    pub(super) fn start(role: &'static str, endpoint: &str) -> Result<Self, Error> {
        let client =
            Client::new(endpoint).map_err(|reason| Error::Otlp { endpoint: endpoint.to_owned(), reason })?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let (span_tx, spans) = mpsc::channel(QUEUE);
        let (flush_tx, flushes) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::default());
        let loop_ = Loop { role, client, spans, flushes, counts: counts.clone(), is_failing: false };
        std::thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || runtime.block_on(loop_.run()))
            .map_err(Error::Thread)?;
        Ok(Self { spans: span_tx, flushes: flush_tx, counts })
    }

    /// Queues the span of a request.
    pub(super) fn export(&self, record: &Record<'_>) {
        match self.spans.try_reserve() {
            Ok(place) => place.send(span::from_record(record)),
            Err(_) => _ = self.counts.dropped.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Waits until everything queued before is delivered or given up, two seconds at most.
    pub(super) fn flush(&self) {
        let (done_tx, done) = blocking::channel();
        if self.flushes.send(done_tx).is_ok() {
            // Timeout or not, there is nothing more to do.
            _ = done.recv_timeout(FLUSH);
        }
    }

    /// Spans delivered, and spans dropped.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.counts.exported.load(Ordering::Relaxed), self.counts.dropped.load(Ordering::Relaxed))
    }
}

/// The thread's side.
struct Loop {
    role: &'static str,
    client: Client,
    spans: mpsc::Receiver<Span>,
    flushes: mpsc::UnboundedReceiver<blocking::Sender<()>>,
    counts: Arc<Counts>,
    is_failing: bool,
}

/// Why a batch is complete.
enum Gathered {
    Due,
    Flush(blocking::Sender<()>),
    End,
}

impl Loop {
    async fn run(mut self) {
        let resource = span::resource(self.role);
        loop {
            let mut batch = Vec::new();
            let why = self.gather(&mut batch).await;
            self.deliver(batch, &resource).await;
            match why {
                Gathered::Due => {}
                Gathered::Flush(done) => {
                    while !self.spans.is_empty() {
                        let mut batch = Vec::new();
                        self.spans.recv_many(&mut batch, BATCH).await;
                        self.deliver(batch, &resource).await;
                    }
                    // Whoever asked may have stopped waiting.
                    _ = done.send(());
                }
                Gathered::End => return,
            }
        }
    }

    /// Fills a batch until it is full, its first span is old enough, somebody asks for it, or no more will come.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> Gathered {
        let mut due = None;
        while batch.len() < BATCH {
            let is_due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                span = self.spans.recv() => match span {
                    Some(span) => batch.push(span),
                    None => return Gathered::End,
                },
                flush = self.flushes.recv() => return flush.map_or(Gathered::End, Gathered::Flush),
                () = is_due => break,
            }
            due.get_or_insert_with(|| Instant::now() + DELAY);
        }
        Gathered::Due
    }

    async fn deliver(&mut self, spans: Vec<Span>, resource: &Resource) {
        if spans.is_empty() {
            return;
        }
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let request = request(spans, resource.clone());
        let mut pauses = PAUSES.iter();
        let refused = loop {
            match self.client.export(&request).await {
                Ok(refused) => {
                    self.is_failing = false;
                    break refused.min(count);
                }
                Err(Failure::Later(_))
                    if !self.is_failing
                        && let Some(pause) = pauses.next() =>
                {
                    tokio::time::sleep(*pause).await;
                }
                Err(failure) => {
                    // Said once, and later batches are tried only once, until the collector is back.
                    if !std::mem::replace(&mut self.is_failing, true) {
                        tracing::warn!(%failure, "spans are lost: the OTLP collector does not take them");
                    }
                    break count;
                }
            }
        };
        self.counts.dropped.fetch_add(refused, Ordering::Relaxed);
        self.counts.exported.fetch_add(count - refused, Ordering::Relaxed);
    }
}

fn request(spans: Vec<Span>, resource: Resource) -> ExportTraceServiceRequest {
    let scope = Scope { name: "fairway".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }],
    }
}

#[cfg(test)]
mod tests;
