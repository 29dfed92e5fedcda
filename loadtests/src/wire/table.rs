//! The vectors: data in `conformance/wire/*.yaml`. `docs/wire.md` says how they are written.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// A piece that ends the client's side of the connection.
pub(crate) const END: &str = "⏏";

/// One attack, or one thing that must work.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Vector {
    pub(crate) id: String,
    /// Clause, advisory or report.
    pub(crate) cites: String,
    /// HTTP/1: pieces, sent one after another with a pause between.
    #[serde(default)]
    pub(crate) send: Vec<String>,
    /// HTTP/2: what follows the preface.
    #[serde(default)]
    pub(crate) frames: Vec<Step>,
    /// What the origin answers [default: 200 with the body `ok`].
    pub(crate) reply: Option<Reply>,
    pub(crate) must: Must,
    /// Why Fairway does not do it. It is an error if it does.
    pub(crate) unmet: Option<String>,
}

/// The origin's side.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Reply {
    /// Pieces, sent one after another with a pause between.
    pub(crate) send: Vec<String>,
    /// Closes after the last piece.
    #[serde(default)]
    pub(crate) close: bool,
    /// Does not wait for the request's body.
    #[serde(default)]
    pub(crate) early: bool,
}

/// What must come of it. Exactly one of `refuse`, `serve`, `cut` and `goaway` is given.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Must {
    /// One of these is the only answer, an HTTP/1 connection closes, and no byte of a request reaches the origin. 0: no
    /// answer; the connection closes, or the stream or connection is reset.
    #[serde(default)]
    pub(crate) refuse: Vec<u16>,
    /// The origin may see a request that never ends.
    #[serde(default)]
    pub(crate) partial: bool,
    /// One of these is the answer, and the origin gets `requests` requests.
    #[serde(default)]
    pub(crate) serve: Vec<u16>,
    /// Whole requests that reach the origin [default: with `serve` 1; with `refuse` 0, and then it is the most].
    pub(crate) requests: Option<usize>,
    /// The answer to the client stops short, visibly, or is 502.
    #[serde(default)]
    pub(crate) cut: bool,
    /// The HTTP/2 connection ends with one of these error codes.
    #[serde(default)]
    pub(crate) goaway: Vec<u32>,
    /// The HTTP/1 connection closes after the answer.
    #[serde(default)]
    pub(crate) closes: bool,
    /// Request line at the origin.
    pub(crate) line: Option<String>,
    /// Fields at the origin, names in lower case.
    #[serde(default)]
    pub(crate) has: Vec<String>,
    /// What no field at the origin begins with.
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
    /// Body at the origin.
    pub(crate) body: Option<String>,
    /// Informational answers before the answer.
    pub(crate) interim: Option<Vec<u16>>,
    /// What the client must not see anywhere.
    #[serde(default)]
    pub(crate) hides: Vec<String>,
}

/// A step of an HTTP/2 client.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", untagged)]
pub(crate) enum Step {
    Headers(Headers),
    Data(Data),
    Frame(Frame),
    Repeat(Repeat),
    Wait(Wait),
}

/// HEADERS, with CONTINUATION if it is long.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Headers {
    /// Value of `:path`; the other pseudo fields are those of a GET. Or `fields` says all.
    pub(crate) get: Option<String>,
    /// The same with POST.
    pub(crate) post: Option<String>,
    #[serde(default)]
    pub(crate) fields: Vec<String>,
    #[serde(default = "one")]
    pub(crate) stream: u32,
    /// No END_STREAM.
    #[serde(default)]
    pub(crate) open: bool,
    /// No END_HEADERS.
    #[serde(default)]
    pub(crate) unfinished: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Data {
    pub(crate) data: String,
    #[serde(default = "one")]
    pub(crate) stream: u32,
    /// No END_STREAM.
    #[serde(default)]
    pub(crate) open: bool,
}

