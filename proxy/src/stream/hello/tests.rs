use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// What has come of these bytes, given in such pieces.
fn fed(bytes: &[u8], piece: usize) -> Result<Option<Option<Box<str>>>, Malformed> {
    let mut hello = Hello::default();
    for piece in bytes.chunks(piece) {
        let mut rest = piece;
        while !rest.is_empty() {
            let mut room = hello.room();
            let taken = rest.len().min(room.remaining_mut());
            room.put_slice(&rest[..taken]);
            drop(room);
            assert!(taken > 0, "no room, and it was not said that the ClientHello is too large");
            rest = &rest[taken..];
            assert!(hello.seen.len() <= MOST && hello.message.len() <= MOST);
            assert!(hello.seen.capacity() <= MOST, "{}", hello.seen.capacity());
            let name = hello.name()?;
            if name.is_some() {
                return Ok(name);
            }
        }
    }
    Ok(None)
}

fn name(bytes: &[u8]) -> Result<Option<Option<Box<str>>>, Malformed> {
    fed(bytes, usize::MAX)
}

fn named(name: &str) -> Result<Option<Option<Box<str>>>, Malformed> {
    Ok(Some(Some(name.into())))
}

/// As a real client sends it.
fn real(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn vec16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vec16(body)].concat()
}

fn server_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|(kind, name)| [vec![*kind], vec16(name)].concat()).collect();
    extension(0, &vec16(&list))
}

/// A handshake message with these extensions; `None`: as before there were any.
fn message(extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![3, 1];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 47, 1, 0]);
    body.extend(extensions.map(vec16).unwrap_or_default());
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO], &length[1..], &body].concat()
}

fn records(message: &[u8], piece: usize) -> Vec<u8> {
    let record = |part: &[u8]| [vec![HANDSHAKE, 3, 1], vec16(part)].concat();
    message.chunks(piece).flat_map(record).collect()
}

fn whole(extensions: &[u8]) -> Vec<u8> {
    records(&message(Some(extensions)), usize::MAX)
}

#[test]
fn a_real_client_is_read_in_whatever_pieces_it_comes() {
    let bytes = real("Shop.Example.com");
    for piece in [1, 2, 5, 100, bytes.len()] {
        assert_eq!(fed(&bytes, piece), named("shop.example.com"), "in pieces of {piece}");
    }
    assert_eq!(name(&bytes[..bytes.len() - 1]), Ok(None));
}

#[test]
fn a_hello_over_many_records_is_one() {
    let bytes = real("shop.example.com");
    let message = &bytes[HEADER..];
    for piece in [1, 3, 50] {
        assert_eq!(fed(&records(message, piece), 7), named("shop.example.com"), "records of {piece}");
    }
}

#[test]
fn what_follows_the_hello_stays() {
    let bytes = [real("a.test"), b"early data".to_vec()].concat();
    let mut hello = Hello::default();
    hello.room().put_slice(&bytes);
    assert_eq!(hello.name(), named("a.test"));
    assert_eq!(hello.into_seen(), bytes);
}

#[test]
fn old_and_odd_clients_are_read_too() {
    assert_eq!(name(&records(&message(None), usize::MAX)), Ok(Some(None)), "without extensions");
    assert_eq!(name(&whole(&[])), Ok(Some(None)), "without a name");
    let grease = [extension(0x0a0a, &[]), server_names(&[(0, b"a.test")]), extension(0xfafa, &[0])].concat();
    assert_eq!(name(&whole(&grease)), named("a.test"), "GREASE (RFC 8701)");
    assert_eq!(
        name(&whole(&server_names(&[(9, b"?"), (0, b"a.test.")]))),
        named("a.test"),
        "other kinds of names"
    );
    assert_eq!(name(&whole(&server_names(&[(0, b"192.0.2.1")]))), Ok(Some(None)), "an address is no name");
}

