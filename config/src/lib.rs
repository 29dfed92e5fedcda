//! What a Fairway proxy should do, as data (the IR), and how it travels.
//!
//! Resources match the user's objects one to one and point *up*: a route names the listeners and Services it attaches
//! to, endpoints name their backend. So one edit of a user is one small message, and a broken resource is rejected
//! alone. The serde form of [`Resource`] is the file format, the wire payload and what `fairway translate` prints.
//! Decoding is strict: a field this build does not know is an error, never ignored.
#![deny(missing_docs)]

mod accept;
mod attached;
mod backend;
mod backoff;
mod document;
#[doc(hidden)]
pub mod fuzzing;
mod generation;
pub mod identity;
mod listener;
pub mod load;
mod material;
pub mod quota;
mod redacted;
pub mod redis;
mod resource;
pub mod rls;
mod route;
pub mod snapshot;
pub mod sorted;
pub mod source;
mod update;
mod workload;
pub mod xds;

pub use accept::accept;
pub use attached::{Attached, BackendTrafficPolicy, EffectivePart, Said, SecurityPolicy, effective};
pub use backend::{AppProtocol, Backend, BackendTls, Endpoint, Endpoints, SubjectAltName, TrustedCa};
pub use document::{decode_documents, encode_documents};
pub use generation::Generation;
pub use listener::{
    Captured, Certificate, ClientValidation, ClientValidationMode, Listener, ListenerTls, Protocol, Scope,
};
pub use material::Material;
pub use policies::{BackendRef, Duration, PolicySet, SecuritySet, TrafficSet};
pub use redacted::Redacted;
pub use resource::{Key, Kind, Resource};
pub use route::{
    Action, HttpMatch, HttpRoute, HttpRule, Parent, PathMatch, StreamRoute, Target, ValueKind, ValueMatch,
    WeightedBackend,
};
pub use update::{Rejection, Resources, Severity, Update};
pub use workload::Workload;
