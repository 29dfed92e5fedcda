//! Changes to a request head that must keep several places in step: `Host` with the URI's authority, and the path with
//! the raw target Pingora keeps beside it.

use std::net::Ipv4Addr;

use http::uri::{Authority, Parts, PathAndQuery};
use http::{HeaderValue, Uri, header};

use crate::{Invalid, Request};

/// Host and port of a request as it names them; `None` when it names none.
pub(crate) fn authority(req: &Request) -> Option<&str> {
    match req.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => req.headers.get(header::HOST)?.to_str().ok(),
    }
}

/// Host of a request without its port; `None` when there is none that could stand in a URI.
pub(crate) fn host(req: &Request) -> Option<&str> {
    let authority = authority(req)?;
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at_checked(end)?;
    let port_fits =
        port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    let host_fits = match host.strip_prefix('[') {
        Some(address) => address.bytes().all(|b| b.is_ascii_hexdigit() || b":.]".contains(&b)),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)),
    };
    (host_fits && port_fits && !host.is_empty()).then_some(host)
}

/// Replaces path and query. `target` starts with `/`.
pub(crate) fn set_target(req: &mut Request, target: String) {
    // Cannot fail for what filters compose: checked configuration and parts of a URI that was accepted before.
    if let Ok(target) = PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)) {
        let authority = req.uri.authority().cloned();
        set_uri(req, authority, Some(target));
    }
}

/// Leaves out parameters of the query, as they are written. Without any left there is no `?`.
pub(crate) fn retain_params(req: &mut Request, keep: impl Fn(&str) -> bool) {
    let params = || req.uri.query().into_iter().flat_map(|query| query.split('&'));
    if params().all(&keep) {
        return;
    }
    let mut target = req.uri.path().to_owned();
    let mut before = '?';
    for pair in params().filter(|pair| keep(pair)) {
        target.push(before);
        target.push_str(pair);
        before = '&';
    }
    set_target(req, target);
}

/// Host name with optional port, ready for every place where a request holds it.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    value: HeaderValue,
    authority: Authority,
}

impl Host {
    /// # Errors
    /// When `text` is no `host[:port]`.
    pub(crate) fn compile(field: &str, text: &str) -> Result<Self, Invalid> {
        let wrong = |_| {
            Invalid::field(
                field,
                format!("{text:?} is not a host: write a name such as example.com or example.com:8080"),
            )
        };
        let authority: Authority = text.parse().map_err(|_| wrong(()))?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(wrong(()));
        }
        Ok(Self { value: HeaderValue::from_str(text).map_err(|_| wrong(()))?, authority })
    }

    /// # Errors
    /// When `text` is no Gateway API PreciseHostname.
    pub(crate) fn compile_precise(field: &str, text: &str) -> Result<Self, Invalid> {
        check_precise(field, text)?;
        Self::compile(field, text)
    }

    /// Makes `req` a request to this host. Pingora trusts the URI's authority over `Host` on HTTP/1 upstreams, so both
    /// must change.
    pub(crate) fn apply(&self, req: &mut Request) {
        // Fails only for names and values that do not parse; these are parsed.
        let _ = req.insert_header("Host", self.value.clone());
        let target = || req.uri.path_and_query().cloned();
        if req.uri.authority().is_some() {
            let target = target();
            set_uri(req, Some(self.authority.clone()), target);
        } else if !matches!(req.raw_path().first(), Some(b'/' | b'*')) {
            // Absolute form: the raw target repeats the old host. Origin form is what goes upstream.
            let target = target();
            set_uri(req, None, target);
        }
    }
}

/// # Errors
/// When `text` is no Gateway API PreciseHostname: lower case RFC 1123 labels, no wildcard, no IP address.
pub(crate) fn check_precise(field: &str, text: &str) -> Result<(), Invalid> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if text.len() > 253 || !text.split('.').all(label) || text.parse::<Ipv4Addr>().is_ok() {
        return Err(Invalid::field(
            field,
            format!(
                "{text:?} is not a precise host name: write lower case labels such as www.example.com, no wildcard, no IP address, no port"
            ),
        ));
    }
    Ok(())
}

fn set_uri(req: &mut Request, authority: Option<Authority>, target: Option<PathAndQuery>) {
    let mut parts = Parts::default();
    // A URI with an authority needs its scheme; one without cannot have any.
    parts.scheme = authority.as_ref().and_then(|_| req.uri.scheme().cloned());
    parts.authority = authority;
    parts.path_and_query = target.clone();
    let uri = Uri::from_parts(parts).unwrap_or_else(|_| target.map(Uri::from).unwrap_or_default());
    req.set_uri(uri);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &[u8], host: Option<&str>) -> Request {
        let mut req = Request::build("GET", target, None).unwrap();
        if let Some(host) = host {
            req.insert_header("Host", host).unwrap();
        }
        req
    }

    #[test]
    fn a_host_that_cannot_stand_in_a_uri_is_none() {
        for (field, want) in [
            ("example.com", Some("example.com")),
            ("example.com:8080", Some("example.com")),
            ("[::1]:80", Some("[::1]")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("", None),
            (":80", None),
            ("a.test/b", None),
            ("a.test:80:80", None),
            ("user@a.test", None),
            ("a.test b", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[::g]", None),
            ("[::1/]:80", None),
        ] {
            assert_eq!(host(&request(b"/", Some(field))), want, "{field:?}");
        }
        assert_eq!(host(&request(b"/", None)), None);
    }

    #[test]
    fn a_new_host_reaches_field_and_authority() {
        let new = Host::compile("hostname", "new.test:81").unwrap();

        let mut h2 = request(b"/", None);
        h2.set_uri("https://old.test/a?b=c".parse().unwrap());
        new.apply(&mut h2);
        assert_eq!(h2.uri, "https://new.test:81/a?b=c");
        assert_eq!(h2.headers["host"], "new.test:81");

        let mut absolute = request(b"http://old.test/a?b=c", Some("old.test"));
        new.apply(&mut absolute);
        assert_eq!(absolute.raw_path(), b"/a?b=c");
        assert_eq!(absolute.headers["host"], "new.test:81");

        let mut origin = request(b"/a?b=c", Some("old.test"));
        new.apply(&mut origin);
        assert_eq!((origin.raw_path(), origin.uri.authority()), (&b"/a?b=c"[..], None));
        assert_eq!(origin.headers.get_all("host").iter().count(), 1);
    }

    #[test]
    fn a_precise_name_has_labels_of_letters_digits_and_hyphens_between_and_253_bytes_at_most() {
        let fits = |text: &str| check_precise("host", text).is_ok();
        for text in ["a", "a-b.c9", "1.2.3.4.5", &"a".repeat(253)] {
            assert!(fits(text), "{text}");
        }
        for text in [
            "",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a.-b",
            "A",
            "a_b",
            "*.a",
            "1.2.3.4",
            "a:1",
            &"a".repeat(254),
        ] {
            assert!(!fits(text), "{text}");
        }
    }

    #[test]
    fn a_new_target_keeps_the_authority() {
        let mut h2 = request(b"/", None);
        h2.set_uri("https://a.test/old".parse().unwrap());
        set_target(&mut h2, "/new?x".into());
        assert_eq!(h2.uri, "https://a.test/new?x");
    }
}
