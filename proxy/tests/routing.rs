//! Resources and requests in, decisions out: compile → find → chain, without a socket.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod routing {
    mod decisions;
    mod hostile;
    mod incremental;
    mod oracle;
    mod paths;
    mod precedence;
    mod rejections;
    mod security;
    mod sharing;
    mod streams;
    mod support;
    mod tls;
}