#[test]
fn what_is_no_hello_is_said_at_its_first_byte() {
    assert_eq!(name(b"G"), Err(Malformed::NotTls));
    assert_eq!(name(&[HANDSHAKE, 2]), Err(Malformed::NotTls));
    assert_eq!(name(&[HANDSHAKE, 3, 1, 0, 1, 2]), Err(Malformed::Hello), "a ServerHello");
}

#[test]
fn hellos_that_two_could_read_differently_are_refused() {
    let twice = [server_names(&[(0, b"a.test")]), server_names(&[(0, b"b.test")])].concat();
    let long = [b'a'; 254];
    for (what, extensions) in [
        ("the extension twice", twice),
        ("two names", server_names(&[(0, b"a.test"), (0, b"b.test")])),
        ("an empty name", server_names(&[(0, b"")])),
        ("a byte that no name has", server_names(&[(0, b"a\0.test")])),
        ("a name that is no text", server_names(&[(0, b"\xff.test")])),
        ("a long name", server_names(&[(0, &long)])),
        ("a length beyond the end", vec![0, 0, 0, 9, 1]),
    ] {
        assert_eq!(name(&whole(&extensions)), Err(Malformed::Hello), "{what}");
    }
    let mut trailing = message(Some(&[]));
    trailing.push(0);
    trailing[3] += 1;
    assert_eq!(name(&records(&trailing, usize::MAX)), Err(Malformed::Hello), "bytes after the extensions");
    assert_eq!(name(&[HANDSHAKE, 3, 1, 0, 0]), Err(Malformed::Hello), "an empty record");
}

#[test]
fn a_large_hello_is_taken_up_to_the_bound_and_no_further() {
    let filled = |fill: usize| {
        let extensions = [server_names(&[(0, b"a.test")]), extension(21, &vec![0; fill])].concat();
        whole(&extensions)
    };
    let most = MOST - filled(0).len();
    assert_eq!(fed(&filled(most), 1000), named("a.test"));
    assert_eq!(fed(&filled(most + 1), 1000), Err(Malformed::TooLarge));
    assert_eq!(name(&[HANDSHAKE, 3, 1, 0, 4, CLIENT_HELLO, 1, 0, 0]), Err(Malformed::TooLarge));
    // Small records that never become a whole message.
    let endless = records(&[CLIENT_HELLO, 0, 0x3f, 0xff].repeat(8000), 1);
    assert_eq!(fed(&endless, 100), Err(Malformed::TooLarge));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_it_may(
        bytes in proptest::collection::vec(any::<u8>(), 0..40_000),
        piece in 1..5000_usize,
    ) {
        let _ = fed(&bytes, piece);
    }

    #[test]
    fn a_hello_with_wrong_bytes_neither(
        at in proptest::collection::vec((0..300_usize, any::<u8>()), 1..8),
        cut in 0..300_usize,
        piece in 1..64_usize,
    ) {
        let mut bytes = whole(&[extension(0x1a1a, &[0; 9]), server_names(&[(0, b"shop.example.com")])].concat());
        for (at, byte) in at {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        bytes.truncate(bytes.len().max(cut) - cut.min(bytes.len()) / 3);
        // Whatever it is, it is the same in other pieces.
        prop_assert_eq!(fed(&bytes, piece), fed(&bytes, usize::MAX));
    }

    /// The backend must see the name that the route was chosen by.
    #[test]
    fn whom_rustls_takes_is_read_as_rustls_reads_it(
        at in proptest::collection::vec((0..2000_usize, any::<u8>()), 0..3),
    ) {
        let mut bytes = real("shop.example.com");
        for (at, byte) in at {
            let length = bytes.len();
            bytes[HEADER + at % (length - HEADER)] = byte;
        }
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor.read_tls(&mut bytes.as_slice()).unwrap();
        if let Ok(Some(accepted)) = acceptor.accept() {
            let theirs = accepted.client_hello().server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
            if let Ok(Some(ours)) = name(&bytes) {
                prop_assert_eq!(ours.as_deref(), theirs.as_deref());
            }
        }
    }
}
