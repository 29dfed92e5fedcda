//! Resources and rejections as they travel.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::TYPE_URL;
use super::proto::{Any, DeltaResponse, Json, Status, Wrapped};
use crate::{Key, Rejection, Resource, Severity};

/// Type of the details of a NACK.
const REJECTION_URL: &str = "type.googleapis.com/fairway.dev.config.v1alpha1.Rejection";
/// A body over this is not sent. Kubernetes bounds an object to 1.5 MiB.
pub(crate) const MAX_BODY: usize = 16 << 20;
/// A response is closed once it is this large, so it is at most this and one body. The stream keeps a buffer of about
/// that size, for every proxy.
pub(crate) const RESPONSE: usize = 128 << 10;
/// What a proxy takes at once.
pub(crate) const MAX_RESPONSE: usize = MAX_BODY + RESPONSE + (64 << 10);
/// What the controller takes at once: the versions of 100,000 resources.
pub(crate) const MAX_REQUEST: usize = 32 << 20;
/// Rejections told one by one; the rest is counted.
const MAX_REJECTIONS: usize = 1000;
/// Bytes of one rejection's message.
const MAX_MESSAGE: usize = 1024;
/// `google.rpc.Code.INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;

/// A resource with its bytes, which are made once, when the first proxy needs them, and shared by all.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) resource: Arc<Resource>,
    bytes: OnceLock<Encoded>,
}

/// Version and body of a resource.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) version: String,
    body: Bytes,
}

impl Entry {
    pub(crate) fn new(key: Key, resource: Arc<Resource>) -> Self {
        Self { key, resource, bytes: OnceLock::new() }
    }

    pub(crate) fn encoded(&self) -> &Encoded {
        self.bytes.get_or_init(|| encode(&self.resource))
    }

    /// For a response; `Err` when it is too large to be sent.
    pub(crate) fn wrap(&self) -> Result<Wrapped, Rejection> {
        let Encoded { version, body } = self.encoded();
        if body.len() > MAX_BODY {
            return Err(Rejection {
                key: self.key.clone(),
                severity: Severity::Refused,
                message: format!(
                    "has {} bytes, which is over the {MAX_BODY} that are sent to proxies; split it",
                    body.len()
                ),
            });
        }
        let resource = Some(Any { type_url: TYPE_URL.into(), value: body.clone() });
        Ok(Wrapped { version: version.clone(), resource, name: self.key.to_string() })
    }
}

fn encode(resource: &Resource) -> Encoded {
    // Resources are plain data with text as map keys, for which JSON cannot fail; were it to, proxies would reject an
    // empty body by name.
    let json = serde_json::to_vec(resource).unwrap_or_default();
    Encoded { version: version(&json), body: Json { json: json.into() }.encode_to_vec().into() }
}

/// The version of a body: the same in every process, whatever its history.
fn version(json: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, json);
    // 96 bits: nobody forges what only the controller writes, and versions travel with each reconnect.
    digest.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// A resource out of a response, or the name of what cannot be used and why.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) name: String,
    pub(crate) version: Box<str>,
    pub(crate) resource: Result<(Key, Arc<Resource>), String>,
}

/// Reads the resources of a response, each by itself. Takes milliseconds for a full one.
pub(crate) fn decode(response: DeltaResponse) -> (Vec<Decoded>, Vec<String>) {
    let decoded = response.resources.into_iter().map(|wrapped| {
        let Wrapped { version, resource, name } = wrapped;
        let resource = read(&name, resource);
        Decoded { name, version: version.into(), resource }
    });
    (decoded.collect(), response.removed)
}

fn read(name: &str, wrapped: Option<Any>) -> Result<(Key, Arc<Resource>), String> {
    let newer = "is the proxy older than the controller?";
    let key: Key =
        name.parse().map_err(|_| format!("this proxy knows no resource of such a name; {newer}"))?;
    let any = wrapped.ok_or("has no body")?;
    if any.type_url != TYPE_URL {
        return Err(format!("has type {:?}; this proxy reads {TYPE_URL}", any.type_url));
    }
    let body = Json::decode(any.value).map_err(|error| format!("cannot be read: {error}"))?;
    let resource: Resource =
        serde_json::from_slice(&body.json).map_err(|error| format!("cannot be read: {error}; {newer}"))?;
    if key.kind != resource.kind() {
        return Err(format!("holds a {}", resource.kind().as_str()));
    }
    Ok((key, Arc::new(resource)))
}

/// A rejection as it travels: its name is text, because a proxy also rejects names it cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) severity: Severity,
    pub(crate) message: String,
}

impl From<&Rejection> for Named {
    fn from(rejection: &Rejection) -> Self {
        Self {
            name: rejection.key.to_string(),
            severity: rejection.severity,
            message: rejection.message.clone(),
        }
    }
}

