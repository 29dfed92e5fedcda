//! An HTTP/1.1 client that keeps to one buffer: it neither allocates nor copies per request.
#![allow(clippy::indexing_slicing, reason = "all offsets come from searches in the same buffer")]

use std::io::{Error, ErrorKind, Result};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::io::Io;

/// The head of an answer, apart from its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) body: usize,
    /// The connection takes no further request.
    pub(crate) closes: bool,
    /// Bytes of the head.
    len: usize,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Http1 {
    io: Io,
    buf: Vec<u8>,
    head: usize,
}

impl Http1 {
    pub(crate) fn new(io: Io) -> Self {
        Self { io, buf: vec![0; 16 * 1024], head: 0 }
    }

    /// Sends a request and reads the whole answer. An error of kind `ConnectionAborted` says that the connection
    /// ended before any byte of the answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Head> {
        self.io.write_all(request).await?;
        let mut filled = 0;
        let head = loop {
            if filled == self.buf.len() {
                return Err(invalid("response head over 16 KiB"));
            }
            let n = self.io.read(&mut self.buf[filled..]).await?;
            if n == 0 && filled == 0 {
                return Err(Error::new(ErrorKind::ConnectionAborted, "closed without an answer"));
            }
            if n == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "closed in the middle of a head"));
            }
            filled += n;
            if let Some(head) = parse(&self.buf[..filled])? {
                break head;
            }
        };
        self.head = head.len;
        let mut left = (head.len + head.body)
            .checked_sub(filled)
            .ok_or_else(|| invalid("more bytes than the answer's content-length"))?;
        while left > 0 {
            let room = self.buf.len() - self.head; // the fields stay readable
            let start = self.head;
            let n = self.io.read(&mut self.buf[start..start + room.min(left)]).await?;
            if n == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "closed in the middle of a body"));
            }
            left -= n;
        }
        Ok(head)
    }

    /// A field of the last answer.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.buf[..self.head]).ok()?;
        head.lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    }

    /// All fields of the last answer that can be read.
    pub(crate) fn fields(&self) -> HeaderMap {
        let head = std::str::from_utf8(&self.buf[..self.head]).unwrap_or_default();
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value.trim()).ok()?))
        };
        head.lines().filter_map(field).collect()
    }

    /// True while the other side has not closed and has sent nothing unasked.
    pub(crate) fn is_quiet(&self) -> bool {
        let Io::Plain(tcp) = &self.io else { return true };
        matches!(tcp.try_read(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock)
    }
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

/// The head, once it is complete.
fn parse(buf: &[u8]) -> Result<Option<Head>> {
    let Some(len) = buf.windows(4).position(|w| w == b"\r\n\r\n").map(|i| i + 4) else { return Ok(None) };
    let status = buf.get(9..12).and_then(|s| std::str::from_utf8(s).ok()?.parse().ok());
    let mut head = Head {
        status: status.ok_or_else(|| invalid("no status"))?,
        body: 0,
        closes: buf.starts_with(b"HTTP/1.0"),
        len,
    };
    let mut length = None;
    for line in buf[..len].split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
        } else if name.eq_ignore_ascii_case(b"connection") && value.eq_ignore_ascii_case(b"close") {
            head.closes = true;
        }
    }
    head.body = length.ok_or_else(|| invalid("answer without content-length"))?;
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: Close\r\n\r\nhello";
        for end in 0..head.len() - 5 {
            assert_eq!(parse(&head[..end]).unwrap(), None, "{end}");
        }
        let read = parse(head).unwrap().unwrap();
        assert_eq!((read.status, read.body, read.closes, read.len), (200, 12, true, head.len() - 5));
    }

    #[test]
    fn an_answer_of_unknown_length_is_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 abc\r\n\r\n").is_err());
    }
}
