//! The connection to Redis or Valkey of those who share state there.

use std::fs;

use anyhow::Context as _;
use config::Redacted;
use config::redis::{Redis, RedisSettings};

use crate::args;

/// Begins to connect, where somebody said to what. Nobody has to be there yet.
pub(super) fn open(args: &args::Redis) -> anyhow::Result<Option<Redis>> {
    let Some(url) = &args.url else { return Ok(None) };
    let read = |path| fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    let password = args.password.as_ref().map(|path| {
        let text =
            String::from_utf8(read(path)?).with_context(|| format!("{} is no text", path.display()))?;
        anyhow::Ok(Redacted::new(text.trim_end_matches(['\r', '\n'])))
    });
    let settings = RedisSettings {
        url: Redacted::new(url),
        password: password.transpose()?,
        authority: args.authority.as_ref().map(read).transpose()?,
    };
    Ok(Some(Redis::open(&settings).context("--redis")?))
}
