//! Who signs the tokens that proxies verify in `compare`: keys of one run, and requests that are signed before anything is
//! measured.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::json;

use crate::certificate::NAME;
use crate::report::complain;

/// `iss` of all tokens.
pub(crate) const ISSUER: &str = "https://issuer.example.com/";
/// `aud` of all tokens.
pub(crate) const AUDIENCE: &str = "https://bench.example.com";

/// Requests with a token of their own: eight times as many as Fairway remembers, so that none is seen twice before it is
/// forgotten.
const POOL: usize = 32_768;
/// Tokens that come again and again.
const AGAIN: usize = 500;

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Alg {
    Rs256,
    Es256,
}

/// Tokens that a proxy gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tokens {
    pub(crate) alg: Alg,
    /// Few tokens come again and again, and may be remembered; else each is new.
    pub(crate) again: bool,
    /// Only requests with a good one are let through, and the backend is told whose it is; else they are ignored.
    pub(crate) verified: bool,
}

/// Keys, and requests with tokens of them.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// A JSON Web Key Set with a key of each algorithm.
    pub(crate) jwks: String,
    signed: Vec<(Alg, Arc<[Vec<u8>]>)>,
}

/// Requests that are taken in turn, by all clients of a proxy together and from one sample to the next.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    heads: Arc<[Vec<u8>]>,
    next: Arc<AtomicUsize>,
    count: usize,
}

impl Turns {
    /// The head of the next one.
    pub(crate) fn next(&self) -> Option<&[u8]> {
        let n = self.next.fetch_add(1, Ordering::Relaxed) % self.count.max(1);
        self.heads.get(n).map(Vec::as_slice)
    }
}

impl Issuer {
    /// Signs what these algorithms need, `GET path` each; `few`: enough to see that it works.
    pub(crate) fn create(algs: &BTreeSet<Alg>, path: &str, few: bool) -> Result<Self> {
        let mut issuer = Self { jwks: String::new(), signed: Vec::new() };
        let mut keys = Vec::new();
        for alg in algs {
            let count = if few { AGAIN } else { POOL };
            complain(format_args!("signing {count} tokens ({alg:?})"));
            let key = Key::create(*alg)?;
            keys.push(key.jwk());
            issuer.signed.push((*alg, key.requests(count, path)?));
        }
        issuer.jwks = json!({ "keys": keys }).to_string();
        Ok(issuer)
    }

    /// Requests for one proxy, from the first on.
    pub(crate) fn turns(&self, tokens: Tokens) -> Option<Turns> {
        let (_, heads) = self.signed.iter().find(|(alg, _)| *alg == tokens.alg)?;
        let count = if tokens.again { AGAIN } else { POOL }.min(heads.len());
        Some(Turns { heads: Arc::clone(heads), next: Arc::default(), count })
    }
}

/// A key and its name.
enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl Key {
    fn create(alg: Alg) -> Result<Self> {
        match alg {
            Alg::Rs256 => rsa().map(Self::Rsa),
            Alg::Es256 => {
                let random = SystemRandom::new();
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                let made = made.map_err(|_| anyhow!("no random bytes"))?;
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random);
                key.map(Self::Ec).map_err(|why| anyhow!("a key of its own: {why}"))
            }
        }
    }

    const fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Rsa(_) => ("RS256", "rsa"),
            Self::Ec(_) => ("ES256", "ec"),
        }
    }

    fn jwk(&self) -> serde_json::Value {
        let (alg, kid) = self.names();
        match self {
            Self::Rsa(key) => {
                let public: PublicKeyComponents<Vec<u8>> = key.public().into();
                let (n, e) = (encode(&public.n), encode(&public.e));
                json!({ "kty": "RSA", "use": "sig", "alg": alg, "kid": kid, "n": n, "e": e })
            }
            Self::Ec(key) => {
                // Uncompressed (SEC 1): a byte, x, y.
                let point = key.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": alg, "kid": kid, "x": encode(x), "y": encode(y) })
            }
        }
    }

    /// So many requests, on all CPUs.
    fn requests(&self, count: usize, path: &str) -> Result<Arc<[Vec<u8>]>> {
        let expires = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 86_400;
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let part = count.div_ceil(threads);
        let signed: Vec<Result<Vec<_>>> = thread::scope(|scope| {
            let sign = |numbers: std::ops::Range<usize>| {
                scope.spawn(move || {
                    numbers.map(|number| self.request(number, expires, path)).collect::<Result<Vec<_>>>()
                })
            };
            let parts = (0..threads).map(|at| sign(at * part..((at + 1) * part).min(count)));
            let parts: Vec<_> = parts.collect();
            parts.into_iter().map(|part| part.join().map_err(|_| anyhow!("a thread panicked"))?).collect()
        });
        let signed: Vec<Vec<Vec<u8>>> = signed.into_iter().collect::<Result<_>>()?;
        Ok(signed.into_iter().flatten().collect())
    }

    /// With claims as identity providers write them: some 600 bytes before the signature.
    fn request(&self, number: usize, expires: u64, path: &str) -> Result<Vec<u8>> {
        let (alg, kid) = self.names();
        let head = json!({ "alg": alg, "typ": "JWT", "kid": kid }).to_string();
        let claims = json!({
            "iss": ISSUER, "aud": [AUDIENCE], "sub": format!("auth0|5f7c8ec7c33c6c004bba{number:08x}"), "exp": expires,
            "iat": expires - 86_400, "azp": "my_client_id", "scope": "openid profile read:orders",
            "jti": format!("{number:032x}"), "realm_access": { "roles": ["buyer", "reader"] }, "email": "ann@example.com",
        });
        let message = format!("{}.{}", encode(head.as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = encode(&self.sign(message.as_bytes())?);
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {NAME}\r\nuser-agent: loadtests\r\naccept: */*\r\nauthorization: Bearer \
             {message}.{signature}\r\n\r\n"
        );
        Ok(head.into_bytes())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| anyhow!("a token could not be signed");
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Self::Ec(key) => Ok(key.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
        }
    }
}

/// 2,048 bits, which is what identity providers use. `ring` makes no such keys.
fn rsa() -> Result<RsaKeyPair> {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"])
        .stdin(Stdio::null())
        .output()
        .context("openssl, which makes the RSA key, is missing")?;
    // PKCS #8, or PKCS #1 as before version 3.5.
    RsaKeyPair::from_pkcs8(&made.stdout)
        .or_else(|_| RsaKeyPair::from_der(&made.stdout))
        .map_err(|why| anyhow!("the key of openssl genpkey: {why}"))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
