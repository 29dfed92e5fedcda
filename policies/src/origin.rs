//! Origins as a user lists them and as a browser sends them.

use crate::{Invalid, Scheme};

/// Which origins are allowed.
#[derive(Debug)]
pub(crate) enum Origins {
    Any,
    Listed(Box<[Pattern]>),
}

/// One listed origin.
#[derive(Debug)]
pub(crate) struct Pattern {
    scheme: Scheme,
    host: HostPattern,
    port: u16,
}

#[derive(Debug)]
enum HostPattern {
    Any,
    Exact(Box<str>),
    /// `*.example.com`, kept as `.example.com`: any number of labels before it, and at least one.
    Below(Box<str>),
}

/// An origin's parts; `host` may be in upper case.
struct Parts<'a> {
    scheme: Scheme,
    host: &'a str,
    port: u16,
}

impl Origins {
    /// The origins of a field of this name.
    ///
    /// # Errors
    /// When an origin has not the form Gateway API gives CORSOrigin.
    pub(crate) fn compile(field: &str, origins: &[String]) -> Result<Self, Invalid> {
        if origins.iter().any(|origin| origin == "*") {
            return Ok(Self::Any);
        }
        let listed = origins.iter().enumerate().map(|(index, origin)| {
            Pattern::parse(origin).ok_or_else(|| {
                Invalid::field(
                    format!("{field}[{index}]"),
                    format!(
                        "{origin:?} is not an origin: write *, https://example.com, https://*.example.com or \
                         http://example.com:8080 (http or https, no path)"
                    ),
                )
            })
        });
        Ok(Self::Listed(listed.collect::<Result<_, _>>()?))
    }

    pub(crate) fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(patterns) => {
                parse(origin).is_some_and(|origin| patterns.iter().any(|pattern| pattern.matches(&origin)))
            }
        }
    }
}

/// True when `origin` is that of a site reached as `authority` over a connection of this scheme.
///
/// An origin may be `https` where the connection is not: TLS may have ended in front of us. Not the other way around, for
/// a page that came in plain text may be anybody's.
pub(crate) fn is_own(origin: &str, scheme: Scheme, authority: &str) -> bool {
    let own = |scheme: Scheme| {
        let own = format!("{}://{authority}", scheme.as_str());
        parse(origin).zip(parse(&own)).is_some_and(|(origin, own)| {
            origin.scheme == own.scheme
                && origin.port == own.port
                && is_host(own.host)
                && own.host.eq_ignore_ascii_case(origin.host)
        })
    };
    own(Scheme::Https) || (scheme == Scheme::Http && own(Scheme::Http))
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let Parts { scheme, host, port } = parse(text)?;
        let host = match host.strip_prefix('*') {
            Some("") => HostPattern::Any,
            Some(parent) if parent.starts_with('.') && is_name(parent.get(1..)?) => {
                HostPattern::Below(parent.to_ascii_lowercase().into())
            }
            None if is_host(host) => HostPattern::Exact(host.to_ascii_lowercase().into()),
            _ => return None,
        };
        Some(Self { scheme, host, port })
    }

    fn matches(&self, origin: &Parts<'_>) -> bool {
        // A host with anything but host characters could end like an allowed one: `evil.test/.example.com`.
        self.scheme == origin.scheme
            && self.port == origin.port
            && is_host(origin.host)
            && match &self.host {
                HostPattern::Any => true,
                HostPattern::Exact(host) => host.eq_ignore_ascii_case(origin.host),
                HostPattern::Below(parent) => origin
                    .host
                    .len()
                    .checked_sub(parent.len())
                    .and_then(|labels| origin.host.split_at_checked(labels))
                    .is_some_and(|(labels, tail)| !labels.is_empty() && parent.eq_ignore_ascii_case(tail)),
            }
    }
}

/// Splits `scheme://host[:port]`. Gateway API: "if not included, port `80` is assumed for `http` scheme origins, and
/// port `443` is assumed for `https` origins."
fn parse(origin: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = origin.split_once("://")?;
    let scheme =
        [Scheme::Http, Scheme::Https].into_iter().find(|s| s.as_str().eq_ignore_ascii_case(scheme))?;
    let end = if rest.starts_with('[') { rest.find(']')? + 1 } else { rest.find(':').unwrap_or(rest.len()) };
    let (host, port) = rest.split_at_checked(end)?;
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => scheme.default_port(),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0)?
        }
        _ => return None,
    };
    Some(Parts { scheme, host, port })
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_name(host),
    }
}

