//! Prints who may do what: the table that every call is asked by. `cargo xtask permissions` runs it.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(hub::permissions().as_bytes())
}
