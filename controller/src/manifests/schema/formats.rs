//! Forms of strings. A format is a check and what to write instead: a regular expression is no remedy.

/// A form that a string must have.
#[derive(Debug)]
pub(in crate::manifests) struct Format {
    /// Whether a string has it.
    pub(in crate::manifests) accepts: fn(&str) -> bool,
    /// The form in words, after "must be".
    pub(in crate::manifests) form: &'static str,
}

macro_rules! formats {
    ($( $name:ident: $form:literal, $accepts:expr; )*) => { $(
        pub(in crate::manifests) static $name: Format = Format { accepts: $accepts, form: $form };
    )* };
}

formats! {
    LABEL: "lower-case letters, digits and `-`, with a letter or digit at both ends", is_label;
    SUBDOMAIN: "lower-case letters, digits, `-` and `.`, with a letter or digit at both ends of each part", is_subdomain;
    SERVICE_NAME: "lower-case letters, digits and `-`, with a letter first and a letter or digit last", is_service_name;
    HOSTNAME: "a lower-case DNS name such as `example.com` or `*.example.com`, no IP address and no port", is_hostname;
    EXACT_HOSTNAME: "a lower-case DNS name such as `example.com`, without `*`, and no port", is_exact_hostname;
    GROUP: "an API group such as `gateway.networking.k8s.io`, or empty for the core group", |s| s.is_empty() || is_subdomain(s);
    KIND: "a kind such as `Service`: letters, digits and `-`, with a letter first", is_kind;
    HEADER_NAME: "a header name: letters, digits and any of !#$%&'*+-.^_`|~", is_token;
    HEADER_VALUE: "visible ASCII characters with single blanks between, none at the ends", is_header_value;
    DURATION: "a duration: up to four groups of up to five digits and h, m, s or ms, such as `10s` or `1m30s` (GEP-2257)", is_duration;
    ORIGIN: "`*`, or scheme://host[:port] with http or https, such as `https://*.example.com`", is_origin;
    CONTROLLER_NAME: "a domain, `/` and a path, such as `fairway.dev/controller`", is_domain_path;
    PROTOCOL: "`HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP` or domain/name", is_protocol;
    ADDRESS_TYPE: "`IPAddress`, `Hostname`, `NamedAddress` or domain/name", is_address_type;
    CA_SET: "`System` or domain/name", is_ca_set;
    URI: "a URI with a scheme, such as `spiffe://example.com/ns/shop`", is_uri;
    LABEL_VALUE: "at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends, or empty", is_label_value;
    QUALIFIED_NAME: "[domain/]name, the name at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends", is_qualified_name;
    BASE64: "base64 (write plain text under `stringData` instead)", is_base64;
    TIMESTAMP: "a time such as `2026-01-31T12:00:00Z` (RFC 3339)", is_timestamp;
    IP: "an IPv4 or IPv6 address", |s| s.parse::<std::net::IpAddr>().is_ok();
    CONFIG_KEY: "at most 253 letters, digits, `-`, `_` and `.`", is_config_key;
    PATH_CHARS: "letters, digits, any of /._~!$&'()*+,;=:@- and %XX", is_path;
    PORT_NAME: "at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends", |s| s.is_empty() || (s.len() <= 63 && is_label(s));
}

fn is_lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
pub(super) fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| is_lower(*b))
        && bytes.last().is_some_and(|b| is_lower(*b))
        && bytes.iter().all(|b| is_lower(*b) || *b == b'-')
}

fn is_service_name(text: &str) -> bool {
    is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.len() <= 63
}

pub(super) fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_exact_hostname(text: &str) -> bool {
    // The pattern alone takes an IPv4 address; the API says "IPs are not allowed".
    is_subdomain(text) && text.parse::<std::net::Ipv4Addr>().is_err()
}

fn is_hostname(text: &str) -> bool {
    is_exact_hostname(text.strip_prefix("*.").unwrap_or(text))
}

fn is_kind(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// RFC 9110 `token`.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_header_value(text: &str) -> bool {
    let is_blank = |b: u8| matches!(b, b' ' | b'\t');
    let bytes = text.as_bytes();
    bytes.iter().all(|b| b.is_ascii_graphic() || is_blank(*b))
        && bytes.first().is_some_and(u8::is_ascii_graphic)
        && bytes.last().is_some_and(u8::is_ascii_graphic)
        && !bytes.array_windows().any(|[a, b]| is_blank(*a) && is_blank(*b))
}

fn is_duration(text: &str) -> bool {
    text.parse::<policies::Duration>().is_ok()
}

fn is_origin(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    let is_port = |p: &str| !p.is_empty() && p.len() <= 5 && p.bytes().all(|b| b.is_ascii_digit());
    let labels = host.strip_prefix("*.").unwrap_or(host);
    let is_host = |h: &str| {
        h.split('.')
            .all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    };
    port.is_none_or(is_port) && (host == "*" || is_host(labels))
}

fn is_domain_path(text: &str) -> bool {
    let Some((domain, path)) = text.split_once('/') else { return false };
    is_subdomain(domain)
        && !path.is_empty()
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b))
}

fn is_protocol(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => {
            is_subdomain(domain) && !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())
        }
        None => {
            let bytes = text.as_bytes();
            bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
                && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
                && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        }
    }
}

fn is_address_type(text: &str) -> bool {
    matches!(text, "Hostname" | "IPAddress" | "NamedAddress") || is_domain_path(text)
}

fn is_ca_set(text: &str) -> bool {
    text == "System"
        || text.split_once('/').is_some_and(|(domain, name)| is_subdomain(domain) && is_name(name))
}

fn is_uri(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| !scheme.is_empty() && !scheme.contains(['/', '?', '#']))
}

/// The name part of label and annotation keys.
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => prefix.len() <= 253 && is_subdomain(prefix) && is_name(name),
        None => is_name(text),
    }
}

fn is_base64(text: &str) -> bool {
    // Line breaks are allowed, as Go's decoder does.
    let mut length = 0usize;
    let mut padding = 0usize;
    for b in text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')) {
        length += 1;
        match b {
            b'=' => padding += 1,
            _ if padding == 0 && (b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')) => {}
            _ => return false,
        }
    }
    length.is_multiple_of(4) && padding <= 2
}

fn is_timestamp(text: &str) -> bool {
    text.parse::<k8s_openapi::jiff::Timestamp>().is_ok()
}

fn is_config_key(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && !matches!(text, "." | "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn is_path(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        let is_escape = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_hexdigit());
        let is_good = match b {
            b'%' => is_escape(bytes.next()) && is_escape(bytes.next()),
            _ => b.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&b),
        };
        if !is_good {
            return false;
        }
    }
    !text.is_empty()
}
