//! Each thing a Fairway proxy can do to a request: data as the user writes it and compiled behaviour, one folder
//! each, in one ordered list.
//!
//! A policy is a folder, and the list is the order. To add one: a folder with a type that implements [`Policy`], a
//! `mod` line and a `registry!` line below, in the group of what carries it. [`PolicySet`] (filters of a rule),
//! [`SecuritySet`] and [`TrafficSet`] (attached policies of several levels, merged by [`merge`]), [`Chain`], the JSON Schema, the CRD and
//! `fairway explain` follow.
//!
//! ```text
//! request  ──►  shared: cors ► security: authorization ► traffic: rate_limit ► native: redirect ► request_headers ► url_rewrite ►
//!               response_headers ► timeouts ► retry ► mirror  ──►
//! response ◄──  the same list in reverse: a filter sees the response only if it saw the request
//! ```
#![deny(missing_docs)]

pub mod authorization;
pub mod caller;
mod changes;
mod cidr;
mod digest;
mod duration;
mod edits;
mod extract;
mod grpc;
mod head;
mod incoming;
mod layer;
mod material;
mod memo;
pub mod mode;
mod offload;
mod origin;
mod path;
mod policy;
#[macro_use]
mod registry;
mod reference;
mod sample;
mod schema;
mod set_cookie;

pub mod api_key_auth;
pub mod basic_auth;
pub mod client_traffic;
pub mod cors;
pub mod csrf;
pub mod denials;
pub mod ext_auth;
pub mod ip_list;
pub mod jwt;
pub mod lease;
pub mod mirror;
pub mod rate_limit;
pub mod redirect;
pub mod request_headers;
pub mod response_headers;
pub mod retry;
pub mod rls;
pub mod session_persistence;
pub mod stable;
pub mod timeouts;
pub mod traffic_split;
pub mod url_rewrite;

pub use cidr::{Cidr, CidrSet};
pub use duration::Duration;
pub use extract::ExtractFrom;
pub use incoming::{Beginning, Incoming, MOST_INCOMING};
pub use layer::{Inherit, Layer, Parts, merge};
pub use material::Material;
pub use offload::{AtOnce, Offload, Work};
pub use policy::{
    Answer, Call, Context, Filter, Invalid, Lookup, Net, Policy, Reply, Request, Response, Scheme,
    Unanswered, Upstream, Verdict, monotonic, written,
};
pub use reference::{BackendRef, KeyRef, ObjectKind, ObjectRef};
pub use schema::DURATION;

registry! {
    // Requests run down this list and responses run up it, so the order is behaviour. Gateway API lets a user list
    // native filters in any order, each kind once per rule; a fixed order keeps that list's meaning independent of
    // how it is written.
    shared {
        /// Cross-origin resource sharing. First: a preflight carries no credentials and must not be redirected.
        cors: cors::Cors,
    }
    // Who may pass is decided on what the client sent: before it is redirected or changed.
    security {
        /// How refusals look. Before all that refuse.
        denials: denials::Denials,
        /// Client addresses that are refused. Before all that costs more.
        ip_deny_list: ip_list::IpDenyList,
        /// The only client addresses that are admitted.
        ip_allow_list: ip_list::IpAllowList,
        /// Refuses state-changing requests from other sites. Before authentication, which such a request would pass.
        csrf: csrf::Csrf,
        /// Who calls, by API key. Before whatever decides by who calls.
        api_key_auth: api_key_auth::ApiKeyAuth,
        /// Who calls, by name and password.
        basic_auth: basic_auth::BasicAuth,
        /// Callers by JSON Web Token. Before what decides by who calls.
        jwt: jwt::Jwt,
        /// Asks a service. After what costs no call, and before what decides by what it says.
        ext_auth: ext_auth::ExtAuth,
        /// Who may do what. After everything that finds out who a caller is.
        authorization: authorization::Authorization,
    }
    // What a request costs is taken when it may pass.
    traffic {
        /// How much may come.
        rate_limit: rate_limit::RateLimit,
        /// Which backend of the rule's.
        traffic_split: traffic_split::TrafficSplit,
    }
    native {
        /// Answers with a redirect. Before anything changes the request: its target is computed from what the client
        /// sent.
        redirect: redirect::Redirect,
        /// Sessions that stay with one endpoint. Before the path is changed: cookies are for what the client sent.
        session_persistence: session_persistence::SessionPersistence,
        /// Request header fields to set, add and remove.
        request_headers: request_headers::RequestHeaders,
        /// Host and path the backend sees.
        url_rewrite: url_rewrite::UrlRewrite,
        /// Response header fields to set, add and remove. On the way back it runs before cors, whose fields win.
        response_headers: response_headers::ResponseHeaders,
        /// Total time for the request and for each attempt.
        timeouts: timeouts::Timeouts,
        /// When a failed attempt is repeated.
        retry: retry::Retry,
        /// Copies of the request. Last: a copy shows what the backend would have seen.
        mirror: mirror::Mirrors,
    }
}
