use super::*;

const MS: Duration = Duration::from_millis(1);
const AT_ONCE: Next = Next::Again { delay: Duration::ZERO, budgeted: false };

fn facts(failure: Failure, sent: Sent, idempotent: bool) -> Facts {
    Facts { failure, sent, idempotent, replayable: true, untried: true, left: None, entropy: 0 }
}

fn plan(attempts: u32, codes: &[u16]) -> Plan {
    Plan { codes: codes.into(), attempts, backoff: 20 * MS }
}

/// How often a request that always fails alike is repeated at once and by policy.
fn repeats(plan: Option<&Plan>, facts: &Facts) -> (u32, u32) {
    let (mut attempts, mut at_once, mut by_policy) = (Attempts::default(), 0, 0);
    loop {
        match attempts.next(plan, facts) {
            Next::Again { budgeted: false, .. } => at_once += 1,
            Next::Again { budgeted: true, .. } => by_policy += 1,
            Next::Done => break,
        }
        assert!(at_once + by_policy < 100, "for ever");
    }
    assert_eq!(attempts.repeated(), at_once + by_policy);
    (at_once, by_policy)
}

#[test]
fn the_table_of_the_module_holds() {
    let plan = plan(4, &[500, 503]);
    let (reused, new) = (Failure::Closed { reused: true }, Failure::Closed { reused: false });
    for (failure, sent, idempotent, without, with) in [
        (Failure::Connect, Sent::Nothing, true, (2, 0), (2, 4)),
        (Failure::Connect, Sent::Nothing, false, (2, 0), (2, 4)),
        (reused, Sent::Nothing, true, (2, 0), (2, 4)),
        (reused, Sent::Nothing, false, (2, 0), (2, 4)),
        (new, Sent::Nothing, false, (2, 0), (2, 4)),
        (reused, Sent::Maybe, true, (2, 0), (2, 4)),
        (reused, Sent::Maybe, false, (0, 0), (0, 0)),
        (new, Sent::Maybe, true, (1, 0), (1, 4)),
        (new, Sent::Maybe, false, (0, 0), (0, 0)),
        (Failure::Timeout, Sent::Maybe, true, (0, 0), (0, 4)),
        (Failure::Timeout, Sent::Maybe, false, (0, 0), (0, 0)),
        (Failure::Response(503), Sent::Maybe, true, (0, 0), (0, 4)),
        (Failure::Response(503), Sent::Maybe, false, (0, 0), (0, 4)),
        (Failure::Response(502), Sent::Maybe, true, (0, 0), (0, 0)),
        (Failure::Malformed, Sent::Maybe, true, (0, 0), (0, 0)),
    ] {
        let facts = facts(failure, sent, idempotent);
        assert_eq!(repeats(None, &facts), without, "{facts:?} without a policy");
        assert_eq!(repeats(Some(&plan), &facts), with, "{facts:?} with a policy");
    }
}

#[test]
fn a_connect_failure_moves_to_another_endpoint_and_not_back_to_the_same() {
    let connect = facts(Failure::Connect, Sent::Nothing, false);
    assert_eq!(Attempts::default().next(None, &connect), AT_ONCE);
    let alone = Facts { untried: false, ..connect };
    assert_eq!(Attempts::default().next(None, &alone), Next::Done);
    assert_eq!(
        repeats(Some(&plan(2, &[])), &alone),
        (0, 2),
        "a policy tries the same one again, after a while"
    );
}

#[test]
fn a_dropped_connection_is_repeated_on_the_only_endpoint_too() {
    let closed = Facts { untried: false, ..facts(Failure::Closed { reused: true }, Sent::Maybe, true) };
    assert_eq!(Attempts::default().next(None, &closed), AT_ONCE);
}

