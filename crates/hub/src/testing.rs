//! What only tests use.

/// Compares `text` with the file at `path` (from the crate's folder); with `UPDATE=1` writes the file instead.
pub(crate) fn compare_snapshot(path: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == text,
        "{} is not as kept; run with UPDATE=1 and read the difference",
        file.display()
    );
}
