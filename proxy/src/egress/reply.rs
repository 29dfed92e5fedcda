//! What a backend answers, looked at before Pingora reads it: state machines over the bytes as they come.

use std::fmt;
use std::io;

use memchr::memchr2;

use crate::ingress::wire::Chunked;

/// Most of a line that is looked at: the names and values that matter are shorter.
const LINE: usize = 64;

/// What is being answered, and how far.
#[derive(Debug, Default)]
pub(crate) enum Reply {
    /// Nothing is asked.
    #[default]
    Idle,
    Head(Head),
    Chunked(Chunked),
    /// So many bytes of a body are left.
    Body(u64),
    /// Until the connection ends, or another protocol.
    Open,
}

/// An answer whose end is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadReply(&'static str);

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the backend's answer is not HTTP/1.1: {}", self.0)
    }
}

impl std::error::Error for BadReply {}

impl From<BadReply> for io::Error {
    fn from(bad: BadReply) -> Self {
        Self::new(io::ErrorKind::InvalidData, bad)
    }
}

/// Whether an error of Pingora's says that an answer was refused here.
pub(crate) fn is_bad(error: &pingora_error::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.is_some_and(|cause| cause.is::<BadReply>())
}

impl Reply {
    /// Takes note of what is sent. Pingora writes a head whole and first, and the next one only after the answer.
    pub(crate) fn ask(&mut self, bytes: &[u8]) {
        if matches!(self, Self::Idle) {
            *self = Self::Head(Head::new(bytes.starts_with(b"HEAD ")));
        }
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// When they are no answer. Nothing of them may be used.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<(), BadReply> {
        let mut rest = bytes;
        while let Self::Head(head) = self {
            let Some(end) = head.feed(rest)? else { return Ok(()) };
            rest = rest.get(end..).unwrap_or_default();
            *self = head.follows();
        }
        match self {
            Self::Chunked(chunked) => {
                chunked.feed(rest).map_err(|_| BadReply("a chunk"))?;
                if chunked.is_done() {
                    *self = Self::Idle;
                }
            }
            Self::Body(left) => {
                *left = left.saturating_sub(rest.len() as u64);
                if *left == 0 {
                    *self = Self::Idle;
                }
            }
            // What nobody asked for makes Pingora close the connection.
            Self::Head(_) | Self::Idle | Self::Open => {}
        }
        Ok(())
    }
}

/// The head of an answer as far as it has come.
#[derive(Debug)]
pub(crate) struct Head {
    /// The answer has no body, whatever its fields say (RFC 9112 section 6.3).
    is_for_head: bool,
    line: [u8; LINE],
    len: usize,
    after_cr: bool,
    /// 0: the status line is not whole.
    status: u16,
    length: Option<u64>,
    coding: Option<Coding>,
    /// The line before this one is a field that says where the body ends.
    after_framing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Chunked,
    /// The engine refuses it.
    Other,
}

impl Head {
    const fn new(is_for_head: bool) -> Self {
        Self {
            is_for_head,
            line: [0; LINE],
            len: 0,
            after_cr: false,
            status: 0,
            length: None,
            coding: None,
            after_framing: false,
        }
    }

    /// Looks at the next bytes; `Some`: the head ended after so many of them.
    fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadReply> {
        let mut from = 0;
        while let Some(rest) = bytes.get(from..).filter(|rest| !rest.is_empty()) {
            if std::mem::take(&mut self.after_cr) {
                if rest.first() != Some(&b'\n') {
                    return Err(BadReply("a bare CR in its head"));
                }
                from += 1;
                if self.end_line()? {
                    return Ok(Some(from));
                }
                continue;
            }
            let end = memchr2(b'\r', b'\n', rest);
            self.take(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default());
            let Some(end) = end else { break };
            // RFC 9112 section 2.2 lets a recipient take it; others read it as part of the value.
            if rest.get(end) == Some(&b'\n') {
                return Err(BadReply("a bare LF in its head"));
            }
            self.after_cr = true;
            from += end + 1;
        }
        Ok(None)
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = self.line.get_mut(self.len.min(LINE)..).unwrap_or_default();
        let taken = room.len().min(bytes.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..taken), bytes.get(..taken)) {
            room.copy_from_slice(bytes);
        }
        self.len = self.len.saturating_add(bytes.len());
    }

    /// `true` with the empty line.
    fn end_line(&mut self) -> Result<bool, BadReply> {
        let len = std::mem::take(&mut self.len);
        let line = self.line.get(..len.min(LINE)).unwrap_or_default();
        if self.status == 0 {
            let status = line.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            self.status = status.filter(|status| *status >= 100).ok_or(BadReply("its status line"))?;
            return Ok(false);
        }
        if len == 0 {
            return Ok(true);
        }
        // RFC 9112 section 5.2: a line folded onto the one before; Pingora reads both as one value.
        let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
        if is_folded && self.after_framing {
            return Err(BadReply("a folded field that says where its body ends"));
        }
        if is_folded {
            return Ok(false);
        }
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        // RFC 9112 section 5.1: a proxy removes white space before the colon, as Pingora does.
        let name = name.trim_ascii_end();
        let is_length = name.eq_ignore_ascii_case(b"content-length");
        let is_coding = name.eq_ignore_ascii_case(b"transfer-encoding");
        self.after_framing = is_length || is_coding;
        if !is_length && !is_coding {
            return Ok(false);
        }
        // White space may hide the colon, or what follows it.
        if len > LINE {
            return Err(BadReply("a long field that says where its body ends"));
        }
        if is_length {
            let length = length(value)?;
            if self.length.replace(length).is_some() {
                return Err(BadReply("more than one Content-Length"));
            }
        } else {
            let is_chunked = value.eq_ignore_ascii_case(b"chunked") && self.coding.is_none();
            self.coding = Some(if is_chunked { Coding::Chunked } else { Coding::Other });
        }
        // RFC 9112 section 6.1: "A sender MUST NOT send a Content-Length header field in any message that contains a
        // Transfer-Encoding header field"; what others make of both is not what we would.
        if self.coding.is_some() && self.length.is_some() {
            return Err(BadReply("Content-Length beside Transfer-Encoding"));
        }
        Ok(false)
    }

    /// RFC 9112 section 6.3.
    const fn follows(&self) -> Reply {
        match (self.status, self.coding, self.length) {
            (101, ..) => Reply::Open,
            (100..200, ..) => Reply::Head(Self::new(self.is_for_head)),
            (204 | 304, ..) => Reply::Idle,
            _ if self.is_for_head => Reply::Idle,
            (_, Some(Coding::Chunked), _) => Reply::Chunked(Chunked::new()),
            (_, Some(Coding::Other), _) | (_, None, None) => Reply::Open,
            (_, None, Some(0)) => Reply::Idle,
            (_, None, Some(length)) => Reply::Body(length),
        }
    }
}

