//! Credentials as clients send them and as operators write them down.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Poller, Poll, Waker};

use policies::api_key_auth::ApiKeyAuth;
use policies::basic_auth::BasicAuth;
use policies::{
    BackendRef, Context, Filter, Lookup, Material, ObjectRef, Policy, Request, Upstream, Verdict,
};

use crate::memory::bounded;

/// `bea` with `myPassword`; an API key of `app`.
const USERS: &[u8] = b"bea:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\n";
const KEY: &str = "secret-key";

/// One Secret, whatever its name.
struct Secret<'a>(&'static str, &'a [u8]);

impl Lookup for Secret<'_> {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }

    fn material(&self, _: &ObjectRef) -> Option<Arc<Material>> {
        Some(Arc::new(Material([(self.0.to_owned(), self.1.to_vec().into())].into())))
    }
}

/// The first byte says what the others are: `B` an Authorization field, `C` a Cookie field, `Q` a query, `H` a file.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    bounded(data.len(), 256 << 10, || match kind {
        b'B' => basic(rest),
        b'C' => cookie(rest),
        b'Q' => query(rest),
        b'H' => file(rest),
        _ => {}
    });
}

fn policy<P: Policy>(json: &str) -> P {
    serde_json::from_str(json).expect("a policy")
}

/// Whether a request is let through.
fn admits<F: Filter>(filter: &F, req: &mut Request) -> bool {
    let (mut ctx, mut state) = (Context::default(), F::State::default());
    match filter.request(req, &mut ctx, &mut state) {
        Verdict::Continue => true,
        Verdict::Reply(_) => false,
        Verdict::Wait(decision) => match pin!(decision).poll(&mut Poller::from_waker(Waker::noop())) {
            Poll::Ready(decided) => decided.is_ok(),
            Poll::Pending => panic!("it waits for nothing"),
        },
    }
}

fn basic(field: &[u8]) {
    let policy: BasicAuth = policy(r#"{"users": {"kind": "Secret", "name": "users"}}"#);
    let filter = policy.compile(&Secret(".htpasswd", USERS)).expect("a policy that compiles");
    let mut req = Request::build("GET", b"/", None).expect("a request");
    if req.insert_header("authorization", field).is_err() {
        return;
    }
    let is_bea = field.len() <= 1_024
        && field.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
        && base64(field[6..].trim_ascii_start()).is_some_and(|text| text == b"bea:myPassword");
    assert_eq!(admits(&filter, &mut req), is_bea, "{}", field.escape_ascii());
}

/// RFC 4648 section 4, by hand: groups of four, padded, and no bits left over.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for byte in &text[..text.len() - padding] {
        let value = LETTERS.iter().position(|letter| letter == byte)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    (bits & ((1 << count) - 1) == 0).then_some(bytes)
}

fn keys(place: &str) -> impl Filter {
    let policy: ApiKeyAuth = policy(&format!(
        r#"{{"credentialRefs": [{{"kind": "Secret", "name": "keys"}}], "extractFrom": [{{"{place}": ["key"]}}], "sanitize": true}}"#
    ));
    policy.compile(&Secret("app", KEY.as_bytes())).expect("a policy that compiles")
}

fn cookie(field: &[u8]) {
    let mut req = Request::build("GET", b"/", None).expect("a request");
    if req.insert_header("cookie", field).is_err() {
        return;
    }
    let pairs: Vec<&[u8]> = field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).collect();
    let is_named = |pair: &&&[u8]| {
        let equals = pair.iter().position(|byte| *byte == b'=');
        equals.is_some_and(|at| pair[..at].trim_ascii_end() == b"key")
    };
    let named: Vec<&&[u8]> = pairs.iter().filter(is_named).collect();
    let wanted = named.len() == 1
        && named[0].splitn(2, |byte| *byte == b'=').nth(1).map(<[u8]>::trim_ascii_start)
            == Some(KEY.as_bytes());
    assert_eq!(admits(&keys("cookies"), &mut req), wanted, "{}", field.escape_ascii());
    let left = req.headers.get("cookie").map_or(&b""[..], |value| value.as_bytes());
    if named.is_empty() {
        assert_eq!(left, field);
    } else {
        let kept: Vec<&[u8]> = pairs.iter().filter(|pair| !is_named(pair)).copied().collect();
        assert_eq!(left.escape_ascii().to_string(), kept.join(&b"; "[..]).escape_ascii().to_string());
    }
}

fn query(query: &[u8]) {
    let target = [b"/p?", query].concat();
    // As the engine has it: a target that is a URI.
    let Ok(uri) = http::Uri::try_from(target.as_slice()) else { return };
    let Some(sent) = uri.query().map(str::to_owned) else { return };
    let Ok(mut req) = Request::build("GET", uri.path_and_query().expect("a path").as_str().as_bytes(), None)
    else {
        return;
    };
    let pairs: Vec<&str> = sent.split('&').collect();
    let name = |pair: &str| decoded(pair.split('=').next().unwrap_or_default());
    let named: Vec<&&str> = pairs.iter().filter(|pair| name(pair) == b"key").collect();
    let value = |pair: &str| decoded(pair.split_once('=').map_or("", |(_, value)| value));
    let wanted = named.len() == 1 && value(named[0]) == KEY.as_bytes();
    assert_eq!(admits(&keys("params"), &mut req), wanted, "{sent}");
    if !named.is_empty() {
        let kept: Vec<&str> = pairs.iter().filter(|pair| name(pair) != b"key").copied().collect();
        assert_eq!(req.uri.query().unwrap_or_default(), kept.join("&"));
    }
    assert_eq!(req.uri.path(), "/p");
}

/// RFC 3986 section 2.1; what is no escape stays.
fn decoded(text: &str) -> Vec<u8> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits {
            Some(digits) if bytes[at] == b'%' => {
                let hex = std::str::from_utf8(digits).expect("two digits");
                out.push(u8::from_str_radix(hex, 16).expect("two digits"));
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// What compiles has a line `name:hash` for each user, each name once, and the hashes of one of the two kinds.
fn file(file: &[u8]) {
    let policy: BasicAuth = policy(r#"{"users": {"kind": "Secret", "name": "users"}}"#);
    if policy.compile(&Secret(".htpasswd", file)).is_err() {
        return;
    }
    let text = std::str::from_utf8(file).expect("what compiles is UTF-8");
    let mut names = std::collections::HashSet::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, hash) = line.split_once(':').expect("what compiles has a colon");
        assert!(names.insert(name) && !name.is_empty() && !name.contains(char::is_control), "{line:?}");
        let is_sha1 = hash
            .strip_prefix("{SHA}")
            .is_some_and(|sha1| base64(sha1.as_bytes()).is_some_and(|b| b.len() == 20));
        let is_bcrypt = hash.len() == 60
            && ["$2a$", "$2b$", "$2y$"].contains(&&hash[..4])
            && ("04".."15").contains(&&hash[4..6]);
        assert!(is_sha1 || is_bcrypt, "{line:?}");
    }
    assert!(!names.is_empty());
}
