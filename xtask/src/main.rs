//! Chores of the repository, run as `cargo xtask`.
//!
//! `tidy` holds what the compiler cannot: which arrows between crates must be absent, and the rules of the page. `replay` makes a
//! run folder grow the way an instrument writes it. `permissions` prints who may do what.

mod dist;
mod failure;
mod permissions;
mod replay;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "chores of the repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check the arrows between crates and the rules of the repository
    Tidy,
    /// Make a Debian package and a tarball of a built program
    Dist(dist::Arguments),
    /// Print who may do what, as the hub decides it
    Permissions(permissions::Arguments),
    /// Make a run folder grow the way an instrument writes it
    Replay(replay::Arguments),
}

/// The folder of the workspace: this crate lies one below it.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a crate of a workspace lies below it because Cargo.toml says so")
        .to_path_buf()
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Tidy => tidy::run(&workspace()),
        Chore::Dist(arguments) => dist::run(&workspace(), &arguments),
        Chore::Permissions(arguments) => permissions::run(&workspace(), &arguments),
        Chore::Replay(arguments) => replay::run(&workspace(), &arguments),
    };
    match outcome {
        Ok(said) => {
            say(&mut std::io::stdout(), &said);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            say(&mut std::io::stderr(), &failure.to_string());
            ExitCode::FAILURE
        }
    }
}

fn say(to: &mut dyn std::io::Write, text: &str) {
    // A reader that hung up is no reason to fail.
    writeln!(to, "{text}").ok();
}
