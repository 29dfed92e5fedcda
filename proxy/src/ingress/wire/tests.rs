use proptest::prelude::*;

use super::*;

/// The verdict on a request, fed whole and in every cut in two; they must agree.
fn verdict(request: &[u8]) -> Result<(), Fault> {
    let whole = Wire::default().pass(request);
    for cut in 0..=request.len() {
        let mut wire = Wire::default();
        let parts = wire.pass(&request[..cut]).and_then(|()| wire.pass(&request[cut..]));
        assert_eq!(parts, whole, "cut at {cut}: {}", request.escape_ascii());
    }
    whole
}

fn head(fields: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

#[test]
fn request_lines_are_taken_or_refused() {
    for (line, want) in [
        ("GET / HTTP/1.1", Ok(())),
        ("M-SEARCH * HTTP/1.0", Ok(())),
        ("\r\nGET / HTTP/1.1", Ok(())),
        ("\r\n\r\nGET / HTTP/1.1", Err(Fault::Request)),
        ("\nGET / HTTP/1.1", Err(Fault::Request)),
        (" GET / HTTP/1.1", Err(Fault::Request)),
        ("G\u{e9}T / HTTP/1.1", Err(Fault::Request)),
        ("GET  / HTTP/1.1", Err(Fault::Target)),
        ("GET /a b HTTP/1.1", Err(Fault::Request)),
        ("GET /a#b HTTP/1.1", Err(Fault::Target)),
        ("GET /\u{e9} HTTP/1.1", Err(Fault::Target)),
        ("GET /", Err(Fault::Target)),
        ("GET / HTTP/1.2", Err(Fault::Version)),
        ("GET / HTTP/3.0", Err(Fault::Version)),
        ("GET / HTTP/1.11", Err(Fault::Request)),
        ("GET / http/1.1", Err(Fault::Request)),
        ("GET / ICAP/1.0", Err(Fault::Request)),
        ("SSH-2.0-x a b", Err(Fault::Foreign)),
        ("INVALID CONNECTION PREFACE", Err(Fault::Foreign)),
        ("GET /a 1", Err(Fault::Request)),
        ("GET / HTTP/1.1 ", Err(Fault::Request)),
        ("GET / HTTP/1.1\nHost: a", Err(Fault::Request)),
    ] {
        assert_eq!(verdict(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), want, "{line:?}");
    }
}

#[test]
fn fields_are_taken_or_refused() {
    for (fields, want) in [
        ("X: y\r\n", Ok(())),
        ("X:\r\n", Ok(())),
        ("X_Y: z\r\n", Ok(())),
        ("X : y\r\n", Err(Fault::Field)),
        (" X: y\r\n", Err(Fault::Field)),
        ("X: y\r\n z\r\n", Err(Fault::Field)),
        ("X: y\nZ: a\r\n", Err(Fault::Field)),
        ("X: y\rZ: a\r\n", Err(Fault::Field)),
        (": y\r\n", Err(Fault::Field)),
        ("X\r\n", Err(Fault::Field)),
        ("\n", Err(Fault::Field)),
        ("Content-Length: 5\r\n", Ok(())),
        ("Content-Length: \t0 \r\n", Ok(())),
        ("Content-Lengths: x\r\n", Ok(())),
        ("Content-Lengt: x\r\n", Ok(())),
        ("Content-Length: 05\r\n", Err(Fault::Framing)),
        ("Content-Length: \r\n", Err(Fault::Framing)),
        ("Content-Length: 5 5\r\n", Err(Fault::Framing)),
        ("Content-Length: +5\r\n", Err(Fault::Framing)),
        ("Content-Length: 1234567890123456789\r\n", Err(Fault::Framing)),
        ("content-length: 5\r\nCONTENT-LENGTH: 5\r\n", Err(Fault::Framing)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Err(Fault::Framing)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(Fault::Framing)),
        ("Transfer-Encoding: \tCHUNKED \r\n", Ok(())),
        ("Transfer-Encoding: chunke\r\n", Err(Fault::Coding)),
        ("Transfer-Encoding: chunked, x\r\n", Err(Fault::Coding)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(Fault::Coding)),
    ] {
        assert_eq!(verdict(&head(fields)), want, "{fields:?}");
    }
    assert_eq!(verdict(&head(&"X: y\r\n".repeat(249))), Ok(()));
    assert_eq!(verdict(&head(&"X: y\r\n".repeat(250))), Err(Fault::TooLarge));
}

#[test]
fn a_head_has_a_limit_that_names_the_part() {
    let mut wire = Wire::default();
    let long = vec![b'a'; 61 * 1024];
    assert_eq!(wire.pass(b"GET /"), Ok(()));
    assert_eq!(wire.pass(&long), Err(Fault::TargetTooLong));
    let mut wire = Wire::default();
    assert_eq!(wire.pass(b"GET / HTTP/1.1\r\nX: "), Ok(()));
    assert_eq!(wire.pass(&long), Err(Fault::TooLarge));
}

#[test]
fn a_head_is_as_large_as_its_port_says() {
    let request = head(&"X: y\r\n".repeat(20));
    for (limit, fits) in [(Some(request.len()), true), (Some(request.len() - 1), false), (None, true)] {
        assert_eq!(Wire::within(limit).pass(&request).is_ok(), fits, "{limit:?}");
    }
    assert_eq!(
        Wire::within(Some(61 * 1024)).pass(&head(&format!("X: {}\r\n", "y".repeat(60 * 1024)))),
        Ok(())
    );
}

#[test]
fn chunks_are_taken_or_refused() {
    for (body, want) in [
        ("0\r\n\r\n", Ok(())),
        ("3;a=\"b\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\nwhatever", Ok(())),
        ("\r\n\r\n", Err(Fault::Chunk)),
        (";a\r\n", Err(Fault::Chunk)),
        ("0x1\r\n", Err(Fault::Chunk)),
        (" 1\r\n", Err(Fault::Chunk)),
        ("1 \r\n", Err(Fault::Chunk)),
        ("1\nZ\r\n", Err(Fault::Chunk)),
        ("1\r\rZ", Err(Fault::Chunk)),
        ("1;a\nZ", Err(Fault::Chunk)),
        ("1;\0\r\n", Err(Fault::Chunk)),
        ("1\r\nZX", Err(Fault::Chunk)),
        ("1\r\nZ\n0", Err(Fault::Chunk)),
        ("0000000000000001\r\n", Err(Fault::Chunk)),
        ("0\n\n", Err(Fault::Chunk)),
        ("0\r\nX y\r\n", Err(Fault::Chunk)),
        ("0\r\nX: y\nZ: a\r\n", Err(Fault::Chunk)),
    ] {
        let mut request = head("Transfer-Encoding: chunked\r\n");
        request.extend_from_slice(body.as_bytes());
        assert_eq!(verdict(&request), want, "{body:?}");
    }
}

#[test]
fn extensions_must_be_paid_for_by_data() {
    let mut wire = Wire::default();
    wire.pass(&head("Transfer-Encoding: chunked\r\n")).unwrap();
    let cheap = format!("1;{}\r\nZ\r\n", "a".repeat(100));
    assert!((0..200).any(|_| wire.pass(cheap.as_bytes()) == Err(Fault::Chunk)));
    let mut wire = Wire::default();
    wire.pass(&head("Transfer-Encoding: chunked\r\n")).unwrap();
    let fair = format!("64;{}\r\n{}\r\n", "a".repeat(100), "Z".repeat(100));
    assert!((0..2000).all(|_| wire.pass(fair.as_bytes()) == Ok(())));
}

proptest! {
    /// What is taken is a request for a strict parser too, and where it is cut makes no difference.
    #[test]
    fn what_is_taken_is_a_request(
        lines in proptest::collection::vec("[ -~\t]{0,12}", 0..4),
        end in "(\r\n|\n|\r|\r\n\r\n){1,2}",
        cuts in proptest::collection::vec(0usize..80, 0..4),
    ) {
        let request = format!("GET /{} HTTP/1.1{end}{}{end}\r\n", lines.first().map_or("", |l| l), lines.join(&end));
        let mut wire = Wire::default();
        let mut taken = Ok(());
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut from = 0;
        for cut in cuts.into_iter().chain([request.len()]) {
            let cut = cut.clamp(from, request.len());
            taken = taken.and_then(|()| wire.pass(&request.as_bytes()[from..cut]));
            from = cut;
        }
        prop_assert_eq!(taken, Wire::default().pass(request.as_bytes()));
        if taken.is_ok() && !matches!(wire, Wire::Head(_)) {
            let head = request.split("\r\n\r\n").next().unwrap();
            prop_assert!(!head.replace("\r\n", "").contains(['\r', '\n']));
            prop_assert!(head.lines().skip(1).all(|line| line.contains(':')));
        }
    }
}
