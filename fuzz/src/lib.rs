//! Fuzz targets: bytes in, an oracle that panics when something is wrong.
//!
//! Each target compares what Fairway makes of its input with an independent reading of the same bytes, and takes bounded
//! memory ([`memory::bounded`]). `tests/replay.rs` runs the corpora through them; `.ci/fuzz` looks for more
//! (`docs/fuzz.md`).

pub mod access_log;
pub mod authorization;
pub mod cel;
pub mod chunked;
pub mod client;
pub mod client_hello;
pub mod credentials;
pub mod edits;
pub mod frames;
pub mod head;
pub mod host;
pub mod jwks_parse;
pub mod jwt_verify;
pub mod limits;
pub mod manifests;
pub mod memory;
pub mod path;
mod pieces;
pub mod proxy_protocol;
pub mod reply;
pub mod resources;
pub mod routes;
pub mod travel;

/// A target with its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 21] = [
    ("access_log", access_log::run),
    ("authorization", authorization::run),
    ("cel", cel::run),
    ("chunked", chunked::run),
    ("client", client::run),
    ("client_hello", client_hello::run),
    ("credentials", credentials::run),
    ("edits", edits::run),
    ("frames", frames::run),
    ("head", head::run),
    ("host", host::run),
    ("jwks_parse", jwks_parse::run),
    ("jwt_verify", jwt_verify::run),
    ("limits", limits::run),
    ("manifests", manifests::run),
    ("path", path::run),
    ("proxy_protocol", proxy_protocol::run),
    ("reply", reply::run),
    ("resources", resources::run),
    ("routes", routes::run),
    ("travel", travel::run),
];

/// The program of a target: what libFuzzer calls. A panic ends the process there, as it cannot unwind into C++.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[allow(
            unsafe_code,
            reason = "libFuzzer promises `size` bytes at `data`, and finds this by its name"
        )]
        #[unsafe(no_mangle)]
        extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> i32 {
            let bytes = if size == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, size) } };
            $crate::$name::run(bytes);
            0
        }
    };
}
