//! Admits who sends a key that is in a Secret, and tells the rest of the chain whose it is.
//!
//! Keys are looked up by keyed digest: a wrong one costs the same time however much of it is right. No key stays in the
//! compiled form.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, keyed};
use crate::edits::name;
use crate::extract::{ExtractFrom, Found, Places, some_places};
use crate::mode::Mode;
use crate::schema::{field_name, rule};
use crate::{Context, Filter, Invalid, Lookup, ObjectKind, ObjectRef, Policy, Reply, Request, Verdict};

/// Bytes of a key.
const LONGEST: usize = 1_024;
/// Keys of one policy.
const MOST: usize = 10_000;
/// Secrets of one policy.
const MOST_REFS: usize = 16;

/// Who may call, by API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeyAuth {
    /// Secrets whose keys are names of clients and whose values are API keys: 1 to 1,024 visible ASCII characters; white
    /// space around one is no part of it. 1 to 16 Secrets, up to 10,000 keys. A client may have a key in each, so that one
    /// can be replaced while both hold. Two clients cannot share a key.
    #[schemars(length(min = 1, max = MOST_REFS), transform = rule(
        "self.all(r, r.kind == 'Secret')",
        "names a ConfigMap, which anybody may read: put keys into a Secret"
    ))]
    pub credential_refs: Vec<ObjectRef>,
    /// Where requests carry the key; up to 16 places. A request with keys in more than one is refused.
    #[schemars(length(min = 1, max = 16), transform = some_places())]
    pub extract_from: Vec<ExtractFrom>,
    /// Header field in which the backend gets the client's name. What clients send in it is removed. Default: none.
    #[serde(default, rename = "forwardClientIDHeader", skip_serializing_if = "Option::is_none")]
    #[schemars(transform = field_name)]
    pub forward_client_id_header: Option<String>,
    /// Whether the key is taken out of the request before the backend sees it. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sanitize: bool,
    /// Whether requests are refused or only noted. Default Enforce.
    #[serde(default)]
    pub mode: Mode,
}

impl Policy for ApiKeyAuth {
    type Filter = ApiKeyFilter;

    fn objects(&self) -> Vec<&ObjectRef> {
        self.credential_refs.iter().collect()
    }

    fn compile(&self, lookup: &dyn Lookup) -> Result<ApiKeyFilter, Invalid> {
        let forward = self.forward_client_id_header.as_ref().map(|text| name("forwardClientIDHeader", text));
        Ok(ApiKeyFilter {
            clients: clients(&self.credential_refs, lookup)?,
            places: Places::compile("extractFrom", &self.extract_from)?,
            forward: forward.transpose()?,
            sanitize: self.sanitize,
            mode: self.mode,
        })
    }
}

/// A client, and its name as a header field says it.
#[derive(Debug, Clone)]
struct Client {
    name: Arc<str>,
    value: HeaderValue,
}

fn clients(refs: &[ObjectRef], lookup: &dyn Lookup) -> Result<HashMap<Digest, Client>, Invalid> {
    if refs.is_empty() || refs.len() > MOST_REFS {
        let message = format!("names {} Secrets; name 1 to {MOST_REFS}", refs.len());
        return Err(Invalid::field("credentialRefs", message));
    }
    let mut clients: HashMap<Digest, Client> = HashMap::new();
    for (at, object) in refs.iter().enumerate() {
        let field = format!("credentialRefs[{at}]");
        if object.kind != ObjectKind::Secret {
            return Err(Invalid::field(
                field,
                "is a ConfigMap, which anybody may read; put keys into a Secret",
            ));
        }
        let material = lookup.material(object).ok_or_else(|| Invalid::ObjectNotFound(object.clone()))?;
        for (client, key) in &material.0 {
            let wrong =
                |message: String| Invalid::field(field.clone(), format!("client {client:?} {message}"));
            let key = key.trim_ascii();
            if key.is_empty() || key.len() > LONGEST || !key.iter().all(u8::is_ascii_graphic) {
                return Err(wrong(format!(
                    "has a key that cannot be sent; use 1 to {LONGEST} visible ASCII characters"
                )));
            }
            let value = HeaderValue::from_str(client).ok().filter(|_| client.is_ascii());
            let value =
                value.ok_or_else(|| wrong("has a name that no header field can carry; use ASCII".into()))?;
            let known = clients.insert(keyed(&[key]), Client { name: client.as_str().into(), value });
            if let Some(other) = known.filter(|other| *other.name != **client) {
                return Err(wrong(format!("has the key of client {:?}; give each its own", other.name)));
            }
            if clients.len() > MOST {
                return Err(Invalid::field("credentialRefs", format!("hold more than {MOST} keys")));
            }
        }
    }
    Ok(clients)
}

/// A compiled [`ApiKeyAuth`].
#[derive(Debug)]
pub struct ApiKeyFilter {
    clients: HashMap<Digest, Client>,
    places: Places,
    forward: Option<HeaderName>,
    sanitize: bool,
    mode: Mode,
}

impl Filter for ApiKeyFilter {
    type State = ();

    fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    fn request<'a>(&'a self, req: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        let client = match self.places.find(req) {
            Found::Nothing => Err(Reply::new(StatusCode::UNAUTHORIZED, "api_key_missing")),
            Found::One(key) => self.client(&key).ok_or_else(invalid),
            Found::Several => Err(invalid()),
        };
        if self.sanitize {
            self.places.remove(req);
        }
        // Also of who is refused: in shadow mode the request goes on.
        if let Some(name) = &self.forward {
            req.remove_header(name);
        }
        match client {
            Ok(client) => {
                if let Some(name) = &self.forward {
                    let _ = req.insert_header(name.clone(), client.value.clone());
                }
                ctx.caller.api_client = Some(client.name.clone());
                Verdict::Continue
            }
            Err(reply) => Verdict::Reply(reply.with(header::WWW_AUTHENTICATE, CHALLENGE)),
        }
    }
}

/// RFC 9110 section 15.5.2: a 401 "MUST send a WWW-Authenticate header field". No scheme is registered for API keys.
const CHALLENGE: HeaderValue = HeaderValue::from_static("ApiKey");

fn invalid() -> Reply {
    Reply::new(StatusCode::UNAUTHORIZED, "api_key_invalid")
}

impl ApiKeyFilter {
    fn client(&self, key: &[u8]) -> Option<&Client> {
        // Hashing what no key can be would be work for nothing.
        if key.len() > LONGEST {
            return None;
        }
        self.clients.get(&keyed(&[key]))
    }
}

#[cfg(test)]
mod tests;
