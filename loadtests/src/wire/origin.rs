//! An origin that answers as a vector says and keeps every byte it was sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::answers::{Message, Side, find, split};
use super::table::{Reply, bytes};

/// Between two pieces of an answer, and of a request.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);
const OK: &str = "HTTP/1.1 200 OK⏎Content-Length: 2⏎⏎ok";

#[derive(Debug, Default)]
struct State {
    reply: Reply,
    seen: Vec<Vec<u8>>,
    /// What connections say belongs to the vector that runs only if it began in it.
    turn: u64,
}

/// Runs as long as the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Origin {
    pub(crate) async fn start() -> Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let state = Arc::new(Mutex::new(State::default()));
        let origin = Self { address: socket.local_addr()?, state: Arc::clone(&state) };
        tokio::spawn(async move {
            while let Ok((tcp, _)) = socket.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move { serve(tcp, &state).await });
            }
        });
        Ok(origin)
    }

    /// Forgets what was seen, and answers like this from now on.
    pub(crate) fn prepare(&self, reply: Option<&Reply>) {
        let mut state = self.state.lock();
        state.turn += 1;
        state.seen.clear();
        state.reply =
            reply.cloned().unwrap_or_else(|| Reply { send: vec![OK.to_owned()], ..Reply::default() });
    }

    /// What came since, by request; the last of a connection may be incomplete.
    pub(crate) fn seen(&self) -> Vec<Message> {
        let state = self.state.lock();
        state.seen.iter().flat_map(|bytes| split(bytes, Side::Request, false)).collect()
    }
}

/// One connection: each whole request, or its head if the answer is an early one, gets the answer.
async fn serve(mut tcp: TcpStream, state: &Mutex<State>) {
    let _ = tcp.set_nodelay(true);
    let (mut turn, mut at, mut answered) = (0, 0, 0);
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = tcp.read(&mut chunk).await {
        let reply = {
            let mut state = state.lock();
            if turn != state.turn {
                (turn, answered) = (state.turn, 0);
                state.seen.push(Vec::new());
                at = state.seen.len() - 1;
            }
            let Some(bytes) = state.seen.get_mut(at) else { return };
            bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
            let whole = split(bytes, Side::Request, false);
            let early = whole.last().is_some_and(|m| !m.is_complete && find(&m.head, b"\r\n\r\n").is_some());
            let count = whole.iter().filter(|m| m.is_complete).count();
            let due = if state.reply.early { count + usize::from(early) } else { count };
            (due > answered).then(|| {
                answered = due;
                state.reply.clone()
            })
        };
        let Some(reply) = reply else { continue };
        for piece in &reply.send {
            if tcp.write_all(&bytes(piece).unwrap_or_default()).await.is_err() {
                return;
            }
            tokio::time::sleep(if reply.send.len() > 1 { PAUSE } else { Duration::ZERO }).await;
        }
        if reply.close {
            return;
        }
    }
}
