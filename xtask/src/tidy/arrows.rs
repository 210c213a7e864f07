//! Which crate may know which, and what must not be reachable at all.
//!
//! Crates are cut where a secret may not pass, so an arrow that is absent is a promise: the store cannot leak a key that it has no
//! type for. ARCHITECTURE.md tells the reasons; this table is what keeps it true. A new arrow changes both, in one commit.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::{Complaint, output};
use crate::failure::Failure;

/// Which crates of ours each crate may depend on. What is not listed is absent.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("attest", &[]),
    ("authenticator", &["identity", "attest", "dataset", "seal", "proof", "api"]),
    ("broker", &["dataset", "seal", "proof", "api", "client"]),
    ("cases", &["api"]),
    (
        "chorion",
        &[
            "api",
            "attest",
            "authenticator",
            "broker",
            "cases",
            "client",
            "custody",
            "dataset",
            "genome",
            "hub",
            "identity",
            "proof",
            "runfolder",
            "seal",
            "store",
            "vault",
        ],
    ),
    ("client", &["proof", "api"]),
    ("credential", &[]),
    ("custody", &["seal", "attest", "proof", "api"]),
    ("dataset", &["seal", "proof", "api"]),
    ("genome", &["api"]),
    (
        "hub",
        &["cases", "credential", "custody", "store", "seal", "dataset", "attest", "proof", "api"],
    ),
    ("identity", &["seal", "proof", "api"]),
    ("opener", &["dataset", "seal", "proof", "api"]),
    ("proof", &["api"]),
    ("runfolder", &[]),
    ("seal", &[]),
    ("store", &[]),
    ("vault", &["seal", "attest", "dataset", "proof", "api", "client", "runfolder", "genome"]),
    ("xtask", &[]),
];

/// Programs: nothing depends on them, not even tests.
const PROGRAMS: &[&str] = &["chorion", "xtask"];

/// A build and what no path of normal dependencies may lead to. A name that ends in `*` is a prefix.
struct Absent {
    /// As people call it.
    build: &'static str,
    package: &'static str,
    /// Further arguments of `cargo tree`.
    features: &'static [&'static str],
    never: &'static [&'static str],
    because: &'static str,
}

const PURE: &[&str] = &[
    "tokio", "mio", "socket2", "hyper", "reqwest", "axum", "rustls", "sqlx*", "tempfile", "rustix",
];

const KMS_CLIENTS: &[&str] = &["aws-sdk-*", "aws-config", "azure_*", "google-cloud-*", "cryptoki"];

const ABSENT: &[Absent] = &[
    Absent {
        build: "the guest binary `vault`",
        package: "vault",
        features: &["--no-default-features"],
        never: &["custody", "hub", "identity", "store", "broker", "sqlx*"],
        because: "it holds keys of owners and nothing else that could use them",
    },
    Absent {
        build: "the guest binary `vault`",
        package: "vault",
        features: &["--no-default-features"],
        never: KMS_CLIENTS,
        because: "a vault is given keys, it fetches none",
    },
    Absent {
        build: "`hub`",
        package: "hub",
        features: &[],
        never: &["identity", "genome", "runfolder", "vault", "broker", "noodles*"],
        because: "it reads no genomic file and has no owner's secret",
    },
    Absent {
        build: "`broker`",
        package: "broker",
        features: &[],
        never: &["hub", "custody", "store", "identity", "axum", "sqlx*"],
        because: "it listens nowhere and stands in a laboratory",
    },
    Absent {
        build: "`runfolder`",
        package: "runfolder",
        features: &[],
        never: &["tokio", "hyper", "reqwest", "rustls", "aws-lc-rs"],
        because: "it turns readers into writers and knows of no network and no key",
    },
    Absent {
        build: "`genome`",
        package: "genome",
        features: &[],
        never: &["tokio", "hyper", "reqwest", "rustls", "aws-lc-rs"],
        because: "it turns readers into answers and knows of no network and no key",
    },
    Absent {
        build: "`credential`",
        package: "credential",
        features: &[],
        never: &["tokio", "hyper", "reqwest", "rustls", "sqlx*"],
        because: "it judges bytes and asks nobody",
    },
    Absent { build: "`seal`", package: "seal", features: &[], never: PURE, because: IS_PURE },
    Absent { build: "`api`", package: "api", features: &[], never: PURE, because: IS_PURE },
    Absent { build: "`cases`", package: "cases", features: &[], never: PURE, because: IS_PURE },
    Absent { build: "`dataset`", package: "dataset", features: &[], never: PURE, because: IS_PURE },
    Absent { build: "`proof`", package: "proof", features: &[], never: PURE, because: IS_PURE },
    Absent {
        build: "`identity`",
        package: "identity",
        features: &[],
        never: PURE,
        because: IS_PURE,
    },
    Absent { build: "`attest`", package: "attest", features: &[], never: PURE, because: IS_PURE },
    Absent {
        build: "`authenticator`",
        package: "authenticator",
        features: &[],
        never: PURE,
        because: IS_PURE,
    },
    Absent { build: "`opener`", package: "opener", features: &[], never: PURE, because: IS_PURE },
];

