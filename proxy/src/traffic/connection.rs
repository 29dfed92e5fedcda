//! What connections are held to, before it is known which listener of their port a request is for.

use policies::client_traffic::ClientTraffic;

/// What connections are held to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConnectionRules {}

impl ConnectionRules {
    pub(super) fn compile(_: &ClientTraffic) -> Result<Self, String> {
        Ok(Self {})
    }
}
