//! Turns Gateway API resources into Fairway configuration and honest status.
//!
//! # A change
//!
//! | # | where | in → out |
//! |---|---|---|
//! | 1 | manifests or watches | YAML or events → [`Object`]s, typed and shared |
//! | 2 | [`Resources::collect`] | → one immutable tree, in conflict order: who is older is decided once, here |
//! | 3 | [`Translator::translate`] | → [`Translation`]: the IR and a status for every object that has one. Pure: no clock, no I/O |
//! | 4 | `config::Update::between` | → what changed, sent to the proxies |
//! | 5 | [`program`] | the proxies' answer → `Programmed` and the reasons why not |
//!
//! [`cluster`] is the same in Kubernetes: watches in front, delta xDS and writes behind; [`local`] helps where there is
//! none.
//!
//! A problem is a value: it becomes a condition of the object it belongs to and, in the IR, a rule or a share of a
//! rule that answers 500. One broken object never stops its neighbours.
#![deny(missing_docs)]

pub mod api;
pub mod attached_policy;
pub mod backend_traffic_policy;
pub mod client_traffic_policy;
pub mod cluster;
pub mod fairway_proxy;
mod features;
#[doc(hidden)]
pub mod fuzzing;
pub mod inspect;
pub mod install;
pub mod local;
pub mod manifests;
mod provisioned;
pub mod rbac;
mod resources;
pub mod rollout;
pub mod security_policy;
pub mod status;
mod translate;
mod x509;

pub use features::SUPPORTED_FEATURES;
pub use resources::{Named, Object, ObjectKey, ObjectKind, Objects, Resources};
pub use status::Statuses;
pub use translate::{
    Move, Options, TrafficField, Translation, Translator, moves, program, traffic_fields, translate,
};

/// Namespace of an installation, unless it is told another one.
pub const NAMESPACE: &str = "fairway-system";

/// The `controllerName` of the GatewayClasses that are ours.
pub const CONTROLLER_NAME: &str = "fairway.dev/controller";
