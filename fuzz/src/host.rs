//! `Host`: RFC 9110 section 7.2 by a regular expression, against the parser.

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use regex::Regex;

use crate::memory::bounded;

static AUTHORITY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:(\[([0-9A-Fa-f:.]+)\])|([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?)(?::([0-9]*))?$")
        .expect("a constant")
});

/// The value of the field.
pub fn run(data: &[u8]) {
    let read = bounded(data.len(), 4096, || proxy::fuzzing::host(data));
    assert_eq!(read, name(data), "{}", data.escape_ascii());
}

fn name(value: &[u8]) -> Option<String> {
    let parts = AUTHORITY.captures(std::str::from_utf8(value).ok()?)?;
    let port = parts.get(4).map_or("", |port| port.as_str().trim_start_matches('0'));
    let is_port = port.is_empty() || port.parse::<u16>().is_ok();
    let is_address = parts.get(2).is_none_or(|address| address.as_str().parse::<Ipv6Addr>().is_ok());
    let name = parts.get(1).or(parts.get(3))?.as_str().to_ascii_lowercase();
    (is_port && is_address).then_some(name)
}
