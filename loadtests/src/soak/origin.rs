//! A backend that does what its path says, one request a connection.

use std::io::Result;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of `/large`.
pub(super) const LARGE: usize = 8 * 1024 * 1024;
/// What answers that break off promise, and send half of.
pub(super) const PROMISED: usize = 64 * 1024;
/// No connection stays longer.
const LONGEST: Duration = Duration::from_secs(30);

pub(super) async fn spawn() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("odd origin")?;
    let address = listener.local_addr().context("odd origin")?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((tcp, _)) => drop(tokio::spawn(tokio::time::timeout(LONGEST, serve(tcp)))),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    Ok(address)
}

async fn serve(mut tcp: TcpStream) -> Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if head.len() > 16 * 1024 || tcp.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head);
    match text.split(' ').nth(1).unwrap_or_default() {
        "/reset" => {
            tcp.write_all(&promise(PROMISED)).await?;
            tcp.write_all(&vec![b'r'; PROMISED / 2]).await?;
            tcp.flush().await?;
            // What was sent is on its way before the reset takes the rest.
            tokio::time::sleep(Duration::from_millis(20)).await;
            reset(tcp)
        }
        "/refuse" => reset(tcp),
        "/cut" => {
            tcp.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8000\r\n").await?;
            tcp.write_all(&vec![b'c'; PROMISED / 4]).await?;
            tcp.shutdown().await
        }
        "/silent" => {
            // Until the proxy gives up.
            while tcp.read(&mut [0; 1024]).await? > 0 {}
            Ok(())
        }
        "/large" => {
            tcp.write_all(&promise(LARGE)).await?;
            let piece = vec![b'l'; 64 * 1024];
            for _ in 0..LARGE / piece.len() {
                tcp.write_all(&piece).await?;
            }
            tcp.shutdown().await
        }
        _ => {
            while tcp.read(&mut [0; 1024]).await? > 0 {}
            Ok(())
        }
    }
}

fn promise(length: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n").into_bytes()
}

/// RST instead of FIN.
pub(super) fn reset(tcp: TcpStream) -> Result<()> {
    SockRef::from(&tcp).set_linger(Some(Duration::ZERO))?;
    drop(tcp);
    Ok(())
}