/// What a NACK says; `None`, an ACK, when nothing is rejected.
pub(crate) fn error_detail(rejections: &[Named]) -> Option<Status> {
    let first = rejections.first()?;
    let more = match rejections.len() {
        1 => String::new(),
        all => format!(" (and {} more)", all - 1),
    };
    let details = rejections.iter().take(MAX_REJECTIONS).map(|rejection| {
        let mut rejection = rejection.clone();
        shorten(&mut rejection.message);
        // Text and an enum have a JSON form.
        let json = serde_json::to_vec(&rejection).unwrap_or_default();
        Any { type_url: REJECTION_URL.into(), value: Json { json: json.into() }.encode_to_vec().into() }
    });
    let mut message = format!("{}: {}{more}", first.name, first.message);
    shorten(&mut message);
    Some(Status { code: INVALID_ARGUMENT, message, details: details.collect() })
}

fn shorten(message: &mut String) {
    if message.len() > MAX_MESSAGE {
        let end = message.floor_char_boundary(MAX_MESSAGE);
        message.truncate(end);
        message.push('…');
    }
}

/// The rejections of a NACK, by key. What a proxy says is not trusted to be well-formed.
pub(crate) fn rejections(detail: Option<&Status>) -> Vec<Rejection> {
    let Some(detail) = detail else { return Vec::new() };
    let named = detail.details.iter().take(MAX_REJECTIONS).filter(|any| any.type_url == REJECTION_URL);
    let named = named.filter_map(|any| {
        let body = Json::decode(any.value.clone()).ok()?;
        let Named { name, severity, mut message } = serde_json::from_slice(&body.json).ok()?;
        shorten(&mut message);
        Some(Rejection { key: name.parse().ok()?, severity, message })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, Kind};

    fn entry() -> Entry {
        let backend = Backend { max_connections: Some(3), ..Backend::default() };
        Entry::new(Key::new(Kind::Backend, "n", "a:80"), Arc::new(Resource::Backend(backend)))
    }

    fn response(wrapped: Wrapped) -> DeltaResponse {
        DeltaResponse { resources: vec![wrapped], ..DeltaResponse::default() }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let entry = entry();
        let (decoded, _) = decode(response(entry.wrap().unwrap()));
        let [decoded] = <[Decoded; 1]>::try_from(decoded).unwrap();
        assert_eq!(*decoded.version, entry.encoded().version);
        assert_eq!(decoded.resource, Ok((entry.key, entry.resource)));
    }

    #[test]
    fn a_version_is_that_of_the_content_for_ever() {
        // Resuming over restarts and releases rests on this.
        assert_eq!(version(b"{}"), "44136fa355b3678a1146ad16");
    }

    #[test]
    fn what_cannot_be_read_is_rejected_by_name() {
        let good = entry().wrap().unwrap();
        let body = |json: &'static [u8]| {
            let value = Json { json: Bytes::from_static(json) }.encode_to_vec().into();
            Some(Any { type_url: TYPE_URL.into(), value })
        };
        let cases = [
            Wrapped { name: "Teapot/n/a".into(), ..good.clone() },
            Wrapped { resource: None, ..good.clone() },
            Wrapped { resource: Some(Any { type_url: "other".into(), value: Bytes::new() }), ..good.clone() },
            Wrapped { name: "Endpoints/n/a:80".into(), ..good.clone() },
            Wrapped { resource: body(b"{\"kind\":\"Backend\",\"teapot\":1}"), ..good.clone() },
            Wrapped { resource: body(b""), ..good },
        ];
        for wrapped in cases {
            let name = wrapped.name.clone();
            let (decoded, _) = decode(response(wrapped));
            assert_eq!(decoded[0].name, name);
            assert!(decoded[0].resource.is_err(), "{decoded:?}");
        }
    }

    #[test]
    fn rejections_travel_as_details_and_as_text() {
        let rejection = |name: &str, message: String| Rejection {
            key: Key::new(Kind::HttpRoute, "n", name),
            severity: Severity::Degraded,
            message,
        };
        let told = [rejection("a", "rule 0: bad regex".into()), rejection("b", "é".repeat(MAX_MESSAGE))];
        let named: Vec<Named> = told.iter().map(Named::from).collect();
        let detail = error_detail(&named).unwrap();
        assert_eq!(detail.message, "HttpRoute/n/a: rule 0: bad regex (and 1 more)");
        let heard = rejections(Some(&detail));
        assert_eq!(heard[0], told[0]);
        assert!(heard[1].message.len() <= MAX_MESSAGE + "…".len() && heard[1].message.ends_with('…'));
        assert_eq!(error_detail(&[]), None);
        let junk = Status {
            details: vec![Any { type_url: REJECTION_URL.into(), value: Bytes::from_static(b"\xff") }],
            ..detail
        };
        assert!(rejections(Some(&junk)).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(name in ".{0,60}", body: Vec<u8>) {
            let value = Json { json: body.clone().into() }.encode_to_vec().into();
            for value in [value, Bytes::from(body)] {
                let resource = Some(Any { type_url: TYPE_URL.into(), value: value.clone() });
                let wrapped = Wrapped { name: name.clone(), version: String::new(), resource };
                let (decoded, _) = decode(response(wrapped));
                proptest::prop_assert!(decoded[0].resource.is_err());
                let detail = Any { type_url: REJECTION_URL.into(), value };
                let told = Status { details: vec![detail], ..Status::default() };
                proptest::prop_assert!(rejections(Some(&told)).is_empty());
            }
        }
    }
}
