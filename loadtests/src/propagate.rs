//! propagate
use anyhow::{Result, bail};
use crate::args::PropagateArgs;
pub(crate) async fn run(_: &PropagateArgs) -> Result<bool> { bail!("not yet") }
