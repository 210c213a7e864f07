//! QR codes as a page draws them: modules in one path of an SVG, with the paper around them that cameras need.

use std::fmt::Write as _;

use qrcodegen::QrCodeEcc;

/// Modules of paper around a code (ISO/IEC 18004, section 9.1).
const QUIET: i32 = 4;

/// A code, drawn.
pub(super) struct QrCode {
    /// How many modules wide and high, paper included: the `viewBox`.
    pub(super) side: i32,
    /// The dark modules, as the `d` of a path.
    pub(super) path: String,
}

impl QrCode {
    /// A code of `text`; nothing where that is too long for one.
    pub(super) fn of(text: &str) -> Option<Self> {
        let code = qrcodegen::QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
        let side = code.size();
        let mut path = String::new();
        for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
            if code.get_module(x, y) {
                write!(path, "M{} {}h1v1h-1z", x + QUIET, y + QUIET).ok()?;
            }
        }
        Some(Self { side: side + 2 * QUIET, path })
    }
}
