//! Sending raw bytes as an HTTP/1 client, and what came of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::answers::{Message, Side, find, split};
use super::origin::PAUSE;
use super::table::{END, bytes};

/// How long an answer may take, and afterwards a close that is due.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// What a client saw.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Statuses of informational answers.
    pub(crate) interim: Vec<u16>,
    pub(crate) answers: Vec<Message>,
    pub(crate) is_closed: bool,
    pub(crate) raw: Vec<u8>,
}

/// Sends the pieces over a new connection. `closes`: waits for the close after the answer.
pub(crate) async fn exchange(address: SocketAddr, pieces: &[String], closes: bool) -> Result<Told> {
    let mut tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let (mut reader, mut writer) = tcp.split();
    let is_head = pieces.first().is_some_and(|first| first.starts_with("HEAD "));
    let mut pieces = pieces.iter();
    let side = Side::Answer(is_head);
    let mut raw = Vec::new();
    let mut is_closed = false;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && !is_closed {
        let wait = match pieces.next() {
            Some(piece) => {
                // A proxy that has answered may close while we write.
                let _ = match piece.as_str() {
                    END => timeout(PATIENCE, writer.shutdown()).await,
                    piece => timeout(PATIENCE, writer.write_all(&bytes(piece)?)).await,
                };
                PAUSE
            }
            None if !closes && is_answered(&raw, side) => PAUSE * 2,
            None => PATIENCE.saturating_sub(begun.elapsed()),
        };
        let until = Instant::now() + wait;
        loop {
            match timeout(until.saturating_duration_since(Instant::now()), reader.read_buf(&mut raw)).await {
                Ok(Ok(1..)) if closes || !is_answered(&raw, side) || !pieces.as_slice().is_empty() => {}
                Ok(Ok(1..)) => break,
                Ok(Ok(0) | Err(_)) => {
                    is_closed = true;
                    break;
                }
                Err(_) => {
                    if pieces.as_slice().is_empty() && is_answered(&raw, side) {
                        return Ok(told(raw, side, false));
                    }
                    break;
                }
            }
        }
    }
    Ok(told(raw, side, is_closed))
}

fn is_answered(raw: &[u8], side: Side) -> bool {
    split(raw, side, false).iter().any(|answer| answer.is_complete && answer.status() >= 200)
}

fn told(raw: Vec<u8>, side: Side, is_closed: bool) -> Told {
    let mut all = split(&raw, side, is_closed);
    all.retain(|answer| find(&answer.head, b"\r\n\r\n").is_some());
    let (interim, answers): (Vec<_>, Vec<_>) = all.into_iter().partition(|answer| answer.status() < 200);
    Told { interim: interim.iter().map(Message::status).collect(), answers, is_closed, raw }
}
