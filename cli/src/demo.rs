//! Pods to try things with: servers that say what they were asked, and whom they asked in turn.

pub(crate) mod echo;
pub(crate) mod tally;
