//! Admits and refuses requests by the address they come from: the client's, as the listener finds it out
//! (`clientIPDetection`), never what a header field says by itself.
//!
//! The two lists are two policies and both have to agree, so an address in both is refused.

use std::net::IpAddr;

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::schema::{CIDR, each, form};
use crate::{Cidr, CidrSet, Context, Filter, Invalid, Lookup, Policy, Reply, Request, Verdict};

/// Ranges in one list: more belong into a firewall, and an object holds no more.
const MOST: usize = 1_000;

/// Only these addresses are admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpAllowList {
    /// Ranges of client addresses, such as `10.0.0.0/8`, `192.0.2.1/32` or `2001:db8::/32`; 1 to 1,000. An IPv4 address
    /// written as IPv6 (`::ffff:192.0.2.1`) is that IPv4 address.
    #[schemars(length(min = 1, max = MOST), transform = each(form(CIDR)))]
    pub cidrs: Vec<String>,
    /// Whether others are refused or only noted. Default Enforce.
    #[serde(default)]
    pub mode: Mode,
}

/// These addresses are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpDenyList {
    /// Ranges of client addresses, such as `10.0.0.0/8`, `192.0.2.1/32` or `2001:db8::/32`; 1 to 1,000. An IPv4 address
    /// written as IPv6 (`::ffff:192.0.2.1`) is that IPv4 address.
    #[schemars(length(min = 1, max = MOST), transform = each(form(CIDR)))]
    pub cidrs: Vec<String>,
    /// Whether they are refused or only noted. Default Enforce.
    #[serde(default)]
    pub mode: Mode,
}

fn compile(cidrs: &[String]) -> Result<CidrSet, Invalid> {
    if cidrs.is_empty() || cidrs.len() > MOST {
        return Err(Invalid::field("cidrs", format!("holds {} ranges; write 1 to {MOST}", cidrs.len())));
    }
    let parse = |(at, cidr): (usize, &String)| {
        cidr.parse::<Cidr>().map_err(|message| Invalid::field(format!("cidrs[{at}]"), message))
    };
    cidrs.iter().enumerate().map(parse).collect()
}

impl Policy for IpAllowList {
    type Filter = IpAllowFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<IpAllowFilter, Invalid> {
        Ok(IpAllowFilter { admitted: compile(&self.cidrs)?, mode: self.mode })
    }
}

impl Policy for IpDenyList {
    type Filter = IpDenyFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<IpDenyFilter, Invalid> {
        Ok(IpDenyFilter { refused: compile(&self.cidrs)?, mode: self.mode })
    }
}

/// A compiled [`IpAllowList`].
#[derive(Debug)]
pub struct IpAllowFilter {
    admitted: CidrSet,
    mode: Mode,
}

/// A compiled [`IpDenyList`].
#[derive(Debug)]
pub struct IpDenyFilter {
    refused: CidrSet,
    mode: Mode,
}

impl Filter for IpAllowFilter {
    type State = ();

    fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    fn request<'a>(&'a self, _: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        let is_listed = |client: IpAddr| self.admitted.contains(client);
        if ctx.client.is_some_and(is_listed) {
            Verdict::Continue
        } else {
            Verdict::Reply(Reply::new(StatusCode::FORBIDDEN, "ip_not_allowed"))
        }
    }
}

impl Filter for IpDenyFilter {
    type State = ();

    fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    fn request<'a>(&'a self, _: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        let is_listed = |client: IpAddr| self.refused.contains(client);
        // Who is nobody may be anybody.
        if ctx.client.is_none_or(is_listed) {
            Verdict::Reply(Reply::new(StatusCode::FORBIDDEN, "ip_denied"))
        } else {
            Verdict::Continue
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_as_many_ranges_as_it_may_and_no_more() {
        let ranges = |count: usize| vec!["10.0.0.0/8".to_owned(); count];
        assert!(compile(&ranges(MOST)).is_ok());
        let refused = compile(&ranges(MOST + 1)).unwrap_err();
        assert_eq!(refused.to_string(), "cidrs: holds 1001 ranges; write 1 to 1000");
    }
}