fn is_name(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against another parser: what is allowed is a URI whose host is listed.
        #[test]
        fn an_allowed_origin_has_a_listed_host(origin in r"https://[a-c.@:/\\?#%*-]{0,3}(\.b\.test|a\.test|\.test)") {
            let listed = ["https://a.test".to_owned(), "https://*.b.test".to_owned()];
            if Origins::compile("allowOrigins", &listed).unwrap().allow(&origin) {
                let uri: http::Uri = origin.parse().unwrap();
                let host = uri.host().unwrap();
                prop_assert!(host == "a.test" || (host.ends_with(".b.test") && host.len() > 7), "{}", origin);
                prop_assert!(!uri.authority().unwrap().as_str().contains('@'));
            }
        }
    }

    fn allows(listed: &str, origin: &str) -> bool {
        Origins::compile("allowOrigins", &[listed.into()]).unwrap().allow(origin)
    }

    #[test]
    fn a_wildcard_reaches_to_the_left_over_any_number_of_labels() {
        for (listed, origin, want) in [
            ("https://*.bar.com", "https://www.bar.com", true),
            ("https://*.bar.com", "https://xpto.www.bar.com", true),
            ("https://*.bar.com", "https://WWW.Bar.com", true),
            ("https://*.bar.com", "https://bar.com", false),
            ("https://*.bar.com", "https://.bar.com", false),
            ("https://*.bar.com", "https://foobar.com", false),
            ("https://*.bar.com", "https://www.bar.com.evil.test", false),
            ("https://*.bar.com", "https://evil.test/.bar.com", false),
            ("https://*.bar.com", "https://evil.test?.bar.com", false),
            ("https://*.bar.com", "https://evil.test@www.bar.com", false),
            ("https://*.bar.com", "http://www.bar.com", false),
            ("https://*.bar.com", "https://www.bar.com:8443", false),
            ("https://*", "https://anything.test", true),
            ("https://*", "https://[::1]", true),
            ("https://*", "https://anything.test:8443", false),
            ("https://*:8443", "https://anything.test:8443", true),
            ("https://*", "null", false),
            ("https://foo.com", "https://foo.com:443", true),
            ("https://foo.com:443", "https://foo.com", true),
            ("http://foo.com", "http://foo.com:80", true),
            ("http://foo.com:8080", "http://foo.com", false),
            ("https://foo.com", "https://foo.com/", false),
            ("https://foo.com", "https://foo.com:", false),
            ("https://foo.com", "https://foo.com:0443443", false),
            ("*", "null", true),
            ("*", "capacitor://localhost", true),
        ] {
            assert_eq!(allows(listed, origin), want, "{listed} and {origin}");
        }
    }

    #[test]
    fn an_origin_is_ones_own_when_host_and_port_are_and_it_is_not_less_safe() {
        use Scheme::{Http, Https};
        for (origin, scheme, authority, want) in [
            ("https://a.test", Https, "a.test", true),
            ("https://A.test", Https, "a.Test:443", true),
            ("https://a.test:8443", Https, "a.test:8443", true),
            ("https://a.test", Http, "a.test", true),
            ("http://a.test", Http, "a.test", true),
            ("http://a.test", Http, "a.test:80", true),
            ("http://a.test", Https, "a.test", false),
            ("http://a.test", Http, "a.test:8080", false),
            ("https://a.test:8443", Https, "a.test", false),
            ("https://b.test", Https, "a.test", false),
            ("https://a.test.b.test", Https, "a.test", false),
            ("https://[::1]:8080", Https, "[::1]:8080", true),
            ("https://[::1]8080", Https, "[::1]", false),
            ("https://a.test:+443", Https, "a.test", false),
            ("null", Https, "a.test", false),
            ("null", Https, "", false),
            ("", Https, "", false),
            ("https://", Https, "", false),
            ("https://a.test/", Https, "a.test/", false),
            ("https://u@a.test", Https, "u@a.test", false),
        ] {
            assert_eq!(
                is_own(origin, scheme, authority),
                want,
                "{origin} of {} {authority}",
                scheme.as_str()
            );
        }
    }

    #[test]
    fn no_origins_allow_nothing() {
        assert!(!Origins::compile("allowOrigins", &[]).unwrap().allow("https://foo.com"));
    }
}
