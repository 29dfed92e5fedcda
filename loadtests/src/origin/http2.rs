//! HTTP/2 with prior knowledge, and unary gRPC: it sends back the message it got.

use std::sync::Arc;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;

use super::{LARGE, Origin, SMALL};

pub(super) async fn serve(tcp: TcpStream, origin: &Arc<Origin>) -> Result<()> {
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(1024)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .handshake::<_, Bytes>(tcp)
        .await?;
    let mut drain = origin.drain.subscribe();
    let mut is_draining = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            _ = drain.wait_for(Option::is_some), if !is_draining => {
                is_draining = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (request, respond) = accepted?;
        let origin = Arc::clone(origin);
        tokio::spawn(async move {
            let _ = answer(request, respond, &origin).await; // a reset stream is no concern of the origin
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    origin: &Origin,
) -> Result<()> {
    let (head, mut body) = request.into_parts();
    let field = |name: &str| head.headers.get(name).cloned();
    if let Some(id) = field("x-lt-id") {
        origin.record(id.to_str()?);
    }
    let is_grpc = field("content-type").is_some_and(|t| t == "application/grpc");
    let mut message = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        if is_grpc {
            message.extend_from_slice(&chunk);
        }
    }
    origin.wait(head.uri.path()).await;
    let mut response = Response::new(());
    let fields = response.headers_mut();
    let content_type = if is_grpc { "application/grpc" } else { "text/plain" };
    fields.insert("content-type", HeaderValue::from_static(content_type));
    if let Some(name) = &origin.name {
        fields.insert("x-origin", HeaderValue::from_str(name)?);
        fields.insert("x-echo-path", HeaderValue::from_str(head.uri.path())?);
        if let Some(state) = field("x-req-state") {
            fields.insert("x-echo-state", state);
        }
    }
    if is_grpc {
        let mut stream = respond.send_response(response, false)?;
        stream.send_data(message.freeze(), false)?;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        stream.send_trailers(trailers)?;
        return Ok(());
    }
    let bytes = if head.uri.path().ends_with("/10k") {
        Bytes::from_static(&[b'x'; LARGE])
    } else {
        Bytes::from_static(SMALL)
    };
    fields.insert("content-length", HeaderValue::from(bytes.len()));
    respond.send_response(response, false)?.send_data(bytes, true)?;
    Ok(())
}