const IS_PURE: &str = "it opens no file, socket or clock, and builds for the browser";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
    #[serde(default)]
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

pub(super) fn check(root: &Path) -> Result<Vec<Complaint>, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let text = output(Command::new(&cargo).current_dir(root).args([
        "metadata",
        "--no-deps",
        "--format-version=1",
    ]))?;
    let metadata: Metadata = serde_json::from_str(&text)
        .map_err(Failure::because("cargo metadata prints something unknown"))?;
    let mut complaints = direct(&metadata.packages);
    complaints.extend(metadata.packages.iter().flat_map(guest));

    let members: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut trees: BTreeMap<(&str, &[&str]), BTreeSet<String>> = BTreeMap::new();
    for absent in ABSENT.iter().filter(|absent| members.contains(absent.package)) {
        let tree = match trees.entry((absent.package, absent.features)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let listed = output(
                    Command::new(&cargo)
                        .current_dir(root)
                        .args(["tree", "--edges=normal", "--prefix=none", "--format={p}"])
                        .args(["--package", absent.package])
                        .args(absent.features),
                )?;
                entry.insert(names_in(&listed))
            }
        };
        complaints.extend(reached(absent, tree));
    }
    Ok(complaints)
}

fn manifest_of(package: &str) -> String {
    if package == "xtask" {
        "xtask/Cargo.toml".to_owned()
    } else {
        format!("crates/{package}/Cargo.toml")
    }
}

/// Arrows that a manifest states.
fn direct(packages: &[Package]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for package in packages {
        let manifest = manifest_of(&package.name);
        let Some((_, may_know)) = MAY_KNOW.iter().find(|(name, _)| *name == package.name) else {
            let sentence =
                format!("crate `{}` has no row in xtask/src/tidy/arrows.rs", package.name);
            complaints.push(Complaint::new(&manifest, 1, sentence));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.path.is_some()) {
            let name = dependency.name.as_str();
            if PROGRAMS.contains(&name) {
                let sentence = format!("`{}` depends on the program `{name}`", package.name);
                complaints.push(Complaint::new(&manifest, 1, sentence));
            } else if dependency.kind.as_deref() != Some("dev") && !may_know.contains(&name) {
                let sentence = format!("`{}` may not depend on `{name}`", package.name);
                complaints.push(Complaint::new(&manifest, 1, sentence));
            }
        }
        let own_name = |t: &&Target| t.kind.iter().any(|k| k == "lib") && t.name != package.name;
        for target in package.targets.iter().filter(own_name) {
            let sentence = format!("library `{}` is not named like its folder", target.name);
            complaints.push(Complaint::new(&manifest, 1, sentence));
        }
    }
    complaints
}

/// The guest binary is built with `--no-default-features`, so what must not be in it has to be a feature, and a default one for
/// the builds that may have it.
fn guest(package: &Package) -> Option<Complaint> {
    let is_guest = |t: &Target| t.name == "vault" && t.kind.iter().any(|k| k == "bin");
    if package.name != "vault" || !package.targets.iter().any(is_guest) {
        return None;
    }
    let default = package.features.get("default");
    let left_out = package.features.contains_key("unattested")
        && default.is_some_and(|features| features.iter().any(|name| name == "unattested"));
    if default.is_some_and(|features| features.iter().any(|name| name == "recorded-device")) {
        let sentence =
            "the feature `recorded-device` must not be a default one: it plays back evidence";
        return Some(Complaint::new(&manifest_of("vault"), 1, sentence));
    }
    let sentence = "the unattested mode must be the default feature `unattested`, so that the guest binary is without it";
    (!left_out).then(|| Complaint::new(&manifest_of("vault"), 1, sentence))
}

