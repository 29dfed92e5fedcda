//! Signatures. Which algorithm verifies is a property of the key, never of the token (RFC 8725 section 3.1).
//!
//! `ring`, the provider of the tree, is called directly. `jsonwebtoken` would verify with it only through a provider that is
//! installed for the whole process, panics where none is, boxes a verifier for each token, and takes the algorithm from
//! the token's header; of what it parses it accepts names twice, `crit`, and key sets with private keys.

use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

/// An algorithm of RFC 7518 section 3.1 or RFC 8037 that is accepted. No `none`, no HMAC: who can verify could sign. No
/// ES512, which `ring` does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alg {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Alg {
    /// By its name, exactly.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            // RFC 9864 says which curve.
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    /// Of RSA keys.
    pub(super) const fn is_rsa(self) -> bool {
        self.rsa().is_some()
    }

    /// All take 2,048 to 8,192 bits.
    const fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }

    fn of_points(self) -> Option<&'static dyn VerificationAlgorithm> {
        match self {
            // JWS has r and s at full length, one after the other (RFC 7518 section 3.4), not in ASN.1.
            Self::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED),
            Self::EdDsa => Some(&signature::ED25519),
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => None,
        }
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Big-endian, without leading zeros.
    Rsa { n: Box<[u8]>, e: Box<[u8]> },
    /// As `ring` takes it: uncompressed (SEC 1), or 32 bytes of Ed25519.
    Point(Box<[u8]>),
}

impl PublicKey {
    /// True when `shown` is this key's under `message`.
    pub(super) fn verifies(&self, alg: Alg, message: &[u8], shown: &[u8]) -> bool {
        match self {
            Self::Rsa { n, e } => alg.rsa().is_some_and(|parameters| {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, shown).is_ok()
            }),
            Self::Point(point) => alg
                .of_points()
                .is_some_and(|alg| UnparsedPublicKey::new(alg, point).verify(message, shown).is_ok()),
        }
    }
}
