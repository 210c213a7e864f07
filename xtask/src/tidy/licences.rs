//! Whether every dependency has a licence that deny.toml allows.
//!
//! cargo-deny checks this and more, where it is installed; this much is checked everywhere, from the same list.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::{Complaint, output};
use crate::failure::Failure;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

pub(super) fn check(root: &Path) -> Result<Vec<Complaint>, Failure> {
    let rules = std::fs::read_to_string(root.join("deny.toml"))
        .map_err(Failure::because("deny.toml cannot be read"))?;
    let allowed = allowed_in(&rules);
    let exceptions = exceptions_in(&rules);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let text = output(Command::new(cargo).current_dir(root).args([
        "metadata",
        "--format-version=1",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]))?;
    let metadata: Metadata = serde_json::from_str(&text)
        .map_err(Failure::because("cargo metadata prints something unknown"))?;
    Ok(metadata
        .packages
        .iter()
        .filter_map(|package| {
            let more = exceptions.iter().filter(|(name, _)| *name == package.name);
            let allowed: Vec<&str> =
                allowed.iter().copied().chain(more.map(|(_, licence)| *licence)).collect();
            judge(package, &allowed)
        })
        .collect())
}

fn judge(package: &Package, allowed: &[&str]) -> Option<Complaint> {
    let complain = |what: &str| {
        let sentence = format!("`{} {}` {what}", package.name, package.version);
        Complaint::new("Cargo.lock", 1, sentence)
    };
    match &package.license {
        None => Some(complain("states no licence")),
        Some(expression) if !permits(expression, allowed) => {
            Some(complain(&format!("is under {expression}, which deny.toml does not allow")))
        }
        Some(_) => None,
    }
}

/// The names in `allow = [...]` of the section `[licenses]`.
fn allowed_in(rules: &str) -> Vec<&str> {
    let section = rules.split("[licenses]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let list = section.split("allow = [").nth(1).and_then(|rest| rest.split(']').next());
    list.unwrap_or_default().split('"').skip(1).step_by(2).collect()
}

/// The pairs of crate and licence in `exceptions = [{ allow = ["…"], crate = "…" }, …]`, each licence for that crate alone.
fn exceptions_in(rules: &str) -> Vec<(&str, &str)> {
    let list = rules.split("exceptions = [{").nth(1).unwrap_or_default();
    let list = list.split("}]").next().unwrap_or_default();
    list.split('{')
        .filter_map(|entry| match entry.split('"').collect::<Vec<_>>()[..] {
            [_, licence, between, name, ..] if between.contains("crate") => Some((name, licence)),
            _ => None,
        })
        .collect()
}

/// Whether an SPDX expression can be met with these licences. `/` is an old way to write `OR`; what follows `WITH` only adds rights.
fn permits(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let met = match words.next() {
        Some("(") => any_of(words, allowed) && words.next() == Some(")"),
        Some(name) => allowed.contains(&name),
        None => false,
    };
    if words.next_if_eq(&"WITH").is_some() {
        words.next();
    }
    met
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_what_is_allowed() {
        let allowed = ["MIT", "Apache-2.0", "ISC"];
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only OR MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("ISC AND (Apache-2.0 OR OpenSSL)", true),
            ("ISC AND (GPL-3.0-only OR OpenSSL)", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only", true),
            ("MIT MIT", false),
            ("(MIT", false),
            ("", false),
        ] {
            assert_eq!(permits(expression, &allowed), met, "{expression}");
        }
    }

    #[test]
    fn the_list_is_that_of_the_section_on_licences() {
        let rules = "[bans]\nallow = [\"x\"]\n[licenses]\nallow = [\n  \"MIT\", # a\n  \"ISC\",\n]\n[sources]\nallow = [\"y\"]\n";
        assert_eq!(allowed_in(rules), ["MIT", "ISC"]);
    }

    #[test]
    fn an_exception_is_for_one_crate() {
        let rules = "[licenses]\nallow = [\"MIT\"]\nexceptions = [{ allow = [\"MPL-2.0\"], crate = \"x\" }, { allow = [\"ISC\"], crate = \"y\" }]\n";
        assert_eq!(exceptions_in(rules), [("x", "MPL-2.0"), ("y", "ISC")]);
        assert_eq!(allowed_in(rules), ["MIT"]);
        assert_eq!(exceptions_in("[licenses]\nallow = []\n"), []);
    }

    #[test]
    fn a_dependency_without_a_licence_is_named() {
        let package = Package { name: "x".to_owned(), version: "1.0.0".to_owned(), license: None };
        let complaint = judge(&package, &["MIT"]).expect("nobody allowed it");
        assert_eq!(complaint.to_string(), "Cargo.lock:1: `x 1.0.0` states no licence");
    }
}
