//! Files as `htpasswd` writes them: a line for each user, `name:hash`.
//!
//! Two kinds of hash are taken: bcrypt (`htpasswd -B`), and `{SHA}` (`htpasswd -s`), which Envoy Gateway takes, and which is
//! as good as the password is long. Not apr1 and crypt, which are neither strong nor cheap, nor plain text.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::digest::{Digest, keyed};

/// Users of one file.
const MOST: usize = 10_000;
/// Bytes of a name.
const LONGEST_NAME: usize = 255;
/// What bcrypt's cost may be: 14 is about a second, and each step doubles it.
const MOST_COST: u32 = 14;

/// The users of a file.
#[derive(Debug)]
pub(crate) struct Users {
    by_name: HashMap<Digest, Arc<User>>,
    /// All of them; whoever is none of them is checked against one of these, and costs as much.
    all: Vec<Arc<User>>,
}

/// A user, and how its password is checked.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: Arc<str>,
    pub(crate) password: Password,
}

/// A hashed password.
pub(crate) enum Password {
    /// All of it, as bcrypt writes it.
    Bcrypt(Box<str>),
    /// The keyed digest of the SHA-1: comparing those tells nothing.
    Sha1(Digest),
}

/// It is nobody's business.
impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bcrypt(_) => "Bcrypt",
            Self::Sha1(_) => "Sha1",
        })
    }
}

impl Users {
    /// # Errors
    /// The number of the first line that cannot be used, and why; never what is in it.
    pub(crate) fn parse(file: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(file).map_err(|_| "is not UTF-8".to_owned())?;
        let mut users = Self { by_name: HashMap::new(), all: Vec::new() };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let user = user(line).map_err(|message| format!("line {number}: {message}"))?;
            let user = Arc::new(user);
            if users.by_name.insert(keyed(&[user.name.as_bytes()]), Arc::clone(&user)).is_some() {
                return Err(format!("line {number}: the user is there twice; keep one line for each"));
            }
            users.all.push(user);
        }
        match users.all.len() {
            0 => Err("has no users; add them with htpasswd -B".into()),
            1..=MOST => Ok(users),
            _ => Err(format!("has more than {MOST} users")),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &User> {
        self.all.iter().map(|user| &**user)
    }

    /// The user of this name, or whom to check a password against in its place: always the same for a name, so that
    /// neither the time of one try nor that of many tells whether there is such a user.
    pub(crate) fn find(&self, name: &[u8]) -> (Option<&Arc<User>>, bool) {
        let digest = keyed(&[name]);
        if let Some(user) = self.by_name.get(&digest) {
            return (Some(user), true);
        }
        let at = digest.first_chunk().map_or(0, |first| usize::from_le_bytes(*first));
        (self.all.get(at % self.all.len().max(1)), false)
    }
}

fn user(line: &str) -> Result<User, String> {
    let (name, hash) = line.split_once(':').ok_or("is not name:hash")?;
    // White space around a header field is no part of it: such a name would reach the backend as another.
    if name.is_empty() || name.len() > LONGEST_NAME || name.trim() != name || name.contains(char::is_control)
    {
        return Err(format!(
            "the name is empty, longer than {LONGEST_NAME} bytes, or has white space around it or control characters"
        ));
    }
    Ok(User { name: name.into(), password: Password::parse(hash)? })
}

impl Password {
    fn parse(hash: &str) -> Result<Self, String> {
        if let Some(sha1) = hash.strip_prefix("{SHA}") {
            let sha1 = BASE64_STANDARD.decode(sha1).ok().filter(|sha1| sha1.len() == 20);
            return sha1.map(|sha1| Self::Sha1(keyed(&[&sha1]))).ok_or_else(|| {
                "{SHA} is not followed by the base64 of 20 bytes; write the line with htpasswd".into()
            });
        }
        if !["$2y$", "$2a$", "$2b$"].iter().any(|version| hash.starts_with(version)) {
            return Err("the hash is neither bcrypt nor {SHA}; make it with htpasswd -B".into());
        }
        let parts: bcrypt::HashParts =
            hash.parse().map_err(|_| "the hash is not as bcrypt writes it; make it with htpasswd -B")?;
        if !(4..=MOST_COST).contains(&parts.get_cost()) {
            return Err(format!(
                "bcrypt's cost is {}; use 4 to {MOST_COST}, such as htpasswd -B -C 10",
                parts.get_cost()
            ));
        }
        Ok(Self::Bcrypt(hash.into()))
    }

    /// True when checking takes milliseconds.
    pub(crate) const fn is_slow(&self) -> bool {
        matches!(self, Self::Bcrypt(_))
    }

    /// Whether this is the password.
    pub(crate) fn is(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Sha1(stored) => keyed(&[digest(&SHA1_FOR_LEGACY_USE_ONLY, password).as_ref()]) == *stored,
        }
    }

    /// What tells this hash from all others.
    pub(crate) fn id(&self) -> &[u8] {
        match self {
            Self::Bcrypt(hash) => hash.as_bytes(),
            Self::Sha1(stored) => stored,
        }
    }
}