/// The packages that `cargo tree --prefix=none --format={p}` lists: the first word of each line.
fn names_in(tree: &str) -> BTreeSet<String> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn reached(absent: &Absent, tree: &BTreeSet<String>) -> Vec<Complaint> {
    let matches = |name: &str| {
        absent.never.iter().any(|never| match never.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *never,
        })
    };
    tree.iter()
        .filter(|name| matches(name))
        .map(|name| {
            let sentence = format!("{} reaches `{name}`: {}", absent.build, absent.because);
            Complaint::new(&manifest_of(absent.package), 1, sentence)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        Package {
            name: name.to_owned(),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: kind.map(str::to_owned),
                    path: Some(format!("crates/{name}")),
                })
                .collect(),
            targets: vec![Target { name: name.to_owned(), kind: vec!["lib".to_owned()] }],
            features: BTreeMap::new(),
        }
    }

    fn sentences(complaints: &[Complaint]) -> Vec<&str> {
        complaints.iter().map(|c| c.sentence.as_str()).collect()
    }

    #[test]
    fn a_listed_arrow_passes_and_another_is_named() {
        assert!(direct(&[package("proof", &[("api", None)])]).is_empty());
        let found = direct(&[package("store", &[("seal", None)])]);
        assert_eq!(sentences(&found), ["`store` may not depend on `seal`"]);
        assert_eq!(
            found[0].to_string(),
            "crates/store/Cargo.toml:1: `store` may not depend on `seal`"
        );
    }

    #[test]
    fn tests_may_know_libraries_but_never_programs() {
        assert!(direct(&[package("hub", &[("client", Some("dev"))])]).is_empty());
        let found = direct(&[package("hub", &[("chorion", Some("dev"))])]);
        assert_eq!(sentences(&found), ["`hub` depends on the program `chorion`"]);
    }

    #[test]
    fn a_crate_without_a_row_is_named() {
        let found = direct(&[package("helper", &[])]);
        assert_eq!(sentences(&found), ["crate `helper` has no row in xtask/src/tidy/arrows.rs"]);
    }

    #[test]
    fn what_a_build_reaches_on_any_path_is_named() {
        let absent = &ABSENT[0];
        let clean = names_in("vault v0.1.0 (/x/crates/vault)\ntokio v1.49.0\nsealed v1.0.0\n");
        assert!(reached(absent, &clean).is_empty());
        let dirty = names_in("vault v0.1.0 (/x)\nsqlx-core v0.9.0\ncustody v0.1.0 (/x) (*)\n");
        let found = reached(absent, &dirty);
        assert_eq!(found.len(), 2);
        assert!(found[0].sentence.starts_with("the guest binary `vault` reaches `custody`"));
        assert!(found[1].sentence.contains("`sqlx-core`"));
    }

    #[test]
    fn the_guest_binary_can_be_built_without_the_unattested_mode() {
        let mut vault = package("vault", &[]);
        assert_eq!(guest(&vault), None);
        vault.targets.push(Target { name: "vault".to_owned(), kind: vec!["bin".to_owned()] });
        assert!(guest(&vault).is_some());
        vault.features.insert("unattested".to_owned(), Vec::new());
        assert!(guest(&vault).is_some());
        vault.features.insert("default".to_owned(), vec!["unattested".to_owned()]);
        assert_eq!(guest(&vault), None);
    }

    #[test]
    fn no_crate_may_know_a_program_and_the_arrows_have_no_circle() {
        for (_, may_know) in MAY_KNOW {
            assert!(may_know.iter().all(|name| !PROGRAMS.contains(name)));
        }
        // Taking away, again and again, the crates whose arrows all lead to crates already taken must take all.
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        while let Some((name, _)) = MAY_KNOW.iter().find(|(name, may_know)| {
            !taken.contains(name) && may_know.iter().all(|known| taken.contains(known))
        }) {
            taken.insert(name);
        }
        assert_eq!(taken.len(), MAY_KNOW.len());
    }
}
