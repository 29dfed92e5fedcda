//! One HTTP request on a connection of its own.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A GET over HTTP/1.1 without TLS: status and body, of `most` bytes at most. A connection of its own, so that each request goes
/// where new connections go now.
///
/// # Errors
/// When the URL is no `http://HOST[:PORT]/…`, nobody answers, or not within `patience`.
pub(crate) async fn get(
    url: &Uri,
    headers: &HeaderMap,
    most: usize,
    patience: Duration,
) -> anyhow::Result<(StatusCode, Bytes)> {
    tokio::time::timeout(patience, exchange(url, headers, most)).await.context("it takes too long")?
}

async fn exchange(url: &Uri, headers: &HeaderMap, most: usize) -> anyhow::Result<(StatusCode, Bytes)> {
    let Some(authority) = url.authority().filter(|_| url.scheme_str() == Some("http")) else {
        bail!("write http://HOST:PORT");
    };
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).body(Empty::<Bytes>::new())?;
    headers.clone_into(request.headers_mut());
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_str(authority.as_str())?);
    let asked = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, most).collect().await.map_err(|error| anyhow::anyhow!("{error}"))?;
        anyhow::Ok((parts.status, body.to_bytes()))
    };
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        // What it has read may still be the answer.
        _ = connection => asked.await,
    }
}
