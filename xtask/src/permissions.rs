//! Prints who may do what, from the program itself, and says whether `spec/policy.txt` still has the same table.
//!
//! The table is code in `hub`. An example of that crate prints it, because this one depends on no crate of ours: a chore
//! that checks the repository must build though the repository does not.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Where the table is kept.
const KEPT: &str = "spec/policy.txt";

/// `cargo xtask permissions`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Keep the table in `spec/policy.txt` as it is now
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<String, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let printed = Command::new(cargo)
        .current_dir(root)
        .args(["run", "--quiet", "--locked", "--package=hub", "--example=permissions"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(Failure::because("cargo does not start"))?;
    if !printed.status.success() {
        return Err(Failure::new("error: the table was not printed: `hub` does not build"));
    }
    let table =
        String::from_utf8(printed.stdout).map_err(Failure::because("the table is no text"))?;
    let path = root.join(KEPT);
    if arguments.write {
        std::fs::write(&path, &table)
            .map_err(Failure::because(format!("{KEPT} cannot be written")))?;
    } else if std::fs::read_to_string(&path).unwrap_or_default() != table {
        return Err(Failure::new(format!(
            "{table}\nerror: {KEPT} has another table\n\nhint: read the difference, then `cargo xtask permissions --write`"
        )));
    }
    Ok(table.trim_end().to_owned())
}