/// Any frame.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Frame {
    /// Type.
    pub(crate) frame: u8,
    #[serde(default)]
    pub(crate) flags: u8,
    #[serde(default)]
    pub(crate) stream: u32,
    #[serde(default)]
    pub(crate) payload: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Repeat {
    pub(crate) repeat: u32,
    /// Added to stream numbers other than 0 each time.
    #[serde(default)]
    pub(crate) step: u32,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Wait {
    /// Milliseconds.
    pub(crate) wait: u64,
}

const fn one() -> u32 {
    1
}

/// A file of vectors.
#[derive(Debug)]
pub(crate) struct Class {
    /// The file's name, without `.yaml`.
    pub(crate) name: String,
    pub(crate) vectors: Vec<Vector>,
}

/// Reads all files of a folder, in the order of their names.
///
/// # Errors
/// When a file cannot be read or a vector says nothing.
pub(crate) fn load(dir: &Path) -> Result<Vec<Class>> {
    let mut files: Vec<_> = dir.read_dir().with_context(|| dir.display().to_string())?.flatten().collect();
    files.retain(|file| file.path().extension().is_some_and(|e| e == "yaml"));
    files.sort_by_key(fs::DirEntry::file_name);
    let mut classes: Vec<Class> = Vec::new();
    for file in files {
        let path = file.path();
        let text = fs::read_to_string(&path)?;
        let vectors: Vec<Vector> =
            serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        let known = |id: &str| classes.iter().flat_map(|c| &c.vectors).any(|v| v.id == id);
        for (at, vector) in vectors.iter().enumerate() {
            check(vector).with_context(|| format!("{}: {}", path.display(), vector.id))?;
            let twice = known(&vector.id) || vectors.iter().take(at).any(|v| v.id == vector.id);
            ensure!(!twice, "{}: {} is there twice", path.display(), vector.id);
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        classes.push(Class { name, vectors });
    }
    Ok(classes)
}

fn check(vector: &Vector) -> Result<()> {
    let must = &vector.must;
    let said = [!must.refuse.is_empty(), !must.serve.is_empty(), must.cut, !must.goaway.is_empty()];
    ensure!(said.iter().filter(|said| **said).count() == 1, "exactly one of refuse, serve, cut, goaway");
    ensure!(!vector.cites.is_empty(), "cites nothing");
    ensure!(vector.send.is_empty() != vector.frames.is_empty(), "either `send` or `frames`");
    for piece in vector.send.iter().chain(vector.reply.iter().flat_map(|reply| &reply.send)) {
        ensure!(piece == END || bytes(piece).is_ok(), "{piece:?}");
    }
    Ok(())
}

/// Text as it is written in a vector → bytes: `⏎` is CRLF, `{x*9}` is nine times `x`, every other character is the
/// byte of its number.
///
/// # Errors
/// For a character above U+00FF and a repetition without a number.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((unit, times, after)) = repetition(rest) {
            let unit = bytes(unit)?;
            (0..times).for_each(|_| out.extend_from_slice(&unit));
            rest = after;
            continue;
        }
        match u8::try_from(first) {
            Ok(byte) => out.push(byte),
            Err(_) if first == '⏎' => out.extend_from_slice(b"\r\n"),
            Err(_) => bail!("{first:?} is no byte"),
        }
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
    Ok(out)
}

/// `{unit*times}` at the start.
fn repetition(text: &str) -> Option<(&str, usize, &str)> {
    let (inside, after) = text.strip_prefix('{')?.split_once('}')?;
    let (unit, times) = inside.rsplit_once('*')?;
    Some((unit, times.parse().ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_bytes() {
        assert_eq!(bytes("a⏎\u{ff}\0").unwrap(), b"a\r\n\xff\0");
        assert_eq!(bytes("<{ab*3}>{x}").unwrap(), b"<ababab>{x}");
        assert!(bytes("€").is_err());
    }

    #[test]
    fn the_suite_is_as_large_as_it_claims() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/wire");
        let classes = load(&dir).unwrap();
        let count = |prefix: &str| {
            classes.iter().filter(|c| c.name.starts_with(prefix)).map(|c| c.vectors.len()).sum::<usize>()
        };
        assert!(count("h1") >= 130, "{}", count("h1"));
        assert!(count("h2-requests") >= 45, "{}", count("h2-requests"));
        assert!(count("h2-floods") >= 12, "{}", count("h2-floods"));
    }
}
