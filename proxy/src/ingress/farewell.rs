//! The last words on an HTTP/1 connection: answers where no session is left to write them, and closing so that the
//! client can read them.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::exchange::Exchange;
use super::stream::Io;

/// How long a client may take to see that its connection closes, and how much of what it still sends is thrown away
/// meanwhile. Closing with bytes unread would reset the connection, and the client could lose what it was told.
pub(super) const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 1024 * 1024;

/// Answers a request whose future was dropped, if nothing was written for it yet: no request at all, over its time, or
/// lost to a bug.
pub(super) fn answer(io: &mut Io, exchange: &Exchange) {
    let answer = if exchange.is_answered() {
        return;
    } else if std::thread::panicking() {
        render(500, "panic")
    } else if let Some(fault) = exchange.fault() {
        if fault.status() == 0 {
            return;
        }
        render(fault.status(), fault.reason())
    } else if let Some(over) = exchange.over() {
        render(over.status(), over.reason())
    } else {
        return;
    };
    // What does not go at once does not go.
    let sent = match io {
        Io::Plain(tcp) => tcp.try_write(&answer).map(drop),
        Io::Tls(tls) => {
            let (tcp, session) = tls.get_mut();
            session.writer().write_all(&answer).and_then(|()| {
                session.send_close_notify();
                session.write_tls(&mut Now(tcp)).map(drop)
            })
        }
    };
    if sent.is_ok() {
        close(io.tcp());
    }
}

/// Closes a connection behind the back of its owner, who drops it now.
pub(super) fn close(tcp: &TcpStream) {
    let Ok(runtime) = Handle::try_current() else { return };
    let kept = tcp.as_fd().try_clone_to_owned().map(std::net::TcpStream::from);
    let Ok(Ok(kept)) = kept.map(TcpStream::from_std) else { return };
    let _ = SockRef::from(&kept).shutdown(std::net::Shutdown::Write);
    runtime.spawn(async move { swallow(&kept).await });
}

/// Reads and forgets what a client still sends, until it closes or the time is over.
pub(super) async fn swallow(tcp: &TcpStream) {
    let reading = async {
        let (mut sink, mut left) = ([0; 1024], LINGER_BYTES);
        while left > 0 && tcp.ready(Interest::READABLE).await.is_ok() {
            match tcp.try_read(&mut sink) {
                Ok(0) => return,
                Ok(read) => left = left.saturating_sub(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = timeout(LINGER, reading).await;
}

/// What is said in place of Pingora's own answer to a head it refuses.
pub(super) fn refusal(theirs: &[u8]) -> Vec<u8> {
    match status(theirs) {
        405 => render(405, "method_not_allowed"),
        status => render(status, "bad_request"),
    }
}

/// The status of a response head; 400 if it has none.
pub(super) fn status(head: &[u8]) -> u16 {
    let digits = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(400)
}

fn render(status: u16, reason: &str) -> Vec<u8> {
    let phrase = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let phrase = phrase.unwrap_or_default();
    let length = reason.len();
    format!(
        "HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n\
         {reason}"
    )
    .into_bytes()
}

/// Writes to a socket without waiting.
struct Now<'a>(&'a TcpStream);

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_status_and_nothing_else() {
        let theirs = b"HTTP/1.1 405 Method Not Allowed\r\nServer: x\r\n\r\n";
        let ours = String::from_utf8(refusal(theirs)).unwrap();
        assert!(ours.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{ours}");
        assert!(ours.ends_with("\r\n\r\nmethod_not_allowed"), "{ours}");
        assert!(!ours.contains("Server"), "{ours}");
        assert_eq!(status(b"?"), 400);
    }
}
