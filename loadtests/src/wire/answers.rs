//! HTTP/1 messages as a strict reader sees them: the client's, and the origin's.

/// One message of a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// With its blank line.
    pub(crate) head: Vec<u8>,
    /// Without framing.
    pub(crate) body: Vec<u8>,
    /// It ended as its framing says.
    pub(crate) is_complete: bool,
}

impl Message {
    /// Status of an answer; 0 when there is none.
    pub(crate) fn status(&self) -> u16 {
        let digits = self.head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// First line.
    pub(crate) fn line(&self) -> String {
        String::from_utf8_lossy(self.head.split(|b| *b == b'\r').next().unwrap_or_default()).into_owned()
    }

    /// Fields as `name: value`, names in lower case.
    pub(crate) fn fields(&self) -> Vec<String> {
        let text: String = self.head.iter().map(|byte| char::from(*byte)).collect();
        text.split("\r\n")
            .skip(1)
            .filter(|line| !line.is_empty())
            .map(|line| match line.split_once(':') {
                Some((name, value)) => format!("{}: {}", name.to_ascii_lowercase(), value.trim()),
                None => line.to_owned(),
            })
            .collect()
    }

    fn field(&self, name: &str) -> Option<String> {
        self.fields().into_iter().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            (field == name).then(|| value.to_owned())
        })
    }
}

/// Which side sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    /// `true`: to HEAD.
    Answer(bool),
}

/// Splits what came so far into messages; the last one may be incomplete. `ended`: nothing more will come.
pub(crate) fn split(mut bytes: &[u8], side: Side, ended: bool) -> Vec<Message> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            found.push(Message { head: bytes.to_vec(), ..Message::default() });
            break;
        };
        let (head, rest) = bytes.split_at(end + 4);
        let mut message = Message { head: head.to_vec(), ..Message::default() };
        let used = take_body(&mut message, rest, side, ended);
        bytes = rest.get(used..).unwrap_or_default();
        let is_complete = message.is_complete;
        found.push(message);
        if !is_complete {
            break;
        }
    }
    found
}

/// Reads a body; gives how many bytes it took.
fn take_body(message: &mut Message, rest: &[u8], side: Side, ended: bool) -> usize {
    let status = message.status();
    let none = match side {
        Side::Request => false,
        Side::Answer(is_head) => is_head || status < 200 || matches!(status, 204 | 304),
    };
    if none {
        message.is_complete = true;
        return 0;
    }
    if message.field("transfer-encoding").is_some() {
        return take_chunks(message, rest);
    }
    match message.field("content-length").map(|length| length.parse::<usize>()) {
        Some(length) => {
            let length = length.unwrap_or(0);
            message.body = rest.get(..length.min(rest.len())).unwrap_or_default().to_vec();
            message.is_complete = rest.len() >= length;
            message.body.len()
        }
        None if side == Side::Request => {
            message.is_complete = true;
            0
        }
        None => {
            message.body = rest.to_vec();
            message.is_complete = ended;
            rest.len()
        }
    }
}

fn take_chunks(message: &mut Message, rest: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let left = rest.get(at..).unwrap_or_default();
        let Some(end) = find(left, b"\r\n") else { return rest.len() };
        let line = std::str::from_utf8(left.get(..end).unwrap_or_default()).unwrap_or("?");
        let Ok(size) = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16) else {
            return rest.len();
        };
        at += end + 2;
        if size == 0 {
            // Trailers are not looked at: there must be none.
            message.is_complete = rest.get(at..at + 2) == Some(b"\r\n");
            return if message.is_complete { at + 2 } else { rest.len() };
        }
        let Some(data) = rest.get(at..at + size) else {
            message.body.extend_from_slice(rest.get(at..).unwrap_or_default());
            return rest.len();
        };
        message.body.extend_from_slice(data);
        at += size;
        if rest.get(at..at + 2) != Some(b"\r\n") {
            return rest.len();
        }
        at += 2;
    }
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_where_their_framing_says() {
        let bytes =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 400 B\r\n\
            Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
        let found = split(bytes, Side::Answer(false), false);
        let seen: Vec<_> = found.iter().map(|m| (m.status(), m.body.as_slice(), m.is_complete)).collect();
        assert_eq!(seen, [(100, &b""[..], true), (200, b"ok", true), (400, b"x", true)]);
        let cut = split(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", Side::Answer(false), true);
        assert!(!cut[0].is_complete);
    }
}
