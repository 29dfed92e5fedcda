//! Untrusted bytes in a log line: JSON that says what they say, with nothing a terminal or a line reader acts on.

use crate::memory::bounded;

/// The first byte is the limit.
pub fn run(data: &[u8]) {
    let Some((limit, bytes)) = data.split_first() else { return };
    let limit = usize::from(*limit);
    let out = bounded(bytes.len(), 256, || proxy::fuzzing::escaped(bytes, limit));
    let text = std::str::from_utf8(&out).expect("is text");
    let acts = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(!text.contains(acts), "{text:?}");
    let read: String = serde_json::from_str(&format!("\"{text}\"")).expect("is JSON");
    assert_eq!(read, shown(bytes, limit));
}

fn shown(bytes: &[u8], limit: usize) -> String {
    let all = String::from_utf8_lossy(bytes);
    let mut shown = String::new();
    for character in all.chars() {
        if shown.len() + character.len_utf8() > limit {
            return shown + "…";
        }
        shown.push(character);
    }
    shown
}