#[test]
fn a_body_that_cannot_be_sent_again_ends_everything() {
    for failure in
        [Failure::Connect, Failure::Closed { reused: true }, Failure::Timeout, Failure::Response(503)]
    {
        let facts = Facts { replayable: false, ..facts(failure, Sent::Nothing, true) };
        assert_eq!(repeats(Some(&plan(4, &[503])), &facts), (0, 0), "{failure:?}");
    }
}

#[test]
fn no_retry_starts_after_the_time_of_the_request() {
    let failed = facts(Failure::Response(503), Sent::Maybe, true);
    let next = |left| Attempts::default().next(Some(&plan(1, &[503])), &Facts { left: Some(left), ..failed });
    assert_eq!(next(19 * MS), Next::Done);
    assert_eq!(next(20 * MS), Next::Done, "no time for the attempt itself");
    assert_eq!(next(21 * MS), Next::Again { delay: 20 * MS, budgeted: true });
    let connect = Facts { left: Some(Duration::ZERO), ..facts(Failure::Connect, Sent::Nothing, true) };
    assert_eq!(Attempts::default().next(None, &connect), Next::Done);
}

#[test]
fn backoff_is_never_less_than_configured_and_doubles_with_jitter() {
    for (retry, most) in
        [(1, 40), (2, 80), (3, 160), (4, 320), (5, 640), (6, 640), (31, 640), (32, 640), (900, 640)]
    {
        assert_eq!(backoff(20 * MS, retry, 0), 20 * MS);
        let longest = backoff(20 * MS, retry, u64::MAX);
        assert!(longest <= most * MS && longest > (most - 1) * MS, "{retry}: {longest:?}");
        let middle = backoff(20 * MS, retry, u64::MAX / 2);
        assert!(middle > 20 * MS && middle < longest, "{retry}: {middle:?}");
    }
    assert_eq!(backoff(Duration::MAX, 3, 7), Duration::MAX);
    assert_eq!(backoff(Duration::ZERO, 3, 7), Duration::ZERO);
}

#[test]
fn pingoras_errors_are_read_by_what_the_upstream_can_have_seen() {
    let error = |etype, retry: RetryType, context: &'static str| {
        let mut error = Error::explain(etype, context);
        error.retry = retry;
        error
    };
    let (no, yes, reused) = (RetryType::Decided(false), RetryType::Decided(true), RetryType::ReusedOnly);
    let connected = Stage::Connected { reused: true };
    let closed = Failure::Closed { reused: true };
    for (error, stage, failure, sent) in [
        (error(ErrorType::ConnectRefused, no, ""), Stage::Connecting, Failure::Connect, Sent::Nothing),
        (error(ErrorType::TLSHandshakeFailure, no, ""), Stage::Connecting, Failure::Connect, Sent::Nothing),
        (
            error(ErrorType::H2Error, no, "while creating new stream"),
            Stage::Connecting,
            closed,
            Sent::Nothing,
        ),
        (error(ErrorType::ConnectionClosed, reused, ""), connected, closed, Sent::Maybe),
        (error(ErrorType::ReadError, reused, ""), connected, closed, Sent::Maybe),
        (error(ErrorType::WriteError, no, "while writing request headers"), connected, closed, Sent::Nothing),
        (error(ErrorType::WriteError, no, "flushing request header"), connected, closed, Sent::Nothing),
        (error(ErrorType::WriteError, no, "writing body"), connected, closed, Sent::Maybe),
        (error(ErrorType::H2Error, yes, "while reading h2 header"), connected, closed, Sent::Nothing),
        (error(ErrorType::H2Error, no, "while reading h2 header"), connected, closed, Sent::Maybe),
        (error(ErrorType::ReadTimedout, no, ""), connected, Failure::Timeout, Sent::Maybe),
        (error(ErrorType::InvalidHTTPHeader, no, ""), connected, Failure::Malformed, Sent::Maybe),
        (error(ErrorType::InvalidH2, yes, ""), connected, Failure::Malformed, Sent::Maybe),
    ] {
        assert_eq!(Failure::of(&error, stage), (failure, sent), "{error}");
    }
}
