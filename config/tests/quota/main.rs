//! Leased limits in a simulated world: proxies, a quota server, a network that delays, loses and parts, and an oracle that
//! sees every admitted request. One test is one row of the accuracy table, over many seeds: `QUOTA_SEEDS` says how many
//! (default 4; the table asks for 1,000), `QUOTA_SEED` which
//! is the first, and each prints the worst it has seen beside its bound.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

mod chance;
mod figures;
mod flood;
mod handover;
mod oracle;
mod parts;
mod replay;
mod rows;
mod world;
