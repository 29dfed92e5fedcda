//! Settings as leaves: what is merged and compared, one by one.

use std::collections::BTreeMap;

use policies::client_traffic::ClientTraffic;
use serde_json::{Map, Value};

/// By path: `timeout.http.idleTimeout`. A leaf is a scalar, a list, one of [`WHOLE`], or an empty group of [`SWITCHES`].
pub(super) type Leaves = BTreeMap<String, Value>;

/// Groups that are one value: parts of two would be a third that nobody wrote.
const WHOLE: [&str; 3] = ["clientIPDetection", "proxyProtocol", "tls.session.resumption"];

/// Groups that say something even when they are empty.
const SWITCHES: [&str; 1] = ["tcpKeepalive"];

pub(super) fn leaves(traffic: &ClientTraffic) -> Leaves {
    let mut leaves = Leaves::new();
    if let Ok(Value::Object(fields)) = serde_json::to_value(traffic) {
        take(fields, "", &mut leaves);
    }
    leaves
}

fn take(fields: Map<String, Value>, at: &str, leaves: &mut Leaves) {
    for (name, value) in fields {
        let path = if at.is_empty() { name } else { format!("{at}.{name}") };
        match value {
            Value::Object(fields) if !WHOLE.contains(&path.as_str()) => {
                if fields.is_empty() && SWITCHES.contains(&path.as_str()) {
                    leaves.insert(path.clone(), Value::Object(Map::new()));
                }
                take(fields, &path, leaves);
            }
            leaf @ (Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)) => drop(leaves.insert(path, leaf)),
        }
    }
}

/// The settings that leaves say.
pub(super) fn assemble<'v>(
    leaves: impl Iterator<Item = (&'v str, &'v Value)>,
) -> Result<ClientTraffic, serde_json::Error> {
    let mut fields = Map::new();
    leaves.for_each(|(path, value)| put(&mut fields, path, value));
    serde_json::from_value(Value::Object(fields))
}

fn put(fields: &mut Map<String, Value>, path: &str, value: &Value) {
    match path.split_once('.') {
        Some((group, rest)) => {
            let group = fields.entry(group).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(fields) = group {
                put(fields, rest, value);
            }
        }
        // An empty group beside leaves of it says nothing more.
        None => drop(fields.entry(path).or_insert_with(|| value.clone())),
    }
}

/// Whether a path is a field or lies below it.
pub(super) fn is_under(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The first part of a path, or of a problem that begins with one.
pub(super) fn group(path: &str) -> &str {
    path.split(['.', ':']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_apart_can_be_put_together_again() {
        let text = r#"{
            "clientIPDetection": {"xForwardedFor": {"numTrustedHops": 2}},
            "proxyProtocol": {"optional": true},
            "timeout": {"http": {"idleTimeout": "5s"}},
            "tcpKeepalive": {},
            "tls": {"alpnProtocols": ["h2"], "session": {"resumption": {"stateless": {}}}}
        }"#;
        let traffic: ClientTraffic = serde_json::from_str(text).unwrap();
        let leaves = leaves(&traffic);
        let paths: Vec<&str> = leaves.keys().map(String::as_str).collect();
        let wanted = [
            "clientIPDetection",
            "proxyProtocol",
            "tcpKeepalive",
            "timeout.http.idleTimeout",
            "tls.alpnProtocols",
            "tls.session.resumption",
        ];
        assert_eq!(paths, wanted);
        let again = assemble(leaves.iter().map(|(path, value)| (path.as_str(), value))).unwrap();
        assert_eq!(again, traffic);
        assert!(
            super::leaves(&serde_json::from_str(r#"{"tls": {}, "timeout": {"tcp": {}}}"#).unwrap())
                .is_empty()
        );
    }
}
