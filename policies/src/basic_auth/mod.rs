//! Admits who sends a name and password (RFC 7617) that are in an htpasswd file.
//!
//! bcrypt takes some fifty milliseconds of a processor, which a request must not: what was found out is remembered by
//! keyed digest, and what is new is hashed away from the workers, a few at a time. A flood of wrong passwords fills the
//! queue of those few and then gets 503, while whoever is remembered is served.

mod htpasswd;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::htpasswd::{User, Users};
use crate::digest::{Digest, keyed};
use crate::edits::name;
use crate::memo::Memo;
use crate::mode::Mode;
use crate::schema::{REALM, field_name, form, rule};
use crate::{
    Context, Filter, Invalid, Lookup, ObjectKind, ObjectRef, Offload, Policy, Reply, Request, Verdict,
};

/// Key of the file in its Secret.
const FILE: &str = ".htpasswd";
/// Bytes of an Authorization field that are looked at.
const LONGEST: usize = 1_024;
/// How long a result is remembered.
const KEPT: Duration = Duration::from_mins(10);

/// Which name and password were right, and which wrong, of all policies of this process. It needs no version of a Secret:
/// the hash they were checked against is part of the digest. Apart, so that a flood of wrong ones pushes no right one out.
static RIGHT: LazyLock<Memo<()>> = LazyLock::new(|| Memo::new(8_192));
static WRONG: LazyLock<Memo<()>> = LazyLock::new(|| Memo::new(1_024));

/// Who may call, by name and password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicAuth {
    /// Secret whose key `.htpasswd` holds up to 10,000 lines `name:hash`, with bcrypt (`htpasswd -B`, cost 4 to 14) or
    /// `{SHA}` (`htpasswd -s`; weak). Empty lines and lines that start with `#` are skipped.
    #[schemars(transform = rule("self.kind == 'Secret'", "is a ConfigMap, which anybody may read: use a Secret"))]
    pub users: ObjectRef,
    /// What the client is told it asks for a password for: printable ASCII without `"` and `\`. Default `restricted`.
    #[serde(default = "default_realm")]
    #[schemars(transform = form(REALM))]
    pub realm: String,
    /// Header field in which the backend gets the user's name. What clients send in it is removed. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = field_name)]
    pub forward_username_header: Option<String>,
    /// Whether requests are refused or only noted. Default Enforce.
    #[serde(default)]
    pub mode: Mode,
}

fn default_realm() -> String {
    "restricted".into()
}

impl Policy for BasicAuth {
    type Filter = BasicAuthFilter;

    fn objects(&self) -> Vec<&ObjectRef> {
        vec![&self.users]
    }

    fn compile(&self, lookup: &dyn Lookup) -> Result<BasicAuthFilter, Invalid> {
        if self.users.kind != ObjectKind::Secret {
            return Err(Invalid::field("users", "is a ConfigMap, which anybody may read; use a Secret"));
        }
        let material =
            lookup.material(&self.users).ok_or_else(|| Invalid::ObjectNotFound(self.users.clone()))?;
        let file = material
            .0
            .get(FILE)
            .ok_or_else(|| Invalid::field("users", format!("the Secret has no key {FILE}; add it")))?;
        let users =
            Users::parse(file).map_err(|message| Invalid::field("users", format!("{FILE} {message}")))?;
        let forward = self.forward_username_header.as_ref().map(|text| name("forwardUsernameHeader", text));
        if forward.is_some() && !users.iter().all(|user| user.name.is_ascii()) {
            return Err(Invalid::field(
                "forwardUsernameHeader",
                "there is a user whose name no header field can carry; use names in ASCII",
            ));
        }
        Ok(BasicAuthFilter {
            users,
            challenge: challenge(&self.realm)?,
            forward: forward.transpose()?,
            offload: lookup.offload(),
            mode: self.mode,
        })
    }
}

