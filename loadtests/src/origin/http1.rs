//! HTTP/1.1: one buffer, one write for each answer.
#![allow(clippy::indexing_slicing, reason = "all offsets come from searches in the same buffer")]

use std::fmt::Write;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{LARGE, Origin, SMALL};

pub(super) async fn serve(mut tcp: TcpStream, origin: &Origin) -> Result<()> {
    let mut buf = vec![0; 16 * 1024];
    let mut out = Vec::with_capacity(512);
    let mut filled = 0;
    loop {
        let Some(request) = read_head(&mut tcp, origin, &mut buf, &mut filled).await? else { return Ok(()) };
        if let Some(id) = &request.id {
            origin.record(id);
        }
        let used = (request.head + request.body).min(filled);
        let mut left = request.body - (used - request.head);
        while left > 0 {
            // The rest of the body goes over what was read: `buf` holds nothing behind it.
            let room = left.min(buf.len());
            let n = tcp.read(&mut buf[..room]).await?;
            if n == 0 {
                return Ok(());
            }
            left -= n;
        }
        origin.wait(&request.path).await;
        let closes = request.closes || request.path.ends_with("/close") || origin.is_draining();
        out.clear();
        answer(&mut out, origin, &request, closes);
        tcp.write_all(&out).await?;
        if closes {
            tcp.shutdown().await?;
            return Ok(());
        }
        buf.copy_within(used..filled, 0);
        filled -= used;
    }
}

#[derive(Debug, Default, PartialEq)]
struct Request {
    path: String,
    id: Option<String>,
    state: Option<String>,
    closes: bool,
    head: usize,
    body: usize,
}

/// The next request; none when the connection is over.
async fn read_head(
    tcp: &mut TcpStream,
    origin: &Origin,
    buf: &mut [u8],
    filled: &mut usize,
) -> Result<Option<Request>> {
    loop {
        if let Some(request) = parse(&buf[..*filled])? {
            return Ok(Some(request));
        }
        if *filled == buf.len() {
            bail!("request head over 16 KiB");
        }
        let read = tcp.read(&mut buf[*filled..]);
        let n = if origin.ledger.is_some() || origin.name.is_some() {
            tokio::select! {
                n = read => n?,
                () = idle_end(origin), if *filled == 0 => return Ok(None),
            }
        } else {
            read.await?
        };
        if n == 0 {
            return Ok(None);
        }
        *filled += n;
    }
}

/// When a connection without a request must close.
async fn idle_end(origin: &Origin) {
    let mut drain = origin.drain.subscribe();
    let end = drain.wait_for(Option::is_some).await.ok().and_then(|end| *end);
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn parse(buf: &[u8]) -> Result<Option<Request>> {
    let Some(head) = buf.windows(4).position(|w| w == b"\r\n\r\n").map(|i| i + 4) else { return Ok(None) };
    let text = std::str::from_utf8(&buf[..head])?;
    let mut lines = text.lines();
    let path = lines.next().and_then(|l| l.split(' ').nth(1)).unwrap_or("/");
    let mut request = Request { path: path.to_owned(), head, ..Request::default() };
    for (name, value) in lines.filter_map(|l| l.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            request.body = value.parse()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the load sends lengths");
        } else if name.eq_ignore_ascii_case("connection") {
            request.closes = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("x-lt-id") {
            request.id = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("x-req-state") {
            request.state = Some(value.to_owned());
        }
    }
    Ok(Some(request))
}

fn answer(out: &mut Vec<u8>, origin: &Origin, request: &Request, closes: bool) {
    let is_large = request.path.ends_with("/10k");
    let length = if is_large { LARGE } else { SMALL.len() };
    let mut head = String::with_capacity(256);
    let _ = write!(head, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n");
    if let Some(name) = &origin.name {
        let _ = write!(head, "x-origin: {name}\r\nx-echo-path: {}\r\n", request.path);
        let _ = request.state.iter().try_for_each(|state| write!(head, "x-echo-state: {state}\r\n"));
    }
    head.push_str(if closes { "connection: close\r\n\r\n" } else { "\r\n" });
    out.extend_from_slice(head.as_bytes());
    if is_large { out.resize(out.len() + LARGE, b'x') } else { out.extend_from_slice(SMALL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_past_whatever_the_pieces_it_comes_in() {
        let (_, address) = Origin::new(Some("a".to_owned())).spawn().await.unwrap();
        let post = b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\nx-req-state: 7\r\n\r\n";
        let wire: Vec<u8> = [&post[..], &[b'b'; 20_000], post, &[b'b'; 20_000]].concat();
        for piece in [wire.len(), 7_001, 999] {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            let (mut read, mut write) = tcp.split();
            let send = async {
                for chunk in wire.chunks(piece) {
                    write.write_all(chunk).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let receive = async {
                let mut got = Vec::new();
                while String::from_utf8_lossy(&got).matches("x-echo-state: 7\r\n\r\nok").count() < 2 {
                    let mut some = [0; 1000];
                    let n = read.read(&mut some).await.unwrap();
                    assert!(n > 0, "{piece}");
                    got.extend_from_slice(&some[..n]);
                }
            };
            tokio::join!(send, receive);
        }
    }
}
