//! Single values of rules, as users write them.

use http::Method;

use super::facts::{Account, HostPattern, SpiffePattern};
use super::spec::ServiceAccount;
use crate::caller::spiffe_path;
use crate::{Invalid, head};

/// Bytes that are compared.
pub(super) type Text = Box<[u8]>;

#[allow(clippy::ptr_arg, reason = "the entries of a list")]
pub(super) fn text(text: &String, field: &str) -> Result<Text, Invalid> {
    let wrong = || Invalid::field(field, "is empty: write a name");
    (!text.is_empty()).then(|| text.as_bytes().into()).ok_or_else(wrong)
}

/// RFC 1123: what Kubernetes calls a subdomain.
pub(super) fn kubernetes_name<'a>(text: &'a str, field: &str) -> Result<&'a [u8], Invalid> {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        let message = format!("{text:?} is no name in Kubernetes: use lower case letters, digits, - and .");
        return Err(Invalid::field(field, message));
    }
    Ok(text.as_bytes())
}

pub(super) fn account(account: &ServiceAccount, field: &str) -> Result<Account, Invalid> {
    kubernetes_name(&account.namespace, &format!("{field}.namespace"))?;
    let is_any = account.name == "*";
    if !is_any {
        kubernetes_name(&account.name, &format!("{field}.name"))?;
    }
    Ok((account.namespace.as_str().into(), (!is_any).then(|| account.name.as_str().into())))
}

#[allow(clippy::ptr_arg, reason = "the entries of a list")]
pub(super) fn spiffe(text: &String, field: &str) -> Result<SpiffePattern, Invalid> {
    let below = text.strip_suffix("/*");
    let id = below.unwrap_or(text);
    if spiffe_path(id).is_none() {
        let message = format!(
            "{text:?} is no SPIFFE ID: write one such as spiffe://cluster.local/ns/web/sa/bff, or \
             spiffe://cluster.local/ns/web/* for all below"
        );
        return Err(Invalid::field(field, message));
    }
    let id = id.as_bytes().into();
    Ok(if below.is_some() { SpiffePattern::Below(id) } else { SpiffePattern::Exact(id) })
}

#[allow(clippy::ptr_arg, reason = "the entries of a list")]
pub(super) fn method(text: &String, field: &str) -> Result<Text, Invalid> {
    let is_method = Method::from_bytes(text.as_bytes()).is_ok();
    if !is_method || text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let message = format!("{text:?} is no method: write it in upper case, such as GET");
        return Err(Invalid::field(field, message));
    }
    Ok(text.as_bytes().into())
}

#[allow(clippy::ptr_arg, reason = "the entries of a list")]
pub(super) fn host(text: &String, field: &str) -> Result<HostPattern, Invalid> {
    let below = text.strip_prefix("*.");
    head::check_precise(field, below.unwrap_or(text)).map_err(|_| {
        let wanted = "a name in lower case such as shop.example.com, or *.example.com for all below; no address, no port";
        Invalid::field(field, format!("{text:?} is no host: write {wanted}"))
    })?;
    Ok(match below {
        Some(below) => HostPattern::Suffix(format!(".{below}").into_bytes().into()),
        None => HostPattern::Exact(text.as_bytes().into()),
    })
}
