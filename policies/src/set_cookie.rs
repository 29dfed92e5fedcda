//! Cookies that proxies give to clients (RFC 6265 section 4.1).

use http::{HeaderValue, header};

use crate::{Response, Scheme};

/// A cookie that no script of a page reads, and that goes over TLS only where it came so.
pub(crate) struct SetCookie<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) path: &'a str,
    /// In seconds. Without it clients keep it while they run.
    pub(crate) max_age: Option<u64>,
    pub(crate) same_site: &'static str,
    pub(crate) scheme: Scheme,
}

impl SetCookie<'_> {
    /// Beside those that the response gives already.
    pub(crate) fn give(&self, rsp: &mut Response) {
        let Self { name, value, path, max_age, same_site, scheme } = self;
        let age = max_age.map_or_else(String::new, |age| format!("; Max-Age={age}"));
        let secure = if *scheme == Scheme::Https { "; Secure" } else { "" };
        let cookie = format!("{name}={value}; Path={path}{age}; HttpOnly; SameSite={same_site}{secure}");
        // It cannot fail: all of it is visible ASCII, as paths of requests are.
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            let _ = rsp.append_header(header::SET_COOKIE, cookie);
        }
    }
}
