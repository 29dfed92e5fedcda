//! Calls of policies, such as to services that decide whether a request may go on.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;

use policies::{Answer, Call, Unanswered, Upstream};
use tokio::time::Instant;

use super::{Body, CallError, Limits, Net};
use crate::upstream::{ClientIdentity, Cluster};

/// Bytes of an answer.
const ANSWER: usize = 64 << 10;

/// What the policies of one request call with.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) net: Arc<Net>,
    /// What backends are shown.
    pub(crate) identity: Option<Arc<ClientIdentity>>,
}

impl policies::Net for Outbound {
    fn call<'a>(
        &'a self,
        upstream: &'a Arc<dyn Upstream>,
        call: Call,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Unanswered>> + Send + 'a>> {
        Box::pin(async move {
            let upstream: Arc<dyn Any + Send + Sync> = upstream.clone();
            let cluster = upstream.downcast::<Cluster>().map_err(|_| Unanswered::Failed)?;
            let limits = Limits { deadline: Instant::now() + call.timeout, body: ANSWER, keep: true };
            let body = call.body.map(Body::full);
            let identity = self.identity.as_deref();
            match self.net.call_as(identity, call.is_grpc, &cluster, &call.head, body, limits).await {
                Ok(reply) => Ok(Answer { head: reply.head, body: reply.body, trailers: reply.trailers }),
                Err(error) => {
                    tracing::debug!(backend = %cluster.backend, %error, "a policy's call");
                    Err(match error {
                        CallError::Timeout => Unanswered::Timeout,
                        CallError::TooLarge(_) => Unanswered::TooLarge,
                        CallError::NoEndpoint(_)
                        | CallError::BrokenOff
                        | CallError::Head(_)
                        | CallError::Upstream(_) => Unanswered::Failed,
                    })
                }
            }
        })
    }
}
