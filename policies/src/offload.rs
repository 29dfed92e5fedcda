//! Work that would hold a worker up.

use std::fmt;
use std::pin::Pin;

/// Work that ends in yes or no.
pub type Work = Box<dyn FnOnce() -> bool + Send>;

/// Runs what would hold a worker up for milliseconds, such as a slow hash, away from the workers.
pub trait Offload: Send + Sync + fmt::Debug {
    /// Runs `work` and tells what came of it; `None` when too much waits already. Dropping the future drops work that has
    /// not begun.
    fn run(&self, work: Work) -> Pin<Box<dyn Future<Output = Option<bool>> + Send>>;
}

/// Runs work where it is waited for: for tools and tests, which have nobody to hold up.
#[derive(Debug)]
pub struct AtOnce;

impl Offload for AtOnce {
    fn run(&self, work: Work) -> Pin<Box<dyn Future<Output = Option<bool>> + Send>> {
        Box::pin(async move { Some(work()) })
    }
}
