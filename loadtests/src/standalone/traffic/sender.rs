//! One request after the other, over HTTP/1.1 or a stream of HTTP/2.
//!
//! A connection that the proxy closed between requests is replaced without a word, as any client does, and so is a
//! request that HTTP/2 says was not touched. Everything else that goes wrong is a failure.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Version};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Ask, Reply, method};
use crate::client::http1::Http1;
use crate::client::http2::{Http2, is_untouched};
use crate::client::io::{Address, PATIENCE};

/// An HTTP/2 connection that several senders use.
pub(super) type Shared = Arc<Mutex<Option<Http2>>>;

#[derive(Debug)]
pub(super) struct Sender {
    address: Address,
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    Http1(Option<Http1>),
    Http2(Shared),
}

/// The body of a POST.
const BODY: &[u8] = &[b'p'; 64];

impl Sender {
    pub(super) const fn http1(address: Address) -> Self {
        Self { address, wire: Wire::Http1(None) }
    }

    pub(super) const fn http2(address: Address, shared: Shared) -> Self {
        Self { address, wire: Wire::Http2(shared) }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self.wire {
            Wire::Http1(_) => "HTTP/1.1",
            Wire::Http2(_) => "HTTP/2",
        }
    }

    pub(super) async fn exchange(&mut self, ask: &Ask, resent: &mut u64) -> Result<Reply, String> {
        let address = &self.address;
        let exchange = async {
            match &mut self.wire {
                Wire::Http1(connection) => http1(address, connection, ask).await,
                Wire::Http2(shared) => http2(address, shared, ask, resent).await,
            }
        };
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}")))
    }
}

async fn http1(address: &Address, slot: &mut Option<Http1>, ask: &Ask) -> Result<Reply, String> {
    let mut connection = match slot.take().filter(Http1::is_quiet) {
        Some(connection) => connection,
        None => Http1::new(address.connect().await.map_err(|e| format!("connect: {e}"))?),
    };
    let mut request =
        format!("{} {} HTTP/1.1\r\nhost: {}\r\nx-lt-id: {}\r\n", method(ask), ask.path, ask.host, ask.id)
            .into_bytes();
    if ask.is_post {
        request.extend_from_slice(format!("content-length: {}\r\n\r\n", BODY.len()).as_bytes());
        request.extend_from_slice(BODY);
    } else {
        request.extend_from_slice(b"\r\n");
    }
    let head = connection.exchange(&request).await.map_err(|e| e.to_string())?;
    let reply = Reply { status: head.status, body: head.body, fields: connection.fields() };
    if !head.closes {
        *slot = Some(connection);
    }
    Ok(reply)
}

async fn http2(address: &Address, shared: &Shared, ask: &Ask, resent: &mut u64) -> Result<Reply, String> {
    let mut tries = 0;
    loop {
        let mut connection = connect(address, shared).await?;
        if connection.ready().await.is_err() {
            forget(shared, &connection).await; // it ended between requests
            continue;
        }
        let error = match connection.exchange(request(ask)?, body(ask)).await {
            Ok(answer) => {
                let (head, ()) = answer.head.into_parts();
                return Ok(Reply { status: head.status.as_u16(), body: answer.body, fields: head.headers });
            }
            Err(error) => error,
        };
        if error.is_io() || error.is_go_away() {
            forget(shared, &connection).await;
        }
        if !is_untouched(&error) || tries == 3 {
            return Err(error.to_string());
        }
        tries += 1;
        *resent += 1;
    }
}

async fn connect(address: &Address, shared: &Shared) -> Result<Http2, String> {
    let mut slot = shared.lock().await;
    if let Some(connection) = slot.as_ref() {
        return Ok(connection.clone());
    }
    let io = address.connect().await.map_err(|e| format!("connect: {e}"))?;
    let connection = Http2::new(io).await.map_err(|e| e.to_string())?;
    *slot = Some(connection.clone());
    Ok(connection)
}

/// Unless another sender has replaced it already.
async fn forget(shared: &Shared, connection: &Http2) {
    let mut slot = shared.lock().await;
    if slot.as_ref().is_some_and(|c| c.is_same(connection)) {
        *slot = None;
    }
}

fn request(ask: &Ask) -> Result<Request<()>, String> {
    let request = Request::builder()
        .version(Version::HTTP_2)
        .method(if ask.is_post { Method::POST } else { Method::GET })
        .uri(format!("http://{}{}", ask.host, ask.path))
        .header("x-lt-id", ask.id);
    let request = if ask.is_post { request.header("content-length", BODY.len()) } else { request };
    request.body(()).map_err(|e| e.to_string())
}

const fn body(ask: &Ask) -> Bytes {
    if ask.is_post { Bytes::from_static(BODY) } else { Bytes::new() }
}
