//! One proxy's stream of quotas: RLQS, by the rules of everything else that is served here. Who calls is in the call's
//! metadata, since its messages have no place for it.

use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::server::StreamingService;
use tonic::{Request, Status};

use super::super::pushback;
use super::answers::{Answering, Answers, Taken, answers};
use super::call::{Caller, expired};
use super::intake::Intake;
use super::stream::ELSEWHERE;
use crate::quota::proto::{Reports, Response as Told};
use crate::quota::{Refused, Session};

/// Bytes of a message: 4,096 buckets of the longest names have less.
pub(in crate::xds) const MAX_REPORTS: usize = 4 << 20;
/// A proxy sends five messages in a second. More than these, on average, are left where they are.
const APART: Duration = Duration::from_millis(100);
/// As many come at once.
const AT_ONCE: u32 = 10;

/// `RateLimitQuotaService/StreamRateLimitQuotas`.
pub(super) struct Reporting(pub(super) Arc<Caller>);

impl StreamingService<Reports> for Reporting {
    type Response = Told;
    type ResponseStream = Answers<Told>;
    type Future = Taken<Told>;

    fn call(&mut self, request: Request<tonic::Streaming<Reports>>) -> Self::Future {
        let (metadata, _, requests) = request.into_parts();
        answers(&self.0, "quotas of a proxy", |caller, responses| async move {
            run(&caller, &metadata, requests, &responses).await
        })
    }
}

async fn run(
    caller: &Caller,
    metadata: &MetadataMap,
    requests: tonic::Streaming<Reports>,
    responses: &Answering<Told>,
) -> Result<(), Status> {
    caller.has_certificate()?;
    if !caller.server.quotas.is_leading() {
        // Nobody needs to be asked who that is.
        return Err(refused(Refused::NotLeading));
    }
    let (proxy, until) = caller.proxy(metadata).await?;
    let session = caller.server.quotas.connect(&proxy).map_err(refused)?;
    tokio::select! {
        ended = talk(session, Intake::new(requests, APART, AT_ONCE), responses) => ended,
        expired = expired(until) => Err(expired),
    }
}

async fn talk(
    mut session: Session,
    mut requests: Intake<Reports>,
    responses: &Answering<Told>,
) -> Result<(), Status> {
    loop {
        tokio::select! {
            reports = requests.next() => {
                let Some(reports) = reports? else { return Ok(()) };
                session.report(&reports).map_err(refused)?;
            }
            told = session.responses.recv() => {
                // Somebody else has it, or we do not lead any more.
                let Some(told) = told else { return Err(pushback::status(Refused::NotLeading.to_string(), ELSEWHERE)) };
                if responses.send(Ok(told)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(why: Refused) -> Status {
    match why {
        Refused::NotLeading => pushback::status(why.to_string(), ELSEWHERE),
        Refused::Replaced => Status::aborted(why.to_string()),
        Refused::Bad(_) => Status::invalid_argument(why.to_string()),
    }
}
