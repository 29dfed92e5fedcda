//! Resources and requests in, decisions out: compile → find → chain, without a socket.

mod routing {
    mod incremental;
    mod oracle;
    mod precedence;
    mod support;
}
