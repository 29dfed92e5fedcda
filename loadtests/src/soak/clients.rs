//! Clients that are the fault, or ask for one, and see whether it shows as what it is.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::FAULTS;
use super::dice::Dice;
use super::origin::{LARGE, PROMISED, reset};

/// Clients at once.
const CLIENTS: u64 = 6;
/// No fault lasts longer.
const LONGEST: Duration = Duration::from_secs(15);

/// How often each fault showed as itself, and what showed otherwise.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) explained: BTreeMap<&'static str, u64>,
    pub(super) wrong: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The backend resets in the middle of a body.
    Reset,
    /// The backend ends in the middle of a chunk.
    Cut,
    /// The backend resets instead of answering.
    Refuse,
    /// The backend never answers.
    Silent,
    /// The client reads 8 MiB slowly.
    SlowReader,
    /// The client resets while it is answered.
    Leave,
    /// The client sends half a head and closes.
    Half,
    /// The client sends what is no request.
    Rubbish,
}

const ALL: [Fault; 8] = [
    Fault::Reset,
    Fault::Cut,
    Fault::Refuse,
    Fault::Silent,
    Fault::SlowReader,
    Fault::Leave,
    Fault::Half,
    Fault::Rubbish,
];

/// Runs them until the end.
pub(super) fn start(gateway: SocketAddr, seed: u64, end: Instant) -> JoinHandle<Tally> {
    tokio::spawn(async move {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(client_loop(gateway, Dice::new(seed ^ (client + 1) << 32), end));
        }
        let mut sum = Tally::default();
        while let Some(tally) = clients.join_next().await {
            let Ok(tally) = tally else { continue };
            tally.explained.into_iter().for_each(|(name, n)| *sum.explained.entry(name).or_default() += n);
            sum.wrong.extend(tally.wrong);
        }
        sum
    })
}

async fn client_loop(gateway: SocketAddr, mut dice: Dice, end: Instant) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < end {
        sleep(Duration::from_millis(dice.below(300))).await;
        let Some(fault) = dice.pick(&ALL) else { break };
        let name = name(fault);
        match timeout(LONGEST, play(gateway, fault)).await {
            Ok(Ok(())) => *tally.explained.entry(name).or_default() += 1,
            Ok(Err(why)) => tally.wrong.push(format!("{name}: {why}")),
            Err(_) => tally.wrong.push(format!("{name}: not over after {LONGEST:?}")),
        }
    }
    tally
}

const fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Reset => "backend resets mid-body",
        Fault::Cut => "backend ends mid-chunk",
        Fault::Refuse => "backend resets at once",
        Fault::Silent => "backend is silent",
        Fault::SlowReader => "client reads slowly",
        Fault::Leave => "client leaves",
        Fault::Half => "client sends half a head",
        Fault::Rubbish => "client sends rubbish",
    }
}

/// One fault.
///
/// # Errors
/// What was seen instead of it.
async fn play(gateway: SocketAddr, fault: Fault) -> Result<(), String> {
    let connect = || async { TcpStream::connect(gateway).await.map_err(|e| format!("connect: {e}")) };
    let mut tcp = connect().await?;
    match fault {
        Fault::Reset | Fault::Cut => {
            ask(&mut tcp, if matches!(fault, Fault::Reset) { "/reset" } else { "/cut" }).await?;
            let (answer, ended) = read_all(&mut tcp).await;
            // A reset may take the head with it where it was fast; then the gateway says 502.
            let is_refused = status(&answer) == Some(502);
            let is_whole = answer.ends_with(b"\r\n0\r\n\r\n") || body(&answer) >= PROMISED;
            match (is_refused, is_whole) {
                (true, _) | (false, false) => Ok(()),
                (false, true) => Err(format!("a whole answer of {} bytes, {ended:?}", answer.len())),
            }
        }
        Fault::Refuse => expect(&mut tcp, "/refuse", 502).await,
        Fault::Silent => expect(&mut tcp, "/silent", 504).await,
        Fault::SlowReader => {
            ask(&mut tcp, "/large").await?;
            read_slowly(&mut tcp).await
        }
        Fault::Leave => {
            ask(&mut tcp, "/large").await?;
            let _ = tcp.read(&mut [0; 4096]).await;
            reset(tcp).map_err(|e| e.to_string())
        }
        Fault::Half => {
            let _ = tcp.write_all(b"GET /large HTTP/1.1\r\nHost: faul").await;
            sleep(Duration::from_millis(200)).await;
            Ok(())
        }
        Fault::Rubbish => {
            let _ = tcp.write_all(b"GET /\x01 HTTP/1.1\r\nHost: faults.example.com\r\n\r\n").await;
            let (answer, _) = read_all(&mut tcp).await;
            match status(&answer) {
                Some(400) => Ok(()),
                other => Err(format!("status {other:?}")),
            }
        }
    }
}

async fn ask(tcp: &mut TcpStream, path: &str) -> Result<(), String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {FAULTS}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.map_err(|e| format!("send: {e}"))
}

async fn expect(tcp: &mut TcpStream, path: &str, wanted: u16) -> Result<(), String> {
    ask(tcp, path).await?;
    let (answer, ended) = read_all(tcp).await;
    match status(&answer) {
        Some(status) if status == wanted => Ok(()),
        other => Err(format!("status {other:?} instead of {wanted}, {ended:?}")),
    }
}

/// Half a second of waits in the middle of an answer that has to be whole in the end.
async fn read_slowly(tcp: &mut TcpStream) -> Result<(), String> {
    let mut piece = vec![0; 256 * 1024];
    let (mut all, mut first) = (0, Vec::new());
    loop {
        let read = tcp.read(&mut piece).await.map_err(|e| format!("after {all} bytes: {e}"))?;
        if read == 0 {
            break;
        }
        if first.is_empty() {
            first.extend_from_slice(piece.get(..read.min(512)).unwrap_or_default());
        }
        all += read;
        sleep(Duration::from_millis(15)).await;
    }
    let whole = status(&first) == Some(200) && all > LARGE;
    if whole { Ok(()) } else { Err(format!("{all} bytes, status {:?}", status(&first))) }
}

async fn read_all(tcp: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    loop {
        match tcp.read_buf(&mut all).await {
            Ok(0) => return (all, Ok(())),
            Ok(_) => {}
            Err(error) => return (all, Err(error)),
        }
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

fn body(answer: &[u8]) -> usize {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    head.map_or(0, |end| answer.len() - end - 4)
}
