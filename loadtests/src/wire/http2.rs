//! Sending raw frames as an HTTP/2 client (RFC 9113 section 4), and what came of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::hpack;
use super::http1::PATIENCE;
use super::table::{Headers, Step, bytes};
use crate::certificate::NAME;
use crate::client::io::{Address, Io};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The largest frame everybody takes.
const LARGEST: usize = 16 * 1024;

/// What became of a stream.
#[derive(Debug, Default, Clone)]
pub(crate) struct Stream {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) reset: Option<u32>,
    pub(crate) is_complete: bool,
}

/// What a client saw.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) streams: BTreeMap<u32, Stream>,
    pub(crate) goaway: Option<u32>,
    pub(crate) is_closed: bool,
}

impl Told {
    /// Nothing more will come of what was sent. Error codes of GOAWAY end all; a graceful one does not.
    fn is_over(&self, streams: &[u32]) -> bool {
        let done = |id: &u32| self.streams.get(id).is_some_and(|s| s.is_complete || s.reset.is_some());
        self.is_closed || self.goaway.is_some_and(|code| code != 0) || streams.iter().all(done)
    }
}

/// Sends the preface, our SETTINGS and the steps. `floods`: only the end of the connection counts.
pub(crate) async fn exchange(address: &Address, steps: &[Step], floods: bool) -> Result<Told> {
    let (reader, mut writer) = split(address.connect().await.context("connect")?);
    let mut reading = Reading { io: reader, told: Told::default(), bytes: Vec::new(), table: Vec::new() };
    let mut sending = Sending::default();
    sending.out.extend_from_slice(PREFACE);
    frame(&mut sending.out, SETTINGS, 0, 0, &[]);
    for step in steps {
        sending.push(step, 0)?;
    }
    let deadline = Instant::now() + PATIENCE * if floods { 3 } else { 1 };
    let write = async {
        let mut from = 0;
        for (to, pause) in sending.pauses.iter().copied().chain([(sending.out.len(), Duration::ZERO)]) {
            send(&mut writer, sending.out.get(from..to).unwrap_or_default()).await;
            sleep(pause).await;
            from = to;
        }
        // Keeps the connection open until the reader is done.
        std::future::pending::<()>().await;
    };
    let read = async {
        let wanted = if floods { vec![u32::MAX] } else { sending.streams.clone() };
        while !reading.told.is_over(&wanted) && timeout(left(deadline), reading.next()).await.is_ok() {}
        // A reset may be followed by the end of the connection, which says more.
        let _ = timeout(Duration::from_millis(20), async { while reading.next().await {} }).await;
    };
    tokio::select! { () = read => {} () = write => {} }
    Ok(reading.told)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

async fn send(writer: &mut WriteHalf<Io>, bytes: &[u8]) {
    for piece in bytes.chunks(64 * 1024) {
        if writer.write_all(piece).await.is_err() {
            return;
        }
    }
    let _ = writer.flush().await;
}

struct Reading {
    io: ReadHalf<Io>,
    told: Told,
    bytes: Vec<u8>,
    table: Vec<u16>,
}

impl Reading {
    /// Reads once; false at the end.
    async fn next(&mut self) -> bool {
        if !matches!(self.io.read_buf(&mut self.bytes).await, Ok(1..)) {
            self.told.is_closed = true;
            return false;
        }
        while let Some(head) = self.bytes.first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            if self.bytes.len() < 9 + length {
                break;
            }
            let frame: Vec<u8> = self.bytes.drain(..9 + length).skip(9).collect();
            self.take(kind, flags, stream, &frame);
        }
        true
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let number = |at: usize| {
            payload.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
        };
        match kind {
            GOAWAY => self.told.goaway = Some(number(4)),
            RST_STREAM => self.told.streams.entry(stream).or_default().reset = Some(number(0)),
            HEADERS | DATA => {
                let status = if kind == HEADERS { hpack::status(payload, &mut self.table) } else { None };
                let seen = self.told.streams.entry(stream).or_default();
                if kind == DATA {
                    seen.body.extend_from_slice(payload);
                } else if let Some(status) = status.filter(|status| *status >= 200) {
                    seen.status = status;
                }
                seen.is_complete |= flags & END_STREAM != 0;
            }
            _ => {}
        }
    }
}

/// The bytes of all steps, with pauses between.
#[derive(Debug, Default)]
struct Sending {
    out: Vec<u8>,
    pauses: Vec<(usize, Duration)>,
    streams: Vec<u32>,
}

impl Sending {
    fn push(&mut self, step: &Step, shift: u32) -> Result<()> {
        let at = |stream: u32| if stream == 0 { 0 } else { stream + shift };
        match step {
            Step::Headers(headers) => {
                let flags = if headers.open { 0 } else { END_STREAM };
                self.open(at(headers.stream));
                let block = hpack::block(&fields(headers)?);
                let mut pieces = block.chunks(LARGEST).peekable();
                let mut kind = (HEADERS, flags);
                while let Some(piece) = pieces.next() {
                    let last = pieces.peek().is_none() && !headers.unfinished;
                    let end = if last { END_HEADERS } else { 0 };
                    frame(&mut self.out, kind.0, kind.1 | end, at(headers.stream), piece);
                    kind = (CONTINUATION, 0);
                }
            }
            Step::Data(data) => {
                let flags = if data.open { 0 } else { END_STREAM };
                frame(&mut self.out, DATA, flags, at(data.stream), &bytes(&data.data)?);
            }
            Step::Frame(raw) => {
                frame(&mut self.out, raw.frame, raw.flags, at(raw.stream), &bytes(&raw.payload)?);
            }
            Step::Repeat(repeat) => {
                for time in 0..repeat.repeat {
                    for step in &repeat.steps {
                        self.push(step, shift + time * repeat.step)?;
                    }
                }
            }
            Step::Wait(wait) => self.pauses.push((self.out.len(), Duration::from_millis(wait.wait))),
        }
        Ok(())
    }

    fn open(&mut self, stream: u32) {
        if !self.streams.contains(&stream) && self.streams.len() < 100 {
            self.streams.push(stream);
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(length.get(1..).unwrap_or_default());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Pseudo fields of a plain request, if it is one, then the written ones.
fn fields(headers: &Headers) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let plain = headers.get.as_ref().map(|path| ("GET", path));
    let plain = plain.or(headers.post.as_ref().map(|path| ("POST", path)));
    let mut out = Vec::new();
    if let Some((method, path)) = plain {
        for (name, value) in
            [(":method", method), (":scheme", "https"), (":authority", NAME), (":path", path)]
        {
            out.push((name.as_bytes().to_vec(), bytes(value)?));
        }
    }
    for field in &headers.fields {
        // The first colon of `:path: /` belongs to the name; `: x` has no name.
        let colon = if field.starts_with(": ") {
            Some(0)
        } else {
            field.get(1..).and_then(|f| f.find(": ")).map(|at| at + 1)
        };
        let colon = colon.with_context(|| format!("a field without `: `: {field}"))?;
        let (name, value) = (field.get(..colon), field.get(colon + 2..));
        out.push((bytes(name.unwrap_or_default())?, bytes(value.unwrap_or_default())?));
    }
    Ok(out)
}
