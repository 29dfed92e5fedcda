//! Certificates for proxies that show their token.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tonic::server::UnaryService;
use tonic::{Request, Response, Status};

use super::super::proto::{IssueRequest, IssueResponse};
use super::call::{Caller, refused};

/// `fairway.identity.v1alpha1.Certificates/Issue`.
pub(super) struct Issuing(pub(super) Arc<Caller>);

impl UnaryService<IssueRequest> for Issuing {
    type Response = IssueResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<IssueResponse>, Status>> + Send>>;

    fn call(&mut self, request: Request<IssueRequest>) -> Self::Future {
        let caller = self.0.clone();
        Box::pin(async move {
            issue(&caller, request).await.inspect_err(|status| caller.log("certificate of a proxy", status))
        })
    }
}

async fn issue(caller: &Caller, request: Request<IssueRequest>) -> Result<Response<IssueResponse>, Status> {
    let (metadata, _, IssueRequest { request, node }) = request.into_parts();
    let identity = caller.identify(&metadata, node).await?;
    let chain = caller.server.issue.issue(&request, &identity).await.map_err(refused)?;
    tracing::info!(proxy = %identity.proxy, peer = %caller.peer, "certificate issued");
    Ok(Response::new(IssueResponse { chain: chain.into_iter().map(Into::into).collect() }))
}
