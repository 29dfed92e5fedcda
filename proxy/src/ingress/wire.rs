//! What clients send, looked at before Pingora sees it.
//!
//! Pingora mends requests (it escapes spaces in targets, takes a bare LF for a line's end and an empty chunk size for
//! 0), and a neighbour that mends differently sees other requests than we do. Here nothing is mended: bytes that are
//! not HTTP as RFC 9112 writes it are a [`Fault`], the client is told, and the connection ends. State machines over the
//! bytes as they are read: nothing is buffered, and of a body only the lines between chunks are looked at.

pub(crate) mod chunked;
mod fault;
pub(crate) mod frames;
mod head;

pub(crate) use chunked::Chunked;
pub(crate) use fault::Fault;

use head::Head;

/// One HTTP/1 request as it comes in.
#[derive(Debug)]
pub(crate) enum Wire {
    Head(Head),
    Chunked(Chunked),
    /// A body of a known length, no body, or another protocol.
    Open,
}

impl Default for Wire {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

impl Wire {
    /// A request whose head has so many bytes at most; `None`: the default.
    pub(crate) fn within(head_bytes: Option<usize>) -> Self {
        Self::Head(Head::within(head_bytes))
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// When they are no request. Nothing of them may be used.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        if let Self::Head(head) = self {
            let Some(end) = head.feed(bytes)? else { return Ok(()) };
            rest = bytes.get(end..).unwrap_or_default();
            *self = if head.is_chunked() { Self::Chunked(Chunked::default()) } else { Self::Open };
        }
        match self {
            Self::Chunked(chunked) => chunked.feed(rest),
            Self::Head(_) | Self::Open => Ok(()),
        }
    }
}

/// RFC 9110 section 5.6.2: what tokens, and so methods and field names, are made of.
#[allow(clippy::indexing_slicing, reason = "a constant: out of bounds would not compile")]
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        table[byte] = c.is_ascii_alphanumeric()
            || matches!(c, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-')
            || matches!(c, b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};

pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests;
