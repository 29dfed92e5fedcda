//! The count of HTTP/2 frames that carry nothing, against a reading of the whole at once.

use crate::memory::bounded;
use crate::pieces::cut;

/// In ten seconds, which never pass here.
const LIMIT: usize = 100;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How it is cut, how often it is repeated, how much was sent before; frames.
pub fn run(data: &[u8]) {
    let [size, times, sent, frames @ ..] = data else { return };
    let sent = usize::from(*sent) * 256;
    let mut bytes = vec![*size];
    bytes.extend_from_slice(PREFACE);
    let frames = &frames[..frames.len().min(256)];
    bytes.extend(frames.repeat(1 + usize::from(*times)));
    let Some((whole, pieces)) = cut(&bytes) else { return };
    let taken = bounded(0, 1024, || proxy::fuzzing::frames(&pieces, sent, LIMIT as u64));
    assert_eq!(taken, control_frames(whole) <= allowed(whole, sent), "{} frames", control_frames(whole));
}

/// Frame heads that are there in full and are neither DATA, HEADERS, RST_STREAM nor CONTINUATION (RFC 9113 section 6).
fn control_frames(bytes: &[u8]) -> usize {
    let (mut at, mut count) = (PREFACE.len(), 0);
    while let Some([a, b, c, kind, ..]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<9>()) {
        count += usize::from(![0, 1, 3, 9].contains(kind));
        at += 9 + (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c));
    }
    count
}

/// The most of any moment: the limit, and one for each 14 bytes of ours that are not answers of 17 bytes.
fn allowed(bytes: &[u8], sent: usize) -> usize {
    (0..=control_frames(bytes))
        .take_while(|&count| count <= LIMIT + sent.saturating_sub(count * 17) / 14)
        .last()
        .unwrap_or_default()
}
