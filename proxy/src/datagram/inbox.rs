//! Room for the largest datagram.

use nix::cmsg_space;
use nix::libc::{in_pktinfo, in6_pktinfo};

use super::LARGEST;

/// Room for one datagram and what the kernel tells of it.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) bytes: Box<[u8]>,
    pub(super) control: Vec<u8>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: vec![0; LARGEST].into(), control: cmsg_space!(in_pktinfo, in6_pktinfo) }
    }
}
