//! Where a proxy's configuration comes from.

mod file;

use tokio::sync::mpsc;

pub use self::file::{FileError, file};
use crate::{Rejection, Update};

/// A stream of updates with a way to answer each: the pair that every transport becomes.
#[derive(Debug)]
pub struct Source {
    /// Updates, oldest first.
    pub updates: mpsc::Receiver<Update>,
    /// One answer per update.
    pub answers: mpsc::Sender<Answer>,
}

/// The other end of a [`Source`].
#[derive(Debug)]
pub struct Publisher {
    /// Updates, oldest first.
    pub updates: mpsc::Sender<Update>,
    /// One answer per update.
    pub answers: mpsc::Receiver<Answer>,
}

/// What a proxy made of an update: it serves `version` now, save what is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The update's.
    pub version: u64,
    /// Resources not or only partly in use.
    pub rejections: Vec<Rejection>,
}

/// A source in this process.
#[must_use]
pub fn channel() -> (Publisher, Source) {
    let (update_tx, update_rx) = mpsc::channel(16);
    let (answer_tx, answer_rx) = mpsc::channel(16);
    (Publisher { updates: update_tx, answers: answer_rx }, Source { updates: update_rx, answers: answer_tx })
}
