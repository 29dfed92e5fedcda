//! Who is behind an address.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A running pod with addresses of its own: who calls from one of them is its ServiceAccount, in the namespace of its key.
/// No two hold the same address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Its addresses, sorted. IPv4 is written as IPv4.
    pub addresses: Vec<IpAddr>,
    /// Its ServiceAccount.
    pub service_account: String,
    /// Tells it from another pod that has its name, or its address, later.
    pub uid: String,
}
