//! What a gRPC service is shown of a body, and what is kept by it.

use super::*;
use crate::ext_auth::proto;
use crate::{Beginning, Incoming};

/// A body, and whether its end is known.
#[derive(Debug)]
pub(super) struct Comes(Bytes, bool, AtomicUsize);

impl Incoming for Comes {
    fn read<'a>(&'a self, most: usize) -> Pin<Box<dyn Future<Output = Beginning> + Send + 'a>> {
        self.2.store(most, Ordering::Relaxed);
        let bytes = self.0.slice(..self.0.len().min(most));
        Box::pin(std::future::ready(Beginning { bytes, is_whole: self.1 && self.0.len() <= most }))
    }
}

pub(super) fn comes(body: &'static [u8], is_known: bool) -> Arc<Comes> {
    Arc::new(Comes(Bytes::from_static(body), is_known, AtomicUsize::new(0)))
}

pub(super) fn shown(most: u32, part: bool, bytes: bool) -> ExtAuth {
    let body = BodyToExtAuth { max_request_bytes: most, allow_partial_message: part, pack_as_bytes: bytes };
    ExtAuth { body_to_ext_auth: Some(body), ..policy() }
}

/// What the service is asked.
fn asked(policy: &ExtAuth, fields: &[(&'static str, &str)], body: Arc<Comes>) -> Option<proto::HttpRequest> {
    let (filter, net) = (policy.compile(&Scene).unwrap(), Arc::new(Admits::default()));
    assert!(filter.reads_body());
    ask_with(&filter, &mut request("/", fields), &net, Some(body)).ok()?;
    let (_, message) = net.message.lock().pop().unwrap();
    message.attributes.unwrap().request.unwrap().http
}

#[test]
fn text_is_a_string_and_anything_else_bytes() {
    for (packs, body, text, raw) in [
        (false, "grün".as_bytes(), "grün", &b""[..]),
        (true, "grün".as_bytes(), "", "grün".as_bytes()),
        (false, b"gr\xfcn", "", b"gr\xfcn"),
        (true, b"gr\xfcn", "", b"gr\xfcn"),
    ] {
        let http = asked(&shown(100, false, packs), &[], comes(body, true)).unwrap();
        assert_eq!((&*http.body, &*http.raw_body), (text, raw), "{packs} {body:?}");
        assert_eq!(http.size, i64::try_from(body.len()).unwrap());
        assert_eq!(http.headers["x-envoy-auth-partial-body"], "false");
    }
}

#[test]
fn a_part_is_said_to_be_one_whatever_the_client_says() {
    let policy = shown(3, true, false);
    let says = [("X-Envoy-Auth-Partial-Body", "false"), ("Content-Length", "4")];
    let http = asked(&policy, &says, comes(b"abcd", true)).unwrap();
    assert_eq!((&*http.body, http.size), ("abc", 4));
    assert_eq!(http.headers["x-envoy-auth-partial-body"], "true");
    // Three bytes of a stream whose end has not come.
    let http = asked(&policy, &[], comes(b"abc", false)).unwrap();
    assert_eq!((&*http.body, http.size, &*http.headers["x-envoy-auth-partial-body"]), ("abc", -1, "true"));
    // A character that is cut is no text.
    let http = asked(&policy, &[], comes("aßß".as_bytes(), true)).unwrap();
    assert_eq!((&*http.body, &*http.raw_body), ("aß", &b""[..]));
    let http = asked(&shown(2, true, false), &[], comes("aß".as_bytes(), true)).unwrap();
    assert_eq!((&*http.body, &*http.raw_body), ("", &b"a\xc3"[..]));
}

#[test]
fn no_more_is_read_than_tells_whether_a_body_fits() {
    for (part, most) in [(false, 49_153), (true, 49_152)] {
        let body = comes(b"abc", true);
        asked(&shown(49_152, part, false), &[], body.clone()).unwrap();
        assert_eq!(body.2.load(Ordering::Relaxed), most);
    }
    let body = comes(b"abcd", true);
    assert_eq!(asked(&shown(3, false, false), &[("Content-Length", "4")], body.clone()), None);
    assert_eq!(body.2.load(Ordering::Relaxed), 0, "it was not read");
    assert_eq!(asked(&shown(3, false, false), &[], comes(b"abcd", true)), None);
}

#[test]
fn what_is_not_listed_and_no_body_are_not_told() {
    let listed = ExtAuth { headers_to_ext_auth: Some(Vec::new()), ..shown(9, false, false) };
    let http = asked(&listed, &[("X-Envoy-Auth-Partial-Body", "true")], comes(b"abc", true)).unwrap();
    let headers: Vec<_> = http.headers.into_iter().collect();
    assert_eq!(headers, [("x-envoy-auth-partial-body".to_owned(), "false".to_owned())]);
    let says = [("X-Envoy-Auth-Partial-Body", "true")];
    let http = asked(&shown(9, false, false), &says, comes(b"", true)).unwrap();
    assert!(!http.headers.contains_key("x-envoy-auth-partial-body"));
    assert_eq!((&*http.body, &*http.raw_body, http.size), ("", &b""[..], -1));
    assert!(!policy().compile(&Scene).unwrap().reads_body());
}
