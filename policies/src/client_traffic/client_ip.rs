//! Who a client is when others forward for it.

use super::{Deserialize, JsonSchema, Problems, Serialize, group};
use crate::Cidr;

/// Where the client's address is found. Exactly one way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ClientIpDetection {
    /// In `X-Forwarded-For`, as far as proxies are trusted.
    XForwardedFor(XForwardedFor),
    /// In a field that a trusted proxy sets.
    CustomHeader(CustomHeader),
    /// The address of the connection (or what PROXY protocol said), whatever fields say. The default.
    #[serde(rename = "directSourceIP")]
    DirectSourceIp(DirectSourceIp),
}

/// The address of the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectSourceIp {}

group! {
    /// The client's address out of `X-Forwarded-For`. Exactly one of `numTrustedHops` and `trustedCIDRs`.
    XForwardedFor {
        /// How many proxies in front of this one append to the field; the client is the address that the outermost of them
        /// appended: this one, counted from the right. Fewer addresses than that: the address of the connection.
        #[schemars(range(min = 1, max = 64))]
        num_trusted_hops: u32,
        /// Addresses of proxies in front of this one, as CIDRs. The client is the rightmost address that is none of them;
        /// the field counts only if the connection comes from one of them.
        #[serde(rename = "trustedCIDRs")]
        #[schemars(length(min = 1, max = 256))]
        trusted_cidrs: Vec<String>,
        /// Leaves the field as it came instead of appending the address of the connection. Default: false.
        disable_x_forwarded_for_append: bool,
    }
}

/// The client's address out of a field.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomHeader {
    /// Name of the field; one value, an address with or without port.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Without a valid address in it: 403 instead of the address of the connection. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fail_closed: bool,
}

impl ClientIpDetection {
    pub(super) fn check(&self, problems: &mut Problems) {
        match self {
            Self::DirectSourceIp(_) => {}
            Self::CustomHeader(header) => problems.name("clientIPDetection.customHeader.name", &header.name),
            Self::XForwardedFor(forwarded) => forwarded.check("clientIPDetection.xForwardedFor", problems),
        }
    }
}

impl XForwardedFor {
    fn check(&self, at: &str, problems: &mut Problems) {
        if self.num_trusted_hops.is_some() == self.trusted_cidrs.is_some() {
            problems.add(at, "needs one of numTrustedHops and trustedCIDRs: write exactly one");
        }
        problems.number(&format!("{at}.numTrustedHops"), self.num_trusted_hops, 1..=64);
        let field = format!("{at}.trustedCIDRs");
        let Some(cidrs) = &self.trusted_cidrs else { return };
        if !(1..=256).contains(&cidrs.len()) {
            problems.add(&field, format!("has {} entries: write 1 to 256", cidrs.len()));
        }
        for (index, text) in cidrs.iter().enumerate() {
            if let Err(problem) = text.parse::<Cidr>() {
                problems.add(format!("{field}[{index}]"), problem);
            }
        }
    }
}
