//! Configuration from the controller to proxies: delta xDS v3.
//!
//! `envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources` with one resource type of our own,
//! [`TYPE_URL`], named by [`Key`](crate::Key). Its body is the serde form of [`Resource`](crate::Resource) as JSON, its
//! version a hash of that body, so that versions hold over restarts and replicas of the controller.
//!
//! # What goes over a stream
//!
//! | # | who | what |
//! |---|---|---|
//! | 1 | proxy | the first request: who it is, `initial_resource_versions` of what it has; its [`Generation`](crate::Generation) in the call's metadata |
//! | 2 | controller | waits until it has something not older than that, then sends what differs from what the proxy has, in responses of about 128 KiB; each but the last has an empty `system_version_info` |
//! | 3 | proxy | ACKs each; applies everything at once when the last is there, whose `system_version_info` is the generation |
//! | 4 | proxy | ACK, or NACK with `error_detail`: every rejection *now in force*, of whatever response. What is not rejected is in use: a NACK never undoes the rest of a response |
//! | 5 | controller | when something changed since, from 2 on. One update is in flight per proxy; what changes meanwhile is one update later |
//!
//! A proxy without differences gets an empty last response, so it knows that it is up to date.
//!
//! # Who may see what
//!
//! The caller's token and certificate decide ([`crate::identity`]), never its request: the subscription is always to all
//! that its Gateway is allowed to see ([`scope`]).

mod client;
mod hub;
pub(crate) mod proto;
mod pushback;
pub mod scope;
mod server;
pub(crate) mod wire;

pub use client::{
    BadUrl, ClientOptions, ClientState, Controlled, ControllerWay, SnapshotFile, client, read_snapshot,
};
pub use hub::{Hub, ProxyState};
pub use server::{Server, ServerTls, TlsError};

/// The type of resource that is served.
pub const TYPE_URL: &str = "type.googleapis.com/fairway.dev.config.v1alpha1.Resource";

#[cfg(test)]
mod tests;
