//! churn
use anyhow::{Result, bail};
use crate::args::ChurnArgs;
pub(crate) async fn run(_: &ChurnArgs) -> Result<bool> { bail!("not yet") }
