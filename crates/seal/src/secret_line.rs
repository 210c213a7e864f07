//! One line of a text file that holds a secret: a mark, and base 32 of the content and a 4-byte check of it.
//!
//! The other lines are for people. The check tells a damaged line from a wrong passphrase; it protects nothing.

use zeroize::Zeroizing;

use crate::primitives::sha256;
use crate::recipient::{from_base32, to_base32};

const CHECK_BYTES: usize = 4;

/// Why a text has no line to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// No line begins with the mark.
    #[error("no line of it holds a secret of this kind")]
    None,
    /// More than one line does.
    #[error("more than one line of it holds a secret")]
    Several,
    /// The line was damaged.
    #[error("its secret line is not whole: its check does not match")]
    BadCheck,
}

/// The line that holds `content` under `mark`, without a line end.
#[must_use]
pub fn write(mark: &str, content: &[u8]) -> Zeroizing<String> {
    let checked = Zeroizing::new([content, &sha256(content)[..CHECK_BYTES]].concat());
    let digits = Zeroizing::new(to_base32(&checked));
    let mut line = Zeroizing::new(String::with_capacity(mark.len() + digits.len()));
    line.push_str(mark);
    line.push_str(&digits);
    line
}

/// The content of the one line of `text` that begins with `mark`.
///
/// # Errors
/// There is no such line or several, or it was damaged.
pub fn read(mark: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, LineError> {
    let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(mark));
    let digits = lines.next().ok_or(LineError::None)?;
    if lines.next().is_some() {
        return Err(LineError::Several);
    }
    let mut bytes = Zeroizing::new(from_base32(digits).ok_or(LineError::BadCheck)?);
    let end = bytes.len().checked_sub(CHECK_BYTES).ok_or(LineError::BadCheck)?;
    let (content, check) = bytes.split_at(end);
    if check != &sha256(content)[..CHECK_BYTES] {
        return Err(LineError::BadCheck);
    }
    bytes.truncate(end);
    Ok(bytes)
}
