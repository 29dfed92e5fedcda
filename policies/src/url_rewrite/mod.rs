//! Changes the host and path the backend sees (HTTPURLRewriteFilter). The query stays.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::head::{self, Host};
use crate::path::{PathEdit, PathModifier};
use crate::{Context, Filter, Invalid, Lookup, Policy, Request, Verdict};

/// What the backend sees instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UrlRewrite {
    /// Host header. Default: as the client sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Path. Default: as the client sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

impl Policy for UrlRewrite {
    type Filter = UrlRewriteFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<UrlRewriteFilter, Invalid> {
        Ok(UrlRewriteFilter {
            host: self.hostname.as_deref().map(|name| Host::compile_precise("hostname", name)).transpose()?,
            path: self.path.as_ref().map(|path| PathEdit::compile(path, "path")).transpose()?,
        })
    }
}

/// A compiled [`UrlRewrite`].
#[derive(Debug)]
pub struct UrlRewriteFilter {
    host: Option<Host>,
    path: Option<PathEdit>,
}

impl Filter for UrlRewriteFilter {
    type State = ();

    fn request<'a>(&'a self, req: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        if let Some(host) = &self.host {
            host.apply(req);
        }
        if let Some(edit) = &self.path {
            let (path, query) = (req.uri.path(), req.uri.query());
            let mut target = String::with_capacity(edit.max_len(path) + query.map_or(0, |q| q.len() + 1));
            ctx.matched_prefix = edit.write(path, ctx.matched_prefix, &mut target);
            if let Some(query) = query {
                target.push('?');
                target.push_str(query);
            }
            head::set_target(req, target);
        }
        Verdict::Continue
    }
}
