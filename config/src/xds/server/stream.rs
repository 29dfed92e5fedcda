//! One proxy's stream of configuration.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::server::StreamingService;
use tonic::{Request, Status};

use super::super::TYPE_URL;
use super::super::hub::{Batch, Ended, Seat};
use super::super::proto::{DeltaRequest, DeltaResponse};
use super::super::{pushback, wire};
use super::answers::{Answering, Answers, Taken, answers};
use super::call::{Caller, expired};
use crate::{Generation, Rejection};

/// Metadata in which a proxy says what it has.
pub(in crate::xds) const GENERATION: &str = "fairway-generation";
/// Longest time for a proxy to say who it is and what it has.
const FIRST: Duration = Duration::from_secs(10);
/// Longest wait of a proxy that is sent to another controller. Of two it finds the right one by chance, and must not wait
/// longer and longer for its luck.
pub(super) const ELSEWHERE: Duration = Duration::from_millis(250);
/// How long a proxy that has newer configuration than this controller waits here for it, before it tries another.
const BEHIND: Duration = Duration::from_secs(10);

/// `AggregatedDiscoveryService/DeltaAggregatedResources`.
pub(super) struct Streaming(pub(super) Arc<Caller>);

impl StreamingService<DeltaRequest> for Streaming {
    type Response = DeltaResponse;
    type ResponseStream = Answers<DeltaResponse>;
    type Future = Taken<DeltaResponse>;

    fn call(&mut self, request: Request<tonic::Streaming<DeltaRequest>>) -> Self::Future {
        let (metadata, _, requests) = request.into_parts();
        answers(&self.0, "stream of a proxy", |caller, responses| async move {
            run(&caller, &metadata, requests, &responses).await
        })
    }
}

async fn run(
    caller: &Caller,
    metadata: &MetadataMap,
    mut requests: tonic::Streaming<DeltaRequest>,
    responses: &Answering<DeltaResponse>,
) -> Result<(), Status> {
    // Before anything large is read from somebody who may be anybody.
    caller.has_certificate()?;
    let first = tokio::time::timeout(FIRST, requests.message()).await;
    let Some(mut first) = first.map_err(|_| Status::deadline_exceeded("nothing was asked for"))?? else {
        return Ok(());
    };
    if first.type_url != TYPE_URL {
        return Err(Status::invalid_argument(format!("only {TYPE_URL} is served here")));
    }
    let identity = caller.identify(metadata, first.node.take()).await?;
    let until = caller.certified(&identity)?;
    let has = generation(metadata)?;
    let mut stream = Conversation {
        seat: caller.server.hub.connect(&identity.proxy).map_err(ended)?,
        requests,
        responses,
        sent: 0,
        withheld: Vec::new(),
    };
    tracing::info!(proxy = %identity.proxy, peer = %caller.peer, has = first.initial_versions.len(), "proxy connected");
    let result = tokio::select! {
        result = stream.talk(first, has) => result,
        expired = expired(until) => Err(expired),
    };
    tracing::info!(proxy = %identity.proxy, "proxy disconnected");
    result
}

fn generation(metadata: &MetadataMap) -> Result<Option<Generation>, Status> {
    let Some(value) = metadata.get(GENERATION) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| Status::invalid_argument(format!("{GENERATION}: write EPOCH.REVISION")))
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn ended(why: Ended) -> Status {
    match why {
        Ended::Closed => pushback::status(why.to_string(), ELSEWHERE),
        Ended::Replaced | Ended::Behind => Status::aborted(why.to_string()),
    }
}

/// A proxy that may be told things.
struct Conversation<'a> {
    seat: Seat,
    requests: tonic::Streaming<DeltaRequest>,
    responses: &'a Answering<DeltaResponse>,
    /// Responses sent; the nonce.
    sent: u64,
    /// Resources that are too large to be sent.
    withheld: Vec<Rejection>,
}

