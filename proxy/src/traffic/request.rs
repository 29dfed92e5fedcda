//! What requests are held to.

use policies::client_traffic::ClientTraffic;

/// What requests are held to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RequestRules {}

impl RequestRules {
    pub(super) fn compile(_: &ClientTraffic) -> Result<Self, String> {
        Ok(Self {})
    }
}
