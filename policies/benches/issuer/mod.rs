//! An issuer of tokens for benches.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

pub(crate) enum Issuer {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// As identity providers issue them: tokens of some 700 bytes, or 950 with RSA.
pub(crate) fn claims(number: usize) -> Value {
    json!({
        "iss": "https://login.example.com/", "aud": ["https://api.example.com"], "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "exp": 4_102_444_800_i64, "iat": 1_700_000_000, "azp": "my_client_id", "scope": "openid profile read:orders",
        "jti": number.to_string(), "realm_access": { "roles": ["buyer", "reader"] }, "email": "ann@example.com",
        "role": "admin", "groups": ["shop", "staff"],
    })
}

impl Issuer {
    pub(crate) fn es256() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        Self::Es256(key.unwrap())
    }

    /// With 2,048 bits; `ring` makes no such keys.
    pub(crate) fn rs256() -> Self {
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"]);
        let made = openssl.output().unwrap().stdout;
        // PKCS #8, or PKCS #1 as before version 3.5.
        Self::Rs256(RsaKeyPair::from_pkcs8(&made).or_else(|_| RsaKeyPair::from_der(&made)).unwrap())
    }

    pub(crate) fn token(&self, number: usize) -> String {
        let alg = if matches!(self, Self::Es256(_)) { "ES256" } else { "RS256" };
        let head = json!({ "alg": alg, "typ": "JWT", "kid": "k" }).to_string();
        let message = format!("{}.{}", encode(head), encode(claims(number).to_string()));
        let signature = match self {
            Self::Es256(key) => key.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
        };
        format!("{message}.{}", encode(signature))
    }

    /// A policy that takes its tokens, and tells backends of two claims.
    pub(crate) fn policy(&self) -> Value {
        let jwk = match self {
            Self::Es256(key) => {
                let (x, y) = key.public_key().as_ref().split_at(1).1.split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": encode(x), "y": encode(y) })
            }
            Self::Rs256(key) => {
                let public: PublicKeyComponents<Vec<u8>> = key.public().into();
                json!({ "kty": "RSA", "alg": "RS256", "kid": "k", "n": encode(&public.n), "e": encode(&public.e) })
            }
        };
        json!({ "providers": [{
            "name": "corp", "issuer": "https://login.example.com/", "audiences": ["https://api.example.com"],
            "localJWKS": { "inline": json!({ "keys": [jwk] }).to_string() },
            "claimToHeaders": [
                { "claim": "sub", "header": "X-User" }, { "claim": "realm_access.roles", "header": "X-Roles" },
            ],
        }] })
    }
}
