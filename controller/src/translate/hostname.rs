//! Host names of listeners and routes: validity, overlap, intersection.

use std::net::IpAddr;

/// What is wrong with a host name that may start with `*.`; `None` if nothing.
pub(crate) fn wildcard_problem(hostname: &str) -> Option<String> {
    precise_problem(hostname.strip_prefix("*.").unwrap_or(hostname)).map(|_| {
        format!(
            "{hostname:?} is not a host name: use lower-case letters, digits, `-` and `.`, at most one `*.` in front, \
             no IP address and no port"
        )
    })
}

/// What is wrong with a host name without wildcard; `None` if nothing.
pub(crate) fn precise_problem(hostname: &str) -> Option<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let valid =
        hostname.len() <= 253 && hostname.split('.').all(label) && hostname.parse::<IpAddr>().is_err();
    (!valid).then(|| {
        format!(
            "{hostname:?} is not a host name: use lower-case letters, digits, `-` and `.`, no wildcard, no IP \
             address and no port"
        )
    })
}

/// True when `name`, with or without wildcard, is inside `pattern`, with or without wildcard.
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        // Gateway API: "`*.example.com` would match both `test.example.com`, and `foo.test.example.com`, but
        // not `example.com`". The suffix keeps its dot, and a `*` in `name` stands for at least one label.
        Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
        None => pattern == name,
    }
}

/// What two host names have in common.
fn common<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    if covers(a, b) {
        Some(b)
    } else if covers(b, a) {
        Some(a)
    } else {
        None
    }
}

/// True when some request can belong to both; `None` is every host.
pub(crate) fn overlap(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => common(a, b).is_some(),
        _ => true,
    }
}

/// The host names a listener and a route have in common; `*` alone is every host, an empty list is none.
pub(crate) fn intersect(listener: Option<&str>, route: &[String]) -> Vec<String> {
    match listener {
        None if route.is_empty() => vec!["*".to_owned()],
        None => unique(route.iter().map(String::as_str)),
        Some(listener) if route.is_empty() => vec![listener.to_owned()],
        Some(listener) => unique(route.iter().filter_map(|hostname| common(listener, hostname))),
    }
}

fn unique<'a>(hostnames: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for hostname in hostnames {
        if !seen.iter().any(|s| s == hostname) {
            seen.push(hostname.to_owned());
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(listener: Option<&str>, route: &[&str]) -> Vec<String> {
        intersect(listener, &route.iter().map(|&h| h.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_wildcard_takes_any_number_of_labels_but_not_none() {
        assert_eq!(both(Some("*.example.com"), &["a.example.com", "a.b.example.com"]).len(), 2);
        assert!(both(Some("*.example.com"), &["example.com", "badexample.com", "example.net"]).is_empty());
    }

    #[test]
    fn the_more_specific_of_two_wildcards_is_what_they_have_in_common() {
        assert_eq!(
            both(Some("*.example.com"), &["*.a.example.com", "*.com"]),
            ["*.a.example.com", "*.example.com"]
        );
        assert!(both(Some("*.a.example.com"), &["*.b.example.com"]).is_empty());
    }

    #[test]
    fn a_precise_listener_narrows_a_wildcard_route() {
        assert_eq!(both(Some("a.example.com"), &["*.example.com", "a.example.com"]), ["a.example.com"]);
    }

    #[test]
    fn no_host_name_on_either_side_is_every_host() {
        assert_eq!(both(None, &[]), ["*"]);
        assert_eq!(both(Some("a.b"), &[]), ["a.b"]);
        assert_eq!(both(None, &["a.b", "a.b"]), ["a.b"]);
    }

    #[test]
    fn addresses_ports_and_upper_case_are_not_host_names() {
        for bad in
            ["10.0.0.1", "example.com:80", "Example.com", "*", "*.*.com", "a..b", "-a.b", "", "a.*.b", "::1"]
        {
            assert!(wildcard_problem(bad).is_some(), "{bad}");
        }
        for good in ["example.com", "*.example.com", "localhost", "*.com", "a-1.b2"] {
            assert!(wildcard_problem(good).is_none(), "{good}");
        }
        assert!(precise_problem("*.example.com").is_some());
    }
}
