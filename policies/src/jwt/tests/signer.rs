//! Keys and tokens of tests.

use std::process::Command;
use std::sync::OnceLock;

use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

use super::super::jws::encode;

/// Who signs tokens.
pub(super) struct Signer {
    pub(super) alg: &'static str,
    pub(super) kid: Option<&'static str>,
    key: Key,
}

enum Key {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(&'static RsaKeyPair),
}

/// One RSA key for all tests; `ring` makes none.
fn rsa() -> &'static RsaKeyPair {
    static RSA: OnceLock<RsaKeyPair> = OnceLock::new();
    RSA.get_or_init(|| {
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"])
            .output()
            .expect("openssl is missing: .ci/install");
        // PKCS #8, or PKCS #1 as before version 3.5.
        RsaKeyPair::from_pkcs8(&made.stdout)
            .or_else(|_| RsaKeyPair::from_der(&made.stdout))
            .expect("a key of openssl genpkey")
    })
}

impl Signer {
    pub(super) fn ed(kid: Option<&'static str>) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { alg: "EdDSA", kid, key: Key::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()) }
    }

    pub(super) fn es256(kid: Option<&'static str>) -> Self {
        Self { alg: "ES256", kid, key: Key::Ec(ec(&ECDSA_P256_SHA256_FIXED_SIGNING)) }
    }

    pub(super) fn es384(kid: Option<&'static str>) -> Self {
        Self { alg: "ES384", kid, key: Key::Ec(ec(&ECDSA_P384_SHA384_FIXED_SIGNING)) }
    }

    /// With one of the RSA algorithms.
    pub(super) fn rsa(alg: &'static str, kid: Option<&'static str>) -> Self {
        Self { alg, kid, key: Key::Rsa(rsa()) }
    }

    /// As in a key set.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Key::Ed(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref()) }),
            Key::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": crv, "x": encode(x), "y": encode(y) })
            }
            Key::Rsa(key) => {
                let public: ring::rsa::PublicKeyComponents<Vec<u8>> = key.public().into();
                json!({ "kty": "RSA", "n": encode(&public.n), "e": encode(&public.e) })
            }
        };
        jwk["alg"] = self.alg.into();
        jwk["use"] = "sig".into();
        if let Some(kid) = self.kid {
            jwk["kid"] = kid.into();
        }
        jwk
    }

    pub(super) fn head(&self) -> Value {
        let mut head = json!({ "typ": "JWT", "alg": self.alg });
        if let Some(kid) = self.kid {
            head["kid"] = kid.into();
        }
        head
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.head().to_string(), &claims.to_string())
    }

    /// Of any two texts.
    pub(super) fn sign(&self, head: &str, payload: &str) -> String {
        let message = format!("{}.{}", encode(head.as_bytes()), encode(payload.as_bytes()));
        let signature = self.signature(message.as_bytes());
        format!("{message}.{}", encode(&signature))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::Ed(key) => key.sign(message).as_ref().to_vec(),
            Key::Ec(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Key::Rsa(key) => {
                let padding: &dyn RsaEncoding = match self.alg {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    other => panic!("{other}"),
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }
}

fn ec(alg: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random).unwrap()
}

/// A key set.
pub(super) fn set(signers: &[&Signer]) -> String {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}
