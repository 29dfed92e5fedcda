//! Admits requests by JSON Web Token (RFC 7519), as RFC 8725 wants it: which key and algorithm verify a token follows from
//! configuration, never from the token.
//!
//! ```text
//! places ─► hash ─► verified before? ────────────────────────────► times, issuer, audience, revocation ─► caller
//!                     └► form ─► issuer ─► keys of that issuer ─► signature ─► claims ┘
//! ```
//!
//! What a reader would get wrong: a request waits for keys only while it cannot be decided without ([`Keys::wanted`]);
//! with the key it names at hand it never does.

mod alg;
mod answer;
mod cache;
mod claims;
mod compile;
mod extract;
mod fields;
mod filter;
mod json;
mod jws;
mod keys;
mod spec;
mod workload;

use self::answer::Fault;
use crate::{BackendRef, Invalid, Lookup, ObjectRef, Policy};

pub use self::claims::ClaimPath;
pub use self::filter::JwtFilter;
pub use self::keys::{BadKeySet, KeySet, Keys, LARGEST_SET, MOST_KEYS, NoKeys};
pub use self::spec::{
    ClaimToHeader, ExtractFrom, ExtractHeader, Jwt, LocalJwks, LocalJwksType, PodBinding, Provider,
    ProviderKind, RemoteJwks, Requirement, Revocation,
};

impl Policy for Jwt {
    type Filter = JwtFilter;

    fn backends(&self) -> Vec<&BackendRef> {
        self.providers
            .iter()
            .filter_map(|provider| provider.remote_jwks.as_ref())
            .flat_map(RemoteJwks::backends)
            .collect()
    }

    fn objects(&self) -> Vec<&ObjectRef> {
        let local = self.providers.iter().filter_map(|provider| provider.local_jwks.as_ref());
        let sets = local.filter_map(|local| local.value_ref.as_ref());
        sets.chain(self.revocation.iter().filter_map(|list| list.value_ref.as_ref())).collect()
    }

    fn compile(&self, lookup: &dyn Lookup) -> Result<JwtFilter, Invalid> {
        compile::compile(self, lookup)
    }
}

#[cfg(test)]
mod tests;