/// RFC 7617 section 2: the realm is required; section 2.1: `charset` says how names and passwords are encoded.
fn challenge(realm: &str) -> Result<HeaderValue, Invalid> {
    let is_plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b'"' && byte != b'\\';
    let wrong = || Invalid::field("realm", r#"has something else than printable ASCII without " and \"#);
    if !realm.bytes().all(is_plain) {
        return Err(wrong());
    }
    HeaderValue::from_str(&format!(r#"Basic realm="{realm}", charset="UTF-8""#)).map_err(|_| wrong())
}

/// A compiled [`BasicAuth`].
#[derive(Debug)]
pub struct BasicAuthFilter {
    users: Users,
    challenge: HeaderValue,
    forward: Option<HeaderName>,
    offload: Arc<dyn Offload>,
    mode: Mode,
}

impl Filter for BasicAuthFilter {
    type State = ();

    fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    fn request<'a>(&'a self, req: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        let sent = sent(req);
        // Also of who is refused: in shadow mode the request goes on.
        if let Some(name) = &self.forward {
            req.remove_header(name);
        }
        let sent = match sent {
            Sent::Nothing => {
                let reply = Reply::new(StatusCode::UNAUTHORIZED, "basic_auth_missing");
                return Verdict::Reply(reply.with(header::WWW_AUTHENTICATE, self.challenge.clone()));
            }
            Sent::Nonsense => return Verdict::Reply(self.invalid()),
            Sent::Basic(credentials) => credentials,
        };
        let (user, is_one) = self.users.find(&sent.name);
        let Some(user) = user else { return Verdict::Reply(self.invalid()) };
        let digest = keyed(&[&sent.name, user.password.id(), &sent.password]);
        let known =
            if user.password.is_slow() { recall(&digest) } else { Some(user.password.is(&sent.password)) };
        match known {
            Some(true) if is_one => {
                self.admit(user, req, ctx);
                Verdict::Continue
            }
            Some(_) => Verdict::Reply(self.invalid()),
            None => Verdict::Wait(Box::pin(async move {
                let checked = user.clone();
                let check = move || check(&checked, is_one, digest, &sent.password);
                match self.offload.run(Box::new(check)).await {
                    Some(true) => {
                        self.admit(user, req, ctx);
                        Ok(())
                    }
                    Some(false) => Err(self.invalid()),
                    None => Err(Reply::new(StatusCode::SERVICE_UNAVAILABLE, "basic_auth_busy")
                        .with(header::RETRY_AFTER, HeaderValue::from_static("1"))),
                }
            })),
        }
    }
}

impl BasicAuthFilter {
    fn admit(&self, user: &User, req: &mut Request, ctx: &mut Context) {
        if let Some(name) = &self.forward
            && let Ok(value) = HeaderValue::from_str(&user.name)
        {
            let _ = req.insert_header(name.clone(), value);
        }
        ctx.caller.user = Some(user.name.clone());
    }

    fn invalid(&self) -> Reply {
        Reply::new(StatusCode::UNAUTHORIZED, "basic_auth_invalid")
            .with(header::WWW_AUTHENTICATE, self.challenge.clone())
    }
}

fn recall(digest: &Digest) -> Option<bool> {
    let now = Instant::now();
    match RIGHT.get(digest, now) {
        Some(_) => Some(true),
        None => WRONG.get(digest, now).map(|_| false),
    }
}

/// Checks a password, unless somebody else has done so while this waited.
fn check(user: &User, is_one: bool, digest: Digest, password: &[u8]) -> bool {
    recall(&digest).unwrap_or_else(|| {
        let is_right = user.password.is(password) && is_one;
        let memo = if is_right { &RIGHT } else { &WRONG };
        memo.put(digest, Instant::now() + KEPT, ());
        is_right
    })
}

/// What a request says of its user.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// Nothing, or something of another scheme.
    Nothing,
    Nonsense,
    Basic(Credentials),
}

#[derive(PartialEq, Eq)]
struct Credentials {
    name: Vec<u8>,
    password: Vec<u8>,
}

/// They are nobody's business.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

fn sent(req: &Request) -> Sent {
    let mut values = req.headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Sent::Nothing,
        (Some(value), None) => parse(value.as_bytes()),
        (Some(_), Some(_)) => Sent::Nonsense,
    }
}

/// RFC 9110 section 11.4: scheme, spaces, token68; RFC 7617 section 2: which is the base64 of name, colon and password, none
/// of which has control characters, and the name no colon.
fn parse(value: &[u8]) -> Sent {
    let Some((scheme, rest)) = value.split_at_checked(6) else { return Sent::Nothing };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return Sent::Nothing;
    }
    if value.len() > LONGEST {
        return Sent::Nonsense;
    }
    let decoded = BASE64_STANDARD.decode(rest.trim_ascii_start()).unwrap_or_default();
    let colon = decoded.iter().position(|byte| *byte == b':');
    match colon.and_then(|colon| decoded.split_at_checked(colon)) {
        Some((name, password)) if !decoded.iter().any(u8::is_ascii_control) => Sent::Basic(Credentials {
            name: name.to_owned(),
            password: password.get(1..).unwrap_or_default().to_owned(),
        }),
        Some(_) | None => Sent::Nonsense,
    }
}

#[cfg(test)]
mod tests;
