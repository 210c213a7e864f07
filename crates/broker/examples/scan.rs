//! One look at a folder, as the broker looks at it every few seconds: `scan FOLDER` prints how many files it saw.

#![expect(clippy::print_stdout, reason = "a program prints what it measured")]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("which folder?")?;
    println!("{}", broker::scan(folder.as_ref())?.len());
    Ok(())
}
