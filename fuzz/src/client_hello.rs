//! The name in a ClientHello: whom rustls takes has to be read as rustls reads it, in whatever pieces it comes.

use proxy::fuzzing::{Greeting, client_hello};
use rustls::server::Acceptor;

use crate::memory::bounded;

/// The size of the pieces (0: one), and what the client sends.
pub fn run(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let whole = bounded(bytes.len(), 40_000, || client_hello(bytes, usize::MAX));
    if *piece > 0 {
        assert_eq!(client_hello(bytes, usize::from(*piece)), whole, "in pieces of {piece}");
    }
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok(1..) = acceptor.read_tls(&mut rest) else { return };
        match acceptor.accept() {
            Ok(None) => {}
            Err(_) => return,
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(plain);
                // What rustls does not look at (lengths of what it skips) we may refuse, and what is beyond our bound.
                if let Greeting::Read(read) = whole {
                    assert_eq!(read, name);
                }
                return;
            }
        }
    }
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
