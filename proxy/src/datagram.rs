//! Datagrams: UDPRoute.
//!
//! A flow is what one client address sends to one of ours. Its first datagram picks a backend by weight and an endpoint,
//! and opens a socket that is connected to it; the flow keeps both until nothing was sent either way for [`IDLE`].
//! Answers leave from the address the client has sent to, whatever addresses the host has.
//!
//! Each worker has a socket of its own for a port, and the kernel hands all datagrams of a client to the same one
//! (`SO_REUSEPORT`): a flow stays on one worker. What cannot be passed on is dropped and counted, never answered.

use std::time::Duration;

mod hub;
mod inbox;
mod post;
mod session;
mod sessions;
mod socket;

pub(crate) use self::hub::Hubs;

/// How long a flow lasts without a datagram. As Envoy's `udp_proxy`.
const IDLE: Duration = Duration::from_secs(60);
/// The same while its port closes: a client that would go on has done so within it.
const LULL: Duration = Duration::from_secs(5);
/// Flows of one port and worker. Each has a descriptor; the one without a datagram for longest makes room.
const MOST: usize = 8192;
/// The largest datagram there is.
const LARGEST: usize = 65_535;
/// Datagrams taken at once before others have their turn.
const BATCH: usize = 32;

#[cfg(test)]
mod tests;
