//! From the files that came with a report to a VEK that one of AMD's roots answers for (`spec/evidence.md` section 3).
//!
//! What a file is, its content says. The root is never taken from the evidence: one that comes along must be the pinned one, and adds
//! nothing.

use crate::certificate::{Certificate, CertificateError, PublicKey};
use crate::generation::{Generation, Roots};
use crate::primitives;
use crate::revocation::RevocationList;

/// More files than this are not looked at: a chain has three certificates and a few lists.
const MOST_FILES: usize = 32;

/// A file that came with a report: a certificate or a revocation list in DER, under the name to be used in sentences.
#[derive(Debug, Clone, Copy)]
pub struct Endorsement<'a> {
    /// Where it came from, for people.
    pub name: &'a str,
    /// Its bytes.
    pub der: &'a [u8],
}

/// Whether a VEK belongs to a chip or to a cloud provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VekKind {
    Vcek,
    Vlek,
}

impl VekKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
        }
    }
}

/// What a certificate is, by its common name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Root(Generation),
    Intermediate(Generation, VekKind),
    Vek(VekKind),
}

fn role(common_name: &str) -> Option<Role> {
    match common_name {
        "SEV-VCEK" => return Some(Role::Vek(VekKind::Vcek)),
        "SEV-VLEK" => return Some(Role::Vek(VekKind::Vlek)),
        _ => {}
    }
    if let Some(name) = common_name.strip_prefix("ARK-") {
        return Generation::named(name).map(Role::Root);
    }
    if let Some(name) = common_name.strip_prefix("SEV-VLEK-") {
        return Generation::named(name).map(|found| Role::Intermediate(found, VekKind::Vlek));
    }
    let name = common_name.strip_prefix("SEV-")?;
    Generation::named(name).map(|found| Role::Intermediate(found, VekKind::Vcek))
}

/// Everything that was found, and how far the chain holds.
#[derive(Debug)]
pub(crate) struct Chain<'a> {
    /// The generation whose root signed an ASK or ASVK that was given.
    pub(crate) generation: Option<Generation>,
    /// That root.
    pub(crate) root: Option<Certificate<'static>>,
    /// The ASK or ASVK that the root signed: the VEK's issuer if there is a VEK.
    pub(crate) intermediate: Option<Certificate<'a>>,
    /// The one VCEK or VLEK that was given, whether or not the chain holds.
    pub(crate) vek: Option<(VekKind, Certificate<'a>)>,
    /// The lists that were given.
    pub(crate) lists: Vec<RevocationList<'a>>,
    /// Why the chain does not hold; `None` if it does.
    pub(crate) broken: Option<String>,
}

