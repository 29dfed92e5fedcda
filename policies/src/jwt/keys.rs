//! Key sets (RFC 7517), and where keys that are fetched come from.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::alg::{Alg, PublicKey};
use super::cache::Cache;
use super::jws::{Jws, decode};
use super::{Fault, json};

/// The largest set, in bytes.
pub const LARGEST_SET: usize = 1 << 20;
/// Most keys of a set.
pub const MOST_KEYS: usize = 100;

/// Keys that are fetched. They outlive what is compiled with them.
pub trait Keys: Send + Sync + fmt::Debug {
    /// The keys as last fetched, as long as they may be used; `None`: there are none, so nobody is let in. Never waits.
    fn current(&self) -> Option<Arc<KeySet>>;

    /// Asks for keys to be fetched now: a token names one that is not among those it has `seen`, or there are none. Ends at
    /// once if there are others now; else with the fetch, within 2 s, which may be one that had begun before. `None`: it is too
    /// early to ask again, or too many wait; the request is refused now.
    fn wanted(
        self: Arc<Self>,
        seen: Option<&Arc<KeySet>>,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>>;
}

/// Keys that nobody fetches: there never are any.
#[derive(Debug, Clone, Copy)]
pub struct NoKeys;

impl Keys for NoKeys {
    fn current(&self) -> Option<Arc<KeySet>> {
        None
    }

    fn wanted(
        self: Arc<Self>,
        _seen: Option<&Arc<KeySet>>,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }
}

/// Why a set cannot be used; says nothing of the keys themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadKeySet(String);

/// Public keys, and the tokens they have verified.
pub struct KeySet {
    keys: Vec<Key>,
    by_kid: HashMap<Box<str>, usize>,
    pub(super) verified: Cache,
}

#[derive(Debug, PartialEq, Eq)]
struct Key {
    kid: Option<Box<str>>,
    alg: Alg,
    public: PublicKey,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| (&key.kid, key.alg))).finish()
    }
}

/// Which keys there are; not what they have verified.
impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl KeySet {
    /// Reads a set. Keys of kinds that are not known, or for something else than signatures, are left out.
    ///
    /// # Errors
    /// When it is no set, holds a secret or two keys of one name, or no key that can be used. Whoever publishes a private key
    /// has lost it, so that set says nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadKeySet> {
        let bad = |why: String| BadKeySet(why);
        if bytes.len() > LARGEST_SET {
            return Err(bad(format!("larger than {LARGEST_SET} bytes")));
        }
        let set = json::object(bytes).ok_or_else(|| {
            bad("not a JSON object, or a name is twice in one, or nested too deeply".into())
        })?;
        let Some(Value::Array(list)) = set.get("keys") else {
            return Err(bad("no list `keys`: give a JSON Web Key Set (RFC 7517)".into()));
        };
        if list.len() > MOST_KEYS {
            return Err(bad(format!("{} keys; at most {MOST_KEYS} are taken", list.len())));
        }
        let (mut keys, mut kids, mut unusable) = (Vec::new(), HashSet::new(), None);
        for (at, key) in list.iter().enumerate() {
            let Value::Object(key) = key else { return Err(bad(format!("keys[{at}] is no object"))) };
            // RFC 7518 section 6: members that hold what is to be kept secret.
            if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| key.contains_key(*name)) {
                return Err(bad(format!(
                    "keys[{at}] holds a secret: publish public keys only, and change that key"
                )));
            }
            let kid = match key.get("kid") {
                None => None,
                Some(Value::String(kid)) => Some(kid.as_str()),
                Some(_) => return Err(bad(format!("keys[{at}].kid is no string"))),
            };
            if kid.is_some_and(|kid| !kids.insert(kid)) {
                return Err(bad(format!("keys[{at}].kid stands there twice")));
            }
            match public(key) {
                Ok((alg, public)) => keys.push(Key { kid: kid.map(Into::into), alg, public }),
                Err(why) => unusable = unusable.or(Some(format!("keys[{at}] {why}"))),
            }
        }
        if keys.is_empty() {
            let why = unusable.map_or_else(String::new, |why| format!(": {why}"));
            return Err(bad(format!("no key that can verify signatures{why}")));
        }
        let named = keys.iter().enumerate().filter_map(|(at, key)| Some((key.kid.clone()?, at)));
        Ok(Self { by_kid: named.collect(), keys, verified: Cache::default() })
    }

    /// Number of keys that can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never true of a set that was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// # Errors
    /// [`Fault::UnknownKey`] when newer keys might verify it, else [`Fault::Invalid`].
    pub(super) fn verify(&self, jws: &Jws<'_>) -> Result<(), Fault> {
        let alg = Alg::named(&jws.alg).ok_or(Fault::Invalid)?;
        let key = match &jws.kid {
            Some(kid) => self.by_kid.get(kid.as_str()).and_then(|at| self.keys.get(*at)),
            // Trying one after the other would let anybody choose how much is verified.
            None => {
                let mut suitable = self.keys.iter().filter(|key| key.alg == alg);
                let first = suitable.next();
                if suitable.next().is_some() {
                    return Err(Fault::Invalid);
                }
                first
            }
        };
        let key = key.ok_or(Fault::UnknownKey)?;
        if key.alg != alg {
            return Err(Fault::Invalid);
        }
        if key.public.verifies(key.alg, jws.message, &jws.signature) {
            Ok(())
        } else if jws.kid.is_some() {
            Err(Fault::Invalid)
        } else {
            // A key without a name may have been replaced.
            Err(Fault::UnknownKey)
        }
    }
}

