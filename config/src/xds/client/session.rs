//! The life of a client: snapshot, then stream after stream.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::certify::{Certifier, CertifyError};
use super::dial::{Channel, DialError, Dialer};
use super::held::{Held, Older};
use super::keep::{Keep, keeper};
use super::{ClientState, SnapshotFile};
use crate::backoff::{self, Backoff};
use crate::snapshot::{self, SnapshotError};
use crate::source::{Answer, Publisher};
use crate::xds::proto::{DELTA, DeltaRequest, DeltaResponse};
use crate::xds::server::GENERATION;
use crate::xds::{TYPE_URL, pushback, wire};
use crate::{Generation, Update};

/// First and longest wait between tries. A controller that is gone costs a refused connection each time; one that is back
/// has all its proxies again within the longest.
const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(5);
/// Longest time from the call to its answer's head.
const OPEN: Duration = Duration::from_secs(20);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Certify(#[from] CertifyError),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the controller ended the stream: {}", .0.message())]
    Status(tonic::Status),
    #[error("the controller ended the stream")]
    Ended,
    #[error("the controller does not answer")]
    Silent,
    #[error("the controller sent something that is no generation: {0}")]
    Generation(String),
    #[error(transparent)]
    Older(#[from] Older),
    #[error("a bug in decoding")]
    Decode,
    /// The stream's certificate ends soon, and there is a newer one.
    #[error("the certificate was renewed")]
    Renewed,
    /// Nobody wants configuration any more.
    #[error("the proxy has ended")]
    Gone,
}

impl Broken {
    /// Longest wait the controller has asked for.
    fn asked(&self) -> Option<Duration> {
        if let Self::Status(status) = self { pushback::read(status) } else { None }
    }
}

impl From<tonic::Status> for Broken {
    fn from(status: tonic::Status) -> Self {
        Self::Status(status)
    }
}

/// A running client.
pub(super) struct Client {
    pub(super) dialer: Arc<Dialer>,
    pub(super) certifier: Arc<Certifier>,
    pub(super) publisher: Publisher,
    pub(super) answer: watch::Sender<Option<Answer>>,
    pub(super) held: Arc<Mutex<Held>>,
    pub(super) state: watch::Sender<ClientState>,
    /// The connection of the stream, for other calls.
    pub(super) connected: watch::Sender<Option<Channel>>,
    pub(super) keep: Option<Keep>,
}

impl Client {
    pub(super) async fn run(mut self, file: Option<SnapshotFile>, told: mpsc::Sender<Answer>) {
        // Dropped with this task.
        let mut beside = JoinSet::new();
        beside.spawn(tell(self.answer.subscribe(), told));
        if let Some(file) = file {
            if self.start_from(&file).await.is_none() {
                return;
            }
            let gateway = self.dialer.gateway().clone();
            let (keep, writing) = keeper(file, gateway, self.held.clone(), self.state.clone());
            self.keep = Some(keep);
            beside.spawn(writing);
        }
        let certifier = self.certifier.clone();
        beside.spawn(async move { certifier.renew().await });
        let mut backoff = Backoff::new(BASE, CAP);
        let gone = self.publisher.updates.clone();
        loop {
            let broken = tokio::select! {
                broken = self.stream(&mut backoff) => broken,
                () = gone.closed() => return,
            };
            self.connected.send_replace(None);
            if matches!(broken, Broken::Gone) {
                return;
            }
            if matches!(broken, Broken::Renewed) {
                tracing::debug!("a new stream, for the renewed certificate");
                continue;
            }
            let wait = broken.asked().map_or_else(|| backoff.next(), backoff::part);
            self.lost(&broken, wait);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = gone.closed() => return,
            }
        }
    }

    /// Serves what is on disk. `None`: nobody wants it.
    async fn start_from(&mut self, file: &SnapshotFile) -> Option<()> {
        let began = Instant::now();
        let (path, gateway) = (file.path.clone(), self.dialer.gateway().clone());
        let read = tokio::task::spawn_blocking(move || {
            let written = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
            snapshot::read(&path, &gateway).map(|snapshot| (snapshot, written))
        });
        let (snapshot, written) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(error @ SnapshotError::Missing(_))) => {
                tracing::info!("{error}");
                return Some(());
            }
            Ok(Err(error)) => {
                tracing::error!("{error}; waiting for the controller");
                self.state.send_modify(|state| state.snapshot_problem = Some(error.to_string()));
                return Some(());
            }
            Err(_) => {
                tracing::error!("a bug in reading the snapshot; waiting for the controller");
                return Some(());
            }
        };
        let (resources, generation) = (snapshot.records.len(), snapshot.generation);
        let (held, update) = Held::from_snapshot(snapshot);
        *self.held.lock() = held;
        self.apply(update).await.ok()?;
        tracing::info!(resources, %generation, took = ?began.elapsed(), "started from the snapshot");
        self.state.send_modify(|state| state.snapshot_written = written);
        Some(())
    }

    /// One stream, from certificate to end.
    async fn stream(&mut self, backoff: &mut Backoff) -> Broken {
        match self.converse(backoff).await {
            Ok(never) => match never {},
            Err(broken) => broken,
        }
    }

    async fn converse(&mut self, backoff: &mut Backoff) -> Result<std::convert::Infallible, Broken> {
        let certified = self.certifier.get().await?;
        let channel = self.dialer.connect(Some(&certified)).await?;
        let (requests, mut sent) = mpsc::channel(8);
        let (versions, generation) = {
            let mut held = self.held.lock();
            held.begin();
            (held.versions(), held.generation())
        };
        let first = DeltaRequest {
            node: Some(self.dialer.node()),
            type_url: TYPE_URL.into(),
            subscribe: vec!["*".into()],
            initial_versions: versions,
            ..DeltaRequest::default()
        };
        // There is room.
        _ = requests.try_send(first);
        let stream = futures::stream::poll_fn(move |cx| sent.poll_recv(cx));
        let mut call = tonic::Request::new(stream);
        call.metadata_mut().insert("authorization", self.dialer.token().await?);
        if let Some(value) = generation.and_then(|generation| generation.to_string().parse().ok()) {
            call.metadata_mut().insert(GENERATION, value);
        }
        let mut grpc = Grpc::with_origin(channel.clone(), self.dialer.origin.clone())
            .max_decoding_message_size(wire::MAX_RESPONSE)
            .max_encoding_message_size(wire::MAX_REQUEST);
        let codec: ProstCodec<DeltaRequest, DeltaResponse> = ProstCodec::default();
        let opened = grpc.streaming(call, http::uri::PathAndQuery::from_static(DELTA), codec);
        let opened = tokio::time::timeout(OPEN, opened).await.map_err(|_| Broken::Silent)??;
        let mut responses = opened.into_inner();
        self.state.send_modify(|state| state.streams += 1);
        self.connected.send_replace(Some(channel));
        let certifier = self.certifier.clone();
        let superseded = certifier.superseded(&certified);
        tokio::pin!(superseded);
        loop {
            let response = tokio::select! {
                response = responses.message() => response?.ok_or(Broken::Ended)?,
                // Between updates: none is lost half-way.
                () = &mut superseded => return Err(Broken::Renewed),
            };
            let ack = self.take(response).await?;
            requests.send(ack).await.map_err(|_| Broken::Ended)?;
            backoff.reset();
        }
    }

    /// Takes a response; returns the answer to it.
    async fn take(&mut self, mut response: DeltaResponse) -> Result<DeltaRequest, Broken> {
        let mut answer = DeltaRequest {
            type_url: TYPE_URL.into(),
            response_nonce: std::mem::take(&mut response.nonce),
            ..DeltaRequest::default()
        };
        let version = std::mem::take(&mut response.system_version_info);
        // A full response is milliseconds of work, and workers have requests to serve.
        let decoded = tokio::task::spawn_blocking(move || wire::decode(response)).await;
        self.held.lock().part(decoded.map_err(|_| Broken::Decode)?);
        if version.is_empty() {
            return Ok(answer);
        }
        let generation: Generation = version.parse().map_err(Broken::Generation)?;
        let update = self.held.lock().complete(generation)?;
        self.confirmed(generation);
        self.apply(update).await?;
        let named = self.held.lock().named();
        answer.error_detail = wire::error_detail(&named);
        self.state.send_modify(|state| {
            state.answered = Some(Instant::now());
            if named.is_empty() { state.acks += 1 } else { state.nacks += 1 }
        });
        Ok(answer)
    }

    /// The controller has spoken: the stream is good.
    fn confirmed(&self, generation: Generation) {
        self.state.send_modify(|state| {
            if !state.is_connected {
                tracing::info!(%generation, "connected to the controller");
                state.is_connected = true;
            }
            state.is_confirmed = true;
            state.problem = None;
        });
    }

    /// Hands an update to the proxy and waits until it is in use.
    async fn apply(&mut self, update: Update) -> Result<(), Broken> {
        let version = update.version;
        let is_first = self.state.borrow().generation.is_none();
        let is_change = !update.is_empty() || is_first;
        let rejections = if is_change {
            self.publisher.updates.send(update).await.map_err(|_| Broken::Gone)?;
            let answer = self.publisher.answers.recv().await.ok_or(Broken::Gone)?;
            self.held.lock().answered(answer.rejections)
        } else {
            self.held.lock().rejections()
        };
        let (generation, unknown) = {
            let held = self.held.lock();
            (held.generation(), held.unknown())
        };
        self.state.send_modify(|state| {
            state.generation = generation;
            state.unknown = unknown;
        });
        self.answer.send_replace(Some(Answer { version, rejections }));
        if is_change && let Some(keep) = &self.keep {
            keep.changed();
        }
        Ok(())
    }

    fn lost(&self, broken: &Broken, wait: Duration) {
        let mut problem = broken.to_string();
        let mut cause = broken.source();
        while let Some(error) = cause {
            _ = write!(problem, ": {error}");
            cause = error.source();
        }
        self.state.send_modify(|state| {
            // The same again is not worth a line each time.
            if state.is_connected || state.problem.as_ref() != Some(&problem) {
                tracing::warn!(
                    ?wait,
                    "no configuration from the controller, the last one is served on: {problem}"
                );
            } else {
                tracing::debug!(?wait, "still no configuration from the controller: {problem}");
            }
            state.is_connected = false;
            state.problem = Some(problem);
        });
    }
}

/// Tells the newest answer to whoever wants to know, at their pace.
async fn tell(mut newest: watch::Receiver<Option<Answer>>, told: mpsc::Sender<Answer>) {
    while newest.changed().await.is_ok() {
        let answer = newest.borrow_and_update().clone();
        if let Some(answer) = answer
            && told.send(answer).await.is_err()
        {
            return;
        }
    }
}
