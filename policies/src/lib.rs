//! Each thing a Fairway proxy can do to a request: data as the user writes it and compiled behaviour, one folder
//! each, in one ordered list.
//!
//! A policy is a folder, and the list is the order. To add one: a folder with a type that implements [`Policy`], a
//! `mod` line and a `registry!` line below, in the group of what carries it. [`PolicySet`] (filters of a rule),
//! [`SecuritySet`] (SecurityPolicies of several levels, merged by [`merge`]), [`Chain`], the JSON Schema, the CRD and
//! `fairway explain` follow.
//!
//! ```text
//! request  ──►  shared: cors ► security: authorization ► native: redirect ► request_headers ► url_rewrite ►
//!               response_headers ► timeouts ► retry ► mirror  ──►
//! response ◄──  the same list in reverse: a filter sees the response only if it saw the request
//! ```
#![deny(missing_docs)]

pub mod authorization;
pub mod caller;
mod cidr;
mod duration;
mod edits;
mod head;
mod layer;
pub mod mode;
mod path;
mod policy;
#[macro_use]
mod registry;
mod sample;

pub mod client_traffic;
pub mod cors;
pub mod mirror;
pub mod redirect;
pub mod request_headers;
pub mod response_headers;
pub mod retry;
pub mod timeouts;
pub mod url_rewrite;

pub use cidr::{Cidr, CidrSet};
pub use duration::Duration;
pub use layer::{Inherit, Layer, merge};
pub use policy::{
    BackendRef, Context, Filter, Invalid, Lookup, Material, ObjectKind, ObjectRef, Policy, Reply, Request,
    Response, Scheme, Upstream, Verdict, written,
};

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
        /// Who may do what. After everything that finds out who a caller is.
        authorization: authorization::Authorization,
    }
    native {
        /// Answers with a redirect. Before anything changes the request: its target is computed from what the client
        /// sent.
        redirect: redirect::Redirect,
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
