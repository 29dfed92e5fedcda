//! Header field changes, as the request and the response modifier share them (HTTPHeaderFilter).

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::head::Host;
use crate::{Invalid, Request, Response};

/// One header field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderField {
    /// Name, in any case.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Fields to set (replace), add (append) and remove. Gateway API: "Only one action for a given header name is
/// permitted", so the order of the three does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderEdits {
    /// Fields that replace all of that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HeaderField>,
    /// Fields added to those of that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<HeaderField>,
    /// Names removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// Fields that belong to one connection or frame the message: the proxy's own business (RFC 9110 §7.6.1, RFC 9112 §6).
pub(crate) const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Which head is changed: only a request has a host, and that can be set but neither doubled nor removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// What is to be changed.
pub(crate) struct Lists<'a> {
    pub(crate) set: &'a [HeaderField],
    pub(crate) add: &'a [HeaderField],
    pub(crate) add_if_absent: &'a [HeaderField],
    pub(crate) remove: &'a [String],
}

/// Compiled [`Lists`].
#[derive(Debug, Default)]
pub(crate) struct Edits {
    host: Option<Host>,
    set: Box<[(Name, HeaderValue)]>,
    add: Box<[(Name, HeaderValue)]>,
    add_if_absent: Box<[(HeaderName, Name, HeaderValue)]>,
    remove: Box<[HeaderName]>,
}

/// A name as the user wrote it: HTTP/1 keeps the case, and cloning it costs no allocation.
type Name = Bytes;

/// What both kinds of head can do; their inherent methods keep Pingora's map of name cases in step.
pub(crate) trait Head {
    fn set_host(&mut self, host: &Host);
    fn insert(&mut self, name: Name, value: HeaderValue);
    fn append(&mut self, name: Name, value: HeaderValue);
    fn remove(&mut self, name: &HeaderName);
    fn has(&self, name: &HeaderName) -> bool;
}

macro_rules! head {
    ($type:ty, $set_host:expr) => {
        // Names and values are parsed already, so what is left to fail is a map of 32,768 fields; heads are capped long
        // before, and a field too many is then left out.
        impl Head for $type {
            fn set_host(&mut self, host: &Host) {
                let set: fn(&Host, &mut Self) = $set_host;
                set(host, self);
            }
            fn insert(&mut self, name: Name, value: HeaderValue) {
                let _ = self.insert_header(name, value);
            }
            fn append(&mut self, name: Name, value: HeaderValue) {
                let _ = self.append_header(name, value);
            }
            fn remove(&mut self, name: &HeaderName) {
                self.remove_header(name);
            }
            fn has(&self, name: &HeaderName) -> bool {
                self.headers.contains_key(name)
            }
        }
    };
}
head!(Request, Host::apply);
head!(Response, |_, _| {});

impl Edits {
    /// # Errors
    /// A name or value that cannot be sent, a name the proxy must keep to itself, or two actions for one name.
    pub(crate) fn compile(edits: &HeaderEdits, side: Side) -> Result<Self, Invalid> {
        let HeaderEdits { set, add, remove } = edits;
        Self::compile_lists(&Lists { set, add, add_if_absent: &[], remove }, side)
    }

    /// # Errors
    /// As [`compile`](Self::compile).
    pub(crate) fn compile_lists(edits: &Lists<'_>, side: Side) -> Result<Self, Invalid> {
        let mut seen = HashMap::new();
        let mut host = None;
        if side == Side::Request
            && let Some((index, field)) =
                edits.set.iter().enumerate().find(|(_, f)| f.name.eq_ignore_ascii_case("host"))
        {
            host =
                Some(Host::compile(&format!("set[{index}].value"), field.value.trim_matches([' ', '\t']))?);
        }
        let set = compile_fields("set", edits.set, host.is_some(), &mut seen)?;
        let add = compile_fields("add", edits.add, false, &mut seen)?;
        let absent = compile_fields("addIfAbsent", edits.add_if_absent, false, &mut seen)?;
        let parsed =
            |(name, value): (Name, HeaderValue)| Some((HeaderName::from_bytes(&name).ok()?, name, value));
        let add_if_absent = absent.into_iter().filter_map(parsed).collect();
        let mut remove = Vec::with_capacity(edits.remove.len());
        for (index, text) in edits.remove.iter().enumerate() {
            let field = format!("remove[{index}]");
            let name = name(&field, text)?;
            if once("remove", &field, &name, &mut seen)? {
                remove.push(name);
            }
        }
        Ok(Self { host, set, add, add_if_absent, remove: remove.into() })
    }

    pub(crate) fn apply(&self, head: &mut impl Head) {
        if let Some(host) = &self.host {
            head.set_host(host);
        }
        for (name, value) in &self.set {
            head.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            head.append(name.clone(), value.clone());
        }
        for (parsed, name, value) in &self.add_if_absent {
            if !head.has(parsed) {
                head.append(name.clone(), value.clone());
            }
        }
        for name in &self.remove {
            head.remove(name);
        }
    }
}

type Seen = HashMap<HeaderName, &'static str>;

