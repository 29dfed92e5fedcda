//! Telling HTTP/2 with prior knowledge from HTTP/1 on a plain connection.

/// How an HTTP/2 client begins (RFC 9113 section 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preface {
    Http1,
    Http2,
}

impl Preface {
    /// Decides at the first byte that differs: a short HTTP/1 request must not wait for 24 bytes that never come.
    /// `None`: more bytes are needed.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let seen = bytes.len().min(HTTP2.len());
        if bytes.get(..seen) != HTTP2.get(..seen) {
            return Some(Self::Http1);
        }
        (seen == HTTP2.len()).then_some(Self::Http2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_request_is_http1_at_its_first_differing_byte() {
        assert_eq!(Preface::of(b"G"), Some(Preface::Http1));
        assert_eq!(Preface::of(b"PR"), None);
        assert_eq!(Preface::of(b"PROPFIND"), Some(Preface::Http1));
        assert_eq!(Preface::of(b"PRI * HTTP/1.1"), Some(Preface::Http1));
    }

    #[test]
    fn the_whole_preface_is_http2_with_or_without_what_follows() {
        assert_eq!(Preface::of(HTTP2), Some(Preface::Http2));
        assert_eq!(Preface::of(&HTTP2[..23]), None);
        assert_eq!(Preface::of(&[HTTP2, b"\0\0\0"].concat()), Some(Preface::Http2));
    }
}