impl<'a> Chain<'a> {
    /// Sorts what was given, and verifies it up to one of `roots`.
    pub(crate) fn build(files: &[Endorsement<'a>], roots: &Roots) -> Self {
        let mut chain = Self {
            generation: None,
            root: None,
            intermediate: None,
            vek: None,
            lists: Vec::new(),
            broken: None,
        };
        if files.len() > MOST_FILES {
            chain.breaks(format!("{} files are more than the {MOST_FILES} looked at", files.len()));
            return chain;
        }
        let mut intermediates = Vec::new();
        for file in files {
            chain.sort(*file, roots, &mut intermediates);
        }
        chain.find_intermediate(intermediates, roots);
        chain.verify_vek();
        chain
    }

    /// The first reason stands: what comes after may follow from it.
    fn breaks(&mut self, why: String) {
        self.broken.get_or_insert(why);
    }

    fn sort(
        &mut self,
        file: Endorsement<'a>,
        roots: &Roots,
        intermediates: &mut Vec<(Generation, VekKind, Certificate<'a>)>,
    ) {
        let name = file.name;
        let certificate = match Certificate::parse(name, file.der) {
            Ok(certificate) => certificate,
            Err(no_certificate) => match RevocationList::parse(name, file.der) {
                Ok(list) => return self.lists.push(list),
                Err(_) if RevocationList::looks_like_one(file.der) => {
                    return self
                        .breaks(format!("{name} is a revocation list that is not understood"));
                }
                Err(_) => return self.breaks(format!("{name} cannot be read: {no_certificate}")),
            },
        };
        match role(certificate.common_name) {
            Some(Role::Root(generation)) if certificate.der == roots.of(generation) => {}
            Some(Role::Root(generation)) => {
                self.breaks(format!("{name} calls itself ARK-{generation} and is not AMD's"));
            }
            Some(Role::Intermediate(generation, kind)) => {
                intermediates.push((generation, kind, certificate));
            }
            Some(Role::Vek(kind)) => match &self.vek {
                None => self.vek = Some((kind, certificate)),
                Some((_, first)) => {
                    let why = format!("{} and {name} are both a VCEK or VLEK", first.name);
                    self.breaks(why);
                }
            },
            None => {
                let sentence =
                    format!("{name} is `{}`, no part of AMD's chain", certificate.common_name);
                self.breaks(sentence);
            }
        }
    }

    /// Finds the VEK's issuer, or, without a VEK, any ASK or ASVK: it still tells the generation.
    fn find_intermediate(
        &mut self,
        intermediates: Vec<(Generation, VekKind, Certificate<'a>)>,
        roots: &Roots,
    ) {
        if let Some((kind, vek)) = &self.vek {
            let why = if intermediates.is_empty() {
                Some("no ASK or ASVK is given".to_owned())
            } else if intermediates.iter().all(|(.., issuer)| issuer.subject != vek.issuer) {
                Some(format!("the issuer of {} is not among the certificates given", vek.name))
            } else if intermediates
                .iter()
                .all(|(_, issues, issuer)| issues != kind || issuer.subject != vek.issuer)
            {
                Some(format!("{} is a {} and was issued as something else", vek.name, kind.name()))
            } else {
                None
            };
            if let Some(why) = why {
                self.breaks(why);
            }
        } else {
            self.breaks("no VCEK or VLEK is given".to_owned());
        }
        let issued = |issuer: &Certificate<'_>| {
            self.vek.as_ref().is_none_or(|(_, vek)| vek.issuer == issuer.subject)
        };
        let mut unsigned = None;
        for (generation, _, issuer) in
            intermediates.into_iter().filter(|(.., certificate)| issued(certificate))
        {
            match root_of(generation, &issuer, roots) {
                Ok(root) => {
                    self.generation = Some(generation);
                    self.root = Some(root);
                    self.intermediate = Some(issuer);
                    return;
                }
                Err(why) => unsigned = unsigned.or(Some(why)),
            }
        }
        if let Some(why) = unsigned {
            self.breaks(why);
        }
    }

    fn verify_vek(&mut self) {
        let (Some((_, vek)), Some(issuer)) = (&self.vek, &self.intermediate) else { return };
        let why = if !matches!(vek.key, PublicKey::P384 { .. }) {
            format!("the key of {} is not on P-384", vek.name)
        } else if !primitives::verify_pss(&issuer.key, vek.signed, vek.signature) {
            format!("{} is not signed by {}", vek.name, issuer.common_name)
        } else {
            return;
        };
        self.breaks(why);
    }
}

/// The pinned root that signed `issuer`.
fn root_of(
    generation: Generation,
    issuer: &Certificate<'_>,
    roots: &Roots,
) -> Result<Certificate<'static>, String> {
    let root = Certificate::parse("the pinned root", roots.of(generation))
        .map_err(|error: CertificateError| format!("the pinned root cannot be read: {error}"))?;
    let name = issuer.name;
    if !issuer.signs_certificates {
        Err(format!("{name} may not sign certificates"))
    } else if issuer.issuer != root.subject {
        Err(format!("{name} was not issued by {}", root.common_name))
    } else if !primitives::verify_pss(&root.key, issuer.signed, issuer.signature) {
        Err(format!("{name} is not signed by AMD's {}", root.common_name))
    } else {
        Ok(root)
    }
}
