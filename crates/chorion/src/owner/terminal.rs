//! What is typed and shown without a trace: no buffer of the standard library ever holds a word, and what was on the screen is wiped off.

use std::io::{self, IsTerminal};

use zeroize::Zeroizing;

use crate::report::{CliError, CliResult};

/// Twelve words and their white space are far below this.
const MOST_TYPED_BYTES: usize = 4_096;

/// Whether a person sits there: what is asked for goes to standard error and is answered on standard input.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Reads standard input to the end of a line, or to its end; `None` if there is nothing.
pub(super) fn read_line() -> CliResult<Option<Zeroizing<String>>> {
    let mut typed = Zeroizing::new(Vec::with_capacity(MOST_TYPED_BYTES));
    let mut byte = Zeroizing::new([0]);
    let unread =
        |error: io::Error| CliError::new("standard input could not be read").caused_by(error);
    loop {
        match rustix::io::read(io::stdin(), byte.as_mut_slice()) {
            Ok(0) if typed.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if typed.len() == MOST_TYPED_BYTES => {
                return Err(CliError::new("what was typed is too long to be twelve words"));
            }
            Ok(_) => typed.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(unread(error.into())),
        }
    }
    match str::from_utf8(&typed) {
        Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
        Err(_) => Err(CliError::new("what was typed is not UTF-8, so no word of the list")),
    }
}

/// Words that were typed, and how many rows of the screen they take.
pub(super) struct Typed {
    pub(super) text: Zeroizing<String>,
    pub(super) rows: usize,
}

/// Reads lines until they hold `words` words or end.
pub(super) fn read_words(words: usize) -> CliResult<Typed> {
    let columns = terminal_size::terminal_size_of(io::stderr())
        .map_or(80, |(width, _height)| usize::from(width.0).max(1));
    let mut all = Zeroizing::new(String::with_capacity(MOST_TYPED_BYTES));
    let mut rows = 0;
    while all.split_whitespace().count() < words {
        let Some(line) = read_line()? else { break };
        if all.len() + line.len() >= MOST_TYPED_BYTES {
            return Err(CliError::new("what was typed is too long to be twelve words"));
        }
        rows += line.chars().count().div_ceil(columns).max(1);
        all.push_str(&line);
        all.push(' ');
    }
    Ok(Typed { text: all, rows })
}

/// Writes to standard output, past the buffer of the standard library.
pub(super) fn write_output(text: &str) -> CliResult {
    write_all(&io::stdout(), text)
}

/// Writes to standard error, past every buffer.
pub(super) fn write_screen(text: &str) -> CliResult {
    write_all(&io::stderr(), text)
}

fn write_all(to: &impl std::os::fd::AsFd, text: &str) -> CliResult {
    let mut left = text.as_bytes();
    while !left.is_empty() {
        match rustix::io::write(to, left) {
            Ok(written) => left = &left[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(
                    CliError::new("the words could not be shown").caused_by(io::Error::from(error))
                );
            }
        }
    }
    Ok(())
}

/// Takes the last `lines` lines off the screen, those above the cursor, so that no later glance or scrolling back finds them.
pub(super) fn wipe_lines(lines: usize) -> CliResult {
    write_screen(&format!("\x1b[{lines}A\r\x1b[J"))
}