/// A key and the one algorithm it is for.
fn public(key: &Map<String, Value>) -> Result<(Alg, PublicKey), String> {
    let text = |name: &str| match key.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("has a {name} that is no string")),
    };
    let bytes = |name: &str| {
        let bytes = text(name)?.and_then(decode).filter(|bytes| !bytes.is_empty());
        bytes.ok_or_else(|| format!("has no {name} in base64url"))
    };
    if text("use")?.is_some_and(|usage| usage != "sig") {
        return Err("is not for signatures (use)".into());
    }
    match key.get("key_ops") {
        None => {}
        Some(Value::Array(ops)) if ops.iter().any(|op| op == "verify") => {}
        Some(_) => return Err("is not for verifying (key_ops)".into()),
    }
    let named = match text("alg")? {
        None => None,
        Some(name) => {
            Some(Alg::named(name).ok_or_else(|| format!("is for {name:?}, which is not accepted"))?)
        }
    };
    let fits = |alg: Alg| match named {
        Some(named) if named != alg => Err("has an alg that is not its curve's".to_owned()),
        Some(_) | None => Ok(alg),
    };
    let point = |size: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        // RFC 7518 section 6.2.1.2: "The length of this octet string MUST be the full size of a coordinate".
        if x.len() != size || y.len() != size {
            return Err("has coordinates of another length than its curve's".to_owned());
        }
        Ok(PublicKey::Point([&[4], &*x, &*y].concat().into()))
    };
    match (text("kty")?, text("crv")?) {
        (Some("RSA"), None) => {
            // Without one it is for what OpenID Connect has by default: a key is for one algorithm (RFC 8725 section 3.1).
            let alg = named.unwrap_or(Alg::Rs256);
            if !alg.is_rsa() {
                return Err("has an alg that is not RSA's".into());
            }
            rsa(&bytes("n")?, &bytes("e")?).map(|public| (alg, public))
        }
        (Some("EC"), Some("P-256")) => Ok((fits(Alg::Es256)?, point(32)?)),
        (Some("EC"), Some("P-384")) => Ok((fits(Alg::Es384)?, point(48)?)),
        (Some("OKP"), Some("Ed25519")) => {
            let x = bytes("x")?;
            let public = (x.len() == 32).then(|| PublicKey::Point(x.into()));
            Ok((fits(Alg::EdDsa)?, public.ok_or("has an x that is not 32 bytes long")?))
        }
        (kty, crv) => Err(format!("is of a kind that is not accepted (kty {kty:?}, crv {crv:?})")),
    }
}

fn rsa(n: &[u8], e: &[u8]) -> Result<PublicKey, String> {
    let strip = |bytes: &[u8]| -> Box<[u8]> { bytes.iter().copied().skip_while(|byte| *byte == 0).collect() };
    let (n, e) = (strip(n), strip(e));
    // As `ring` counts: the modulus is rounded up to whole bytes.
    if !(256..=1024).contains(&n.len()) {
        return Err(format!("has {} bits; 2048 to 8192 are accepted", n.len() * 8));
    }
    // Small exponents made padding forgeries of lenient verifiers cheap; NIST SP 800-56B wants more than 2^16.
    let exponent = e.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    if e.len() > 4 || exponent < 65_537 || exponent.is_multiple_of(2) {
        return Err("has an exponent that is not accepted: 65537 is usual".into());
    }
    if is_roca(&n) {
        return Err("is one of those whose private key can be computed (CVE-2017-15361): make another".into());
    }
    Ok(PublicKey::Rsa { n, e })
}

/// True of moduli that Infineon's faulty generator makes: modulo every small prime they are a power of 65537. Of others not
/// one in a hundred million is.
fn is_roca(n: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.iter().all(|prime| {
        let residue = n.iter().fold(0, |sum, byte| (sum * 256 + u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * 65_537 % prime));
        powers.take(*prime as usize).any(|power| power == residue)
    })
}
