//! Resources and requests in, decisions out: compile → find → chain, without a socket.

mod routing {
    mod decisions;
    mod hostile;
    mod incremental;
    mod oracle;
    mod precedence;
    mod rejections;
    mod sharing;
    mod support;
    mod tls;
}
