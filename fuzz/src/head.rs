//! A request head: what is taken must be the same request to a strict parser, and none that RFC 9112 has refused.

use proxy::fuzzing::{Asked, PATHS, Taken, path, request};

use crate::memory::bounded;
use crate::pieces::cut;

/// The size of the pieces, and what the client sends.
pub fn run(data: &[u8]) {
    let Some((bytes, pieces)) = cut(data) else { return };
    // Pingora has a buffer of 64 KiB for bodies, one for heads and a list of 256 fields.
    let asked = bounded(bytes.len(), 96 << 10, || request(&[bytes]));
    assert_eq!(request(&pieces), asked, "in pieces");
    let Asked::Taken(taken) = asked else { return };
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut sent = httparse::Request::new(&mut fields);
    let length = match sent.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    };
    lines(&bytes[..length]);
    request_line(&sent, &taken);
    let received: Vec<Field<'_>> =
        sent.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value)).collect();
    framing(&received, &taken);
    host(&received, &taken);
    forwarded(&received, &taken);
}

type Field<'a> = (String, &'a [u8]);

fn values<'a>(fields: &[Field<'a>], name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|(n, _)| n == name).map(|(_, value)| *value).collect()
}

/// RFC 9112 section 2.2: lines end with CRLF; section 5.1: no space before the colon; 5.2: no folding.
fn lines(head: &[u8]) {
    let text: String = head.iter().copied().map(char::from).collect();
    let rest = text.replace("\r\n", "");
    assert!(!rest.contains(['\r', '\n', '\0']), "{text:?}");
    assert!(text.len() <= 60 << 10, "{} bytes", text.len());
    let fields: Vec<&str> = text.trim_start_matches("\r\n").trim_end().split("\r\n").skip(1).collect();
    assert!(fields.len() <= 100, "{} fields", fields.len());
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^`|~".contains(c);
    for field in fields {
        let (name, _) = field.split_once(':').expect("a colon");
        assert!(!name.is_empty() && name.chars().all(token), "{name:?}");
    }
}

/// RFC 9112 section 3: the same method and version, and of the target what is forwarded of it.
fn request_line(sent: &httparse::Request<'_, '_>, taken: &Taken) {
    let target = sent.path.expect("complete");
    assert_eq!(sent.method, Some(&*taken.method));
    assert_eq!(sent.version, Some(taken.minor));
    assert!(target.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#'), "{target:?}");
    let origin = match target.split_once("://") {
        Some((scheme, rest)) if !target.starts_with('/') => {
            assert!(scheme.eq_ignore_ascii_case("http"), "{target:?}");
            match rest.find(['/', '?']) {
                Some(end) if rest[end..].starts_with('/') => rest[end..].to_owned(),
                Some(end) => format!("/{}", &rest[end..]),
                None => "/".to_owned(),
            }
        }
        _ => target.to_owned(),
    };
    if target == "*" {
        return assert_eq!((&*taken.method, &*taken.target), ("OPTIONS", "*"));
    }
    let (before, query) =
        origin.split_once('?').map_or((&*origin, None), |(path, query)| (path, Some(query)));
    let normal = path(before, PATHS[0]).expect("it was taken");
    let wanted = query.map_or_else(|| normal.clone(), |query| format!("{normal}?{query}"));
    assert_eq!(taken.target, wanted);
}

/// RFC 9112 section 6: one length or one `chunked`, never both.
fn framing(received: &[Field<'_>], taken: &Taken) {
    let lengths = values(received, "content-length");
    let codings = values(received, "transfer-encoding");
    assert!(lengths.len() + codings.len() <= 1, "{received:?}");
    for length in &lengths {
        let digits = length.trim_ascii();
        assert!(!digits.is_empty() && digits.iter().all(u8::is_ascii_digit), "{length:?}");
        assert!(digits == b"0" || digits[0] != b'0', "{length:?}");
    }
    for coding in &codings {
        assert!(coding.trim_ascii().eq_ignore_ascii_case(b"chunked") && taken.minor == 1, "{coding:?}");
    }
    if lengths.is_empty() && codings.is_empty() {
        assert_eq!(taken.body.as_deref(), Some(&[][..]), "a body that nothing announces");
    }
}

/// RFC 9112 section 3.2: exactly one Host, except in HTTP/1.0, and it is what the request is routed by.
fn host(received: &[Field<'_>], taken: &Taken) {
    let sent = values(received, "host");
    assert!(sent.len() == 1 || (sent.is_empty() && taken.minor == 0), "{received:?}");
    let forwarded: Vec<_> = taken.fields.iter().filter(|(name, _)| name == "host").collect();
    match forwarded.as_slice() {
        [(_, value)] => assert_eq!(proxy::fuzzing::host(value).as_ref(), Some(&taken.host)),
        others => assert!(others.is_empty() && taken.host.is_empty(), "{others:?}"),
    }
}

/// What is forwarded was sent; what was sent and is not was the connection's, or a claim about the client.
fn forwarded(received: &[Field<'_>], taken: &Taken) {
    let kept: Vec<Field<'_>> = taken.fields.iter().map(|(name, value)| (name.clone(), &**value)).collect();
    let nominated: Vec<String> = values(received, "connection")
        .iter()
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(|option| String::from_utf8_lossy(option).trim().to_ascii_lowercase())
        .collect();
    for (name, _) in received {
        let (was, is) = (values(received, name), values(&kept, name));
        if was.iter().map(|value| value.trim_ascii()).eq(is.iter().copied()) || name == "host" {
            continue;
        }
        let claim = matches!(&**name, "forwarded" | "x-real-ip" | "x-forwarded-client-cert")
            || name.starts_with("x-fairway-");
        let own = matches!(&**name, "connection" | "expect") || nominated.contains(name);
        assert!(claim || own, "{name}: {was:?} became {is:?}");
        assert!(is.is_empty() || (name == "connection" && is == [b"upgrade"]), "{name}: {is:?}");
    }
    for (name, value) in &kept {
        let is_sent = received.iter().any(|(n, _)| n == name) || (name == "host" && taken.minor == 0);
        assert!(is_sent, "{name}: {value:?} was never sent");
        assert!(!name.starts_with("x-fairway-") && name != "forwarded" && name != "expect", "{name}");
    }
}