fn compile_fields(
    action: &'static str,
    fields: &[HeaderField],
    skip_host: bool,
    seen: &mut Seen,
) -> Result<Box<[(Name, HeaderValue)]>, Invalid> {
    let mut compiled = Vec::with_capacity(fields.len());
    for (index, HeaderField { name: text, value }) in fields.iter().enumerate() {
        if skip_host && text.eq_ignore_ascii_case("host") {
            continue;
        }
        let field = format!("{action}[{index}].name");
        let name = name(&field, text)?;
        let value = self::value(&format!("{action}[{index}].value"), value)?;
        if once(action, &field, &name, seen)? {
            compiled.push((Bytes::from(text.clone()), value));
        }
    }
    Ok(compiled.into())
}

/// Whether this is the first entry for `name`. Gateway API: of one list "subsequent entries with an equivalent header
/// name MUST be ignored"; "multiple actions of the same or different type for any one header name are invalid".
fn once(action: &'static str, field: &str, name: &HeaderName, seen: &mut Seen) -> Result<bool, Invalid> {
    match seen.insert(name.clone(), action) {
        None => Ok(true),
        Some(earlier) if earlier == action => Ok(false),
        Some(earlier) => Err(Invalid::field(
            field,
            format!("{name} is also in `{earlier}`; keep one action per header name (Gateway API)"),
        )),
    }
}

pub(crate) fn name(field: &str, text: &str) -> Result<HeaderName, Invalid> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Invalid::field(
            field,
            format!("{text:?} is not a header name: use letters, digits and - (RFC 9110 token)"),
        )
    })?;
    if RESERVED.contains(&name.as_str()) {
        let remedy = match name.as_str() {
            "host" => "a request's host can be changed with `set` or a URLRewrite hostname",
            _ => "leave it out",
        };
        return Err(Invalid::field(
            field,
            format!(
                "{name} frames the message or belongs to the connection, and only the proxy may change it; {remedy}"
            ),
        ));
    }
    Ok(name)
}

fn value(field: &str, text: &str) -> Result<HeaderValue, Invalid> {
    // RFC 9110 §5.5: whitespace around a value is not part of it.
    let text = text.trim_matches([' ', '\t']);
    match HeaderValue::from_str(text) {
        Ok(value) if !text.is_empty() => Ok(value),
        Ok(_) => Err(Invalid::field(field, "is empty; give a value, or name the header in `remove`")),
        Err(_) => Err(Invalid::field(
            field,
            format!("{text:?} is not a header value: use printable ASCII characters"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(pairs: &[(String, String)]) -> Vec<HeaderField> {
        pairs.iter().map(|(name, value)| HeaderField { name: name.clone(), value: value.clone() }).collect()
    }

    fn values(head: &Response, name: &str) -> Vec<String> {
        head.headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect()
    }

    fn head(pairs: &[(String, String)]) -> Response {
        let mut head = Response::build(200, None).unwrap();
        for (name, value) in pairs {
            head.append_header(name.clone(), value.as_str()).unwrap();
        }
        head
    }

    proptest! {
        /// Few names, in mixed case, so that edits meet fields that are there.
        #[test]
        fn set_replaces_add_appends_remove_removes_and_nothing_else_changes(
            before in prop::collection::vec(("[xX]-[a-f]", "[a-z]{1,3}"), 0..8),
            set in prop::collection::vec(("[xX]-[ab]", "[a-z]{1,3}"), 0..3),
            add in prop::collection::vec(("[xX]-[cd]", "[a-z]{1,3}"), 0..3),
            remove in prop::collection::vec("[xX]-e", 0..3),
        ) {
            let edits = HeaderEdits { set: fields(&set), add: fields(&add), remove: remove.clone() };
            let original = head(&before);
            let mut changed = original.clone();
            Edits::compile(&edits, Side::Response).unwrap().apply(&mut changed);

            for name in ["x-a", "x-b", "x-c", "x-d", "x-e", "x-f"] {
                let first = |list: &[(String, String)]| {
                    list.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
                };
                let mut want = values(&original, name);
                if let Some(value) = first(&set) {
                    want = vec![value];
                }
                want.extend(first(&add));
                if remove.iter().any(|n| n.eq_ignore_ascii_case(name)) {
                    want.clear();
                }
                prop_assert_eq!(values(&changed, name), want, "{}", name);
            }
            // The map of name cases has kept step: writing the head would panic otherwise.
            changed.map(|_, _| Ok(())).unwrap();
        }

        #[test]
        fn no_text_makes_compiling_panic_or_forges_a_field(name in ".{0,12}", value in ".{0,12}") {
            let edits = HeaderEdits { set: fields(&[(name, value)]), ..HeaderEdits::default() };
            if let Ok(edits) = Edits::compile(&edits, Side::Response) {
                let mut changed = head(&[]);
                edits.apply(&mut changed);
                prop_assert_eq!(changed.headers.len(), 1);
                let mut wire = Vec::new();
                changed.header_to_h1_wire(&mut wire);
                prop_assert_eq!(wire.iter().filter(|b| **b == b'\n').count(), 1);
            }
        }
    }
}