/// RFC 9110 section 8.6: `1*DIGIT`.
fn length(value: &[u8]) -> Result<u64, BadReply> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(value).ok().filter(|_| is_number).and_then(|n| n.parse().ok());
    length.ok_or(BadReply("its Content-Length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes an answer in pieces of every size.
    fn pass(asked: &str, answer: &str) -> Result<Vec<Reply>, BadReply> {
        (1..=answer.len())
            .map(|size| {
                let mut reply = Reply::Idle;
                reply.ask(asked.as_bytes());
                answer.as_bytes().chunks(size).try_for_each(|piece| reply.pass(piece)).map(|()| reply)
            })
            .collect()
    }

    fn is_over(asked: &str, answer: &str) -> bool {
        let replies = pass(asked, answer).unwrap();
        let over = replies.iter().filter(|reply| matches!(reply, Reply::Idle)).count();
        assert!(over == 0 || over == replies.len(), "{answer:?}: {replies:?}");
        over > 0
    }

    #[test]
    fn an_answer_ends_where_its_head_says() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200\r\ncontent-length:0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 9\r\nContent-Length: 2\r\n\r\nok",
        ] {
            assert!(is_over("GET / HTTP/1.1\r\n\r\n", answer), "{answer:?}");
        }
        assert!(is_over("HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
            "HTTP/1.1 200 OK\r\n\r\nuntil it closes",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n\n\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        ] {
            assert!(!is_over("GET / HTTP/1.1\r\n\r\n", answer), "{answer:?}");
        }
    }

    #[test]
    fn an_answer_whose_end_is_in_doubt_is_refused() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
            "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
            // Found by fuzzing: names with white space behind them are read by Pingora all the same.
            "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
            // Found by fuzzing: Pingora reads a folded line as part of the value.
            "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\t\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
            "HTTP/1.1 OK\r\n\r\n",
        ] {
            assert!(pass("GET / HTTP/1.1\r\n\r\n", answer).is_err(), "{answer:?}");
        }
    }

    /// Found by fuzzing.
    #[test]
    fn white_space_does_not_hide_where_an_answer_ends() {
        let space = "\t".repeat(LINE);
        for field in [
            format!("Content-Length{space}: 2"),
            format!("Content-Length:{space}2"),
            format!("Content-Length: 2{space}"),
            format!("Transfer-Encoding{space}: chunked"),
            format!("Transfer-Encoding:{space}chunked"),
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\nok");
            assert!(pass("GET / HTTP/1.1\r\n\r\n", &answer).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn a_long_field_is_no_other_field() {
        let long = "a".repeat(5000);
        let answer = format!("HTTP/1.1 200 OK\r\nX: {long}\r\nContent-Length: 2\r\n{long}: 1\r\n\r\nok");
        assert!(is_over("GET / HTTP/1.1\r\n\r\n", &answer));
    }

    #[test]
    fn a_second_answer_is_looked_at_as_the_first() {
        let mut reply = Reply::Idle;
        for _ in 0..2 {
            reply.ask(b"GET / HTTP/1.1\r\n\r\n");
            reply.ask(b"the body of a request");
            reply.pass(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            assert!(matches!(reply, Reply::Idle));
        }
        reply.ask(b"GET / HTTP/1.1\r\n\r\n");
        assert!(reply.pass(b"HTTP/1.1 200 OK\n\n").is_err());
    }
}