impl Conversation<'_> {
    async fn talk(&mut self, first: DeltaRequest, has: Option<Generation>) -> Result<(), Status> {
        let whole = self.whole(has).await?;
        let whole = tokio::task::spawn_blocking(move || differences(whole, first.initial_versions)).await;
        let mut next = Some(whole.map_err(|_| Status::internal("a bug in comparing versions"))?);
        loop {
            if let Some(batch) = next.take() {
                let Some(rejections) = self.tell(&batch).await? else { return Ok(()) };
                self.seat.answered(&batch, rejections).map_err(ended)?;
            }
            next = self.seat.news().map_err(ended)?;
            if next.is_none() {
                tokio::select! {
                    () = self.seat.changed() => {}
                    // Nothing is to be answered now: changed subscriptions, which we do not have.
                    request = self.requests.message() => if request?.is_none() { return Ok(()) },
                }
            }
        }
    }

    /// All that the proxy may see, when something is there that is not older than what it has.
    async fn whole(&mut self, has: Option<Generation>) -> Result<Batch, Status> {
        let mut limit = None;
        loop {
            if let Some(batch) = self.seat.whole(has).map_err(ended)? {
                return Ok(batch);
            }
            let limit = *limit.get_or_insert_with(|| Instant::now() + BEHIND);
            tokio::select! {
                () = self.seat.changed() => {}
                () = tokio::time::sleep_until(limit) => {
                    return Err(Status::unavailable(has.map_or_else(
                        || "this controller knows no configuration yet".to_owned(),
                        |has| format!(
                            "nothing as new as the proxy's {has} is known here yet; if the cluster was restored from \
                             a backup, raise the controller's epoch"
                        ),
                    )));
                }
            }
        }
    }

    /// Sends a batch and waits for the answer to its last response. `None`: the proxy went away.
    async fn tell(&mut self, batch: &Batch) -> Result<Option<Vec<Rejection>>, Status> {
        self.withheld.retain(|rejection| {
            !batch.removes.contains(&rejection.key.to_string())
                && batch.upserts.iter().all(|entry| entry.key != rejection.key)
        });
        let mut removed = batch.removes.clone();
        let mut entries = batch.upserts.iter();
        loop {
            let mut response = DeltaResponse { type_url: TYPE_URL.into(), ..DeltaResponse::default() };
            response.removed = std::mem::take(&mut removed);
            let mut bytes: usize = response.removed.iter().map(String::len).sum();
            let mut is_last = true;
            for entry in entries.by_ref() {
                match entry.wrap() {
                    Ok(wrapped) => {
                        bytes += wrapped.resource.as_ref().map_or(0, |any| any.value.len())
                            + wrapped.name.len()
                            + 128;
                        response.resources.push(wrapped);
                    }
                    Err(rejection) => self.withheld.push(rejection),
                }
                if bytes >= wire::RESPONSE {
                    is_last = false;
                    break;
                }
            }
            self.sent += 1;
            let nonce = self.sent.to_string();
            response.nonce.clone_from(&nonce);
            if is_last {
                response.system_version_info = batch.generation.to_string();
            }
            if self.responses.send(Ok(response)).await.is_err() {
                return Ok(None);
            }
            if is_last {
                return self.hear(&nonce).await;
            }
        }
    }

    async fn hear(&mut self, nonce: &str) -> Result<Option<Vec<Rejection>>, Status> {
        loop {
            let request = tokio::select! {
                request = self.requests.message() => request?,
                // Changes wait, but who is sent away need not answer first.
                () = self.seat.changed() => {
                    self.seat.stands().map_err(ended)?;
                    continue;
                }
            };
            let Some(request) = request else { return Ok(None) };
            if request.response_nonce == nonce {
                let mut rejections = wire::rejections(request.error_detail.as_ref());
                rejections.extend(self.withheld.iter().cloned());
                rejections.sort_by(|a, b| a.key.cmp(&b.key));
                return Ok(Some(rejections));
            }
        }
    }
}

/// Leaves out what the proxy has in this version, and removes what it has and should not.
fn differences(whole: Batch, mut has: std::collections::HashMap<String, String>) -> Batch {
    if has.is_empty() {
        return whole;
    }
    let mut batch = whole;
    batch.upserts.retain(|entry| {
        let had = has.remove(&entry.key.to_string());
        had.is_none_or(|version| version != entry.encoded().version)
    });
    // Names are the proxy's own and may be unreadable here: they go back as they came.
    batch.removes = has.into_keys().collect();
    batch
}
