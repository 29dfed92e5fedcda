//! One proxy's stream of loads: LRS, by the rules of everything else that is served here.

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
use crate::load::proto::{Report, Request as Asked};
use crate::load::{Refused, Session};

/// Bytes of a message: 1,024 backends of ordinary names have less.
pub(in crate::xds) const MAX_LOADS: usize = 2 << 20;
/// A proxy tells once in a second. More than these, on average, are left where they are.
const APART: Duration = Duration::from_millis(400);
/// As many come at once.
const AT_ONCE: u32 = 5;

/// `LoadReportingService/StreamLoadStats`.
pub(super) struct Telling(pub(super) Arc<Caller>);

impl StreamingService<Report> for Telling {
    type Response = Asked;
    type ResponseStream = Answers<Asked>;
    type Future = Taken<Asked>;

    fn call(&mut self, request: Request<tonic::Streaming<Report>>) -> Self::Future {
        let (metadata, _, reports) = request.into_parts();
        answers(&self.0, "loads of a proxy", |caller, requests| async move {
            run(&caller, &metadata, reports, &requests).await
        })
    }
}

async fn run(
    caller: &Caller,
    metadata: &MetadataMap,
    reports: tonic::Streaming<Report>,
    requests: &Answering<Asked>,
) -> Result<(), Status> {
    caller.has_certificate()?;
    if !caller.server.loads.is_leading() {
        // Nobody needs to be asked who that is.
        return Err(refused(Refused::NotLeading));
    }
    let (proxy, until) = caller.proxy(metadata).await?;
    let session = caller.server.loads.connect(&proxy).map_err(refused)?;
    tokio::select! {
        ended = talk(session, Intake::new(reports, APART, AT_ONCE), requests) => ended,
        expired = expired(until) => Err(expired),
    }
}

async fn talk(
    mut session: Session,
    mut reports: Intake<Report>,
    requests: &Answering<Asked>,
) -> Result<(), Status> {
    loop {
        tokio::select! {
            report = reports.next() => {
                let Some(report) = report? else { return Ok(()) };
                session.report(&report).map_err(refused)?;
            }
            asked = session.ask() => {
                if requests.send(Ok(asked.map_err(refused)?)).await.is_err() {
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
    }
}
