//! The way to Redis or Valkey, for those who share state there.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use config::Redacted;
use config::redis::RedisSettings;

use crate::args;

/// Where it is, if somebody said so.
pub(super) fn settings(args: &args::Redis) -> anyhow::Result<Option<RedisSettings>> {
    let Some(url) = &args.url else { return Ok(None) };
    let read = |path: &PathBuf| fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    let password = args.password.as_ref().map(|path| {
        let text =
            String::from_utf8(read(path)?).with_context(|| format!("{} is no text", path.display()))?;
        anyhow::Ok(Redacted::new(text.trim_end_matches(['\r', '\n'])))
    });
    Ok(Some(RedisSettings {
        url: Redacted::new(url),
        password: password.transpose()?,
        authority: args.authority.as_ref().map(read).transpose()?,
        prefix: args.prefix.clone(),
    }))
}
