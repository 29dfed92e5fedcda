//! The checksum of a snapshot: its last line.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use ring::digest::{Context, Digest, SHA256};

const LABEL: &str = "sha256:";
/// The last line: label, 64 hexadecimal digits, end of line.
const LINE: usize = LABEL.len() + 64 + 1;

/// Writes and remembers the checksum of what was written.
pub(super) struct Checked<W> {
    out: W,
    digest: Context,
}

impl<W: Write> Checked<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, digest: Context::new(&SHA256) }
    }

    /// The checksum as it is written.
    pub(super) fn finish(self) -> (W, String) {
        (self.out, text(&self.digest.finish()))
    }
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn text(digest: &Digest) -> String {
    let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{LABEL}{digits}")
}

/// The first line without its end; of something long the beginning.
pub(super) fn first_line(file: &mut File) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.rewind()?;
    file.take(64).read_to_end(&mut start)?;
    if let Some(end) = start.iter().position(|byte| *byte == b'\n') {
        start.truncate(end);
    }
    Ok(start)
}

/// Reads the file and compares its checksum. On success it stands at its beginning, and the result is the length of what
/// comes before the checksum.
pub(super) fn verify(file: &mut File) -> io::Result<Result<u64, &'static str>> {
    let all = file.seek(SeekFrom::End(0))?;
    let Some(length) = all.checked_sub(LINE as u64) else { return Ok(Err("it is cut off")) };
    file.rewind()?;
    let mut digest = Context::new(&SHA256);
    let mut left = length;
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = file.read(buffer.get_mut(..most).unwrap_or_default())?;
        if read == 0 {
            return Ok(Err("it is cut off"));
        }
        digest.update(buffer.get(..read).unwrap_or_default());
        left -= read as u64;
    }
    let mut written = Vec::new();
    file.take(LINE as u64 + 1).read_to_end(&mut written)?;
    file.rewind()?;
    let expected = text(&digest.finish()) + "\n";
    Ok(if written == expected.as_bytes() { Ok(length) } else { Err("its checksum is wrong") })
}
