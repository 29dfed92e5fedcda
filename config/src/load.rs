//! What backends are doing, told by proxies to whoever asks: Envoy's Load Reporting Service (LRS), as much of it as a
//! release needs.
//!
//! # A report
//!
//! | # | who | what |
//! |---|---|---|
//! | 1 | proxy | opens a stream and says who it is; as long as nobody asks, that is all |
//! | 2 | server | names backends, of those that the proxy's Gateway may see, and how often to tell of them |
//! | 3 | proxy | tells what came to each since it told last; a backend without requests is left out |
//! | 4 | server | adds up what all proxies tell ([`Loads::counts`]) |
//!
//! Requests pay nothing for it: what is told are the counters that metrics show ([`Counters`]). A report that is lost is lost,
//! so what is added up may lack some, and never has any twice.

mod counts;
mod drive;
pub mod proto;
mod report;
mod serve;

pub use counts::{Counters, Counts};
pub use drive::{Driver, Line, Way};
pub use report::Reporter;
pub use serve::{LoadCounts, Loads, Refused, Session, Sight};

/// Backends that are asked for at one time. Whatever is more than these is asked for later.
pub const MAX_BACKENDS: usize = 1024;

#[cfg(test)]
mod tests;
