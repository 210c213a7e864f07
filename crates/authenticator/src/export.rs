//! A dataset of one's own is copied into a project whose key others hold (`spec/approval.md`, section 9).
//!
//! Whoever holds that key can read the copy from then on, and no deletion here takes it back.

use api::{CreateDataset, Custodian, DatasetId, DatasetKind, Digest, ProjectId, SignedStatement};
use dataset::OpenDataset;
use proof::{Act, Export, Input, Output, ProjectCard, PublicKey, digest_of};

use crate::card::Device;
use crate::error::Refusal;

/// A copy before anything of it is there: its key, and whom it is for.
#[derive(Debug)]
pub struct NewCopy {
    open: OpenDataset,
    kind: DatasetKind,
    reads: Option<u64>,
    card: ProjectCard,
    digest: Digest,
}

impl Device<'_> {
    /// Begins a copy of a dataset in the project of `signed`, a card that the hub signed with `hub_key`.
    ///
    /// # Errors
    /// The card is of another hub or signer, the project is an owner's, or the dataset is neither a sample nor a result.
    pub fn copy_into(
        &self,
        source: &api::Dataset,
        project: ProjectId,
        signed: &SignedStatement,
        hub_key: &PublicKey,
    ) -> Result<NewCopy, Refusal> {
        let bad = |why| Refusal::Export { dataset: source.id, why };
        let (card, signer) = ProjectCard::open(signed, project)
            .map_err(|source| Refusal::Card { project, source })?;
        if card.custodian() == Custodian::Owner {
            return Err(bad(
                "the key of that project is held by its owner: share it, or give the project away",
            ));
        }
        if card.hub() != self.hub || signer != *hub_key {
            return Err(bad("the card of that project is not one that this hub signed"));
        }
        if !matches!(source.kind, DatasetKind::Sample | DatasetKind::Result) {
            return Err(bad("only samples and results are"));
        }
        let digest = digest_of(signed);
        let open = OpenDataset::create(DatasetId::generate(), project, digest)
            .map_err(|e| Refusal::unmakable("the copy cannot be made", e))?;
        Ok(NewCopy { open, kind: source.kind, reads: source.reads, card, digest })
    }
}

impl NewCopy {
    /// Its key and place.
    #[must_use]
    pub const fn open(&self) -> &OpenDataset {
        &self.open
    }

    /// What the owner approves: this content, into that project, as this dataset.
    #[must_use]
    pub fn act(&self, input: Input) -> Act {
        let output = Output {
            project: self.open.project(),
            card: self.digest,
            custodian: self.card.custodian(),
            dataset: Some(self.open.dataset()),
        };
        Act::Export(Export { input, output })
    }

    /// The call that creates it at the hub, its key wrapped to whoever holds the project's.
    ///
    /// # Errors
    /// The card names no key, or the system gives no randomness.
    pub fn create(&self, name: &[u8]) -> Result<CreateDataset, Refusal> {
        let unmade = |e: dataset::DatasetError| Refusal::unmakable("the copy cannot be made", e);
        Ok(CreateDataset {
            id: self.open.dataset(),
            kind: self.kind,
            project: self.open.project(),
            card_digest: self.open.card_digest(),
            wrapped_key: self.open.wrap_to(self.card.recipient()).map_err(unmade)?,
            label: self.open.seal_label("dataset name", name).map_err(unmade)?,
            settings: None,
            parent: None,
            reads: self.reads,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Bytes, Time};
    use identity::{Heap, Identity, Words};
    use proof::{Card, SigningKey, sign_statement};

    fn person(byte: u8) -> Identity {
        Identity::from_words(Words::from_entropy(&[byte; 16], &Heap).unwrap(), "", &Heap).unwrap()
    }

    fn sample(open: &OpenDataset) -> api::Dataset {
        let text = serde_json::json!({
            "id": open.dataset(), "kind": "sample", "project": open.project(), "custodian": "owner",
            "owner": api::AccountId::generate(), "label": open.seal_label("dataset name", b"x").unwrap(), "name": null,
            "execution": "complete", "reason": null, "quality": "unknown", "delivery": "pending", "parent": null,
            "session": null, "task": null, "reads": 7, "epoch": 0, "card_digest": open.card_digest(), "objects": 1,
            "sealed_bytes": 1, "manifest_number": 1, "created": Time::UNIX_EPOCH, "changed": Time::UNIX_EPOCH,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_copy_is_for_whoever_holds_the_key_of_its_project_as_the_hub_signed_it() {
        let (ada, hub) = (person(1), person(2));
        let (here, hub_key) = (SigningKey::from_seed(&[3; 32]), SigningKey::from_seed(&[4; 32]));
        let device = Device { person: &ada, approval_key: &here, hub: "h" };
        let (from, into) = (ProjectId::generate(), ProjectId::generate());
        let open = OpenDataset::create(DatasetId::generate(), from, Digest([0; 32])).unwrap();
        let source = sample(&open);
        let card = |hub_id: &str| Card {
            hub: hub_id.to_owned(),
            project: into,
            custodian: Custodian::Platform,
            recipient: Bytes(hub.sealing().public().to_bytes()),
            number: 1,
            test: false,
            writers: Vec::new(),
        };
        let signed = sign_statement(&card("h"), &hub_key);
        let hers = hub_key.public();
        let copy = device.copy_into(&source, into, &signed, &hers).unwrap();
        let create = copy.create(b"NA12878").unwrap();
        assert_eq!((create.project, create.kind, create.reads), (into, source.kind, Some(7)));
        let release = api::Release {
            dataset: create.id,
            project: into,
            card_digest: create.card_digest,
            epoch: 0,
            wrapped_key: create.wrapped_key,
            leaf: None,
        };
        let opened = OpenDataset::from_release(&release, &hub.sealing()).unwrap();
        assert_eq!(opened.open_label("dataset name", &create.label).unwrap(), b"NA12878");
        assert!(OpenDataset::from_release(&release, &ada.sealing()).is_err());
        let input =
            Input { name: "dataset".to_owned(), dataset: source.id, manifest: Digest([5; 32]) };
        let Act::Export(act) = copy.act(input.clone()) else { panic!("an export") };
        assert_eq!((act.input, act.output.dataset), (input, Some(create.id)));
        assert_eq!(
            (act.output.card, act.output.custodian),
            (digest_of(&signed), Custodian::Platform)
        );

        let elsewhere = sign_statement(&card("another"), &hub_key);
        let forged = sign_statement(&card("h"), &here);
        let owners = device.first_card(into, false, None, &[], Time::UNIX_EPOCH).unwrap();
        for wrong in [elsewhere, forged, owners] {
            let refused = device.copy_into(&source, into, &wrong, &hers);
            assert!(matches!(refused, Err(Refusal::Export { .. })), "{refused:?}");
        }
        let refused = device.copy_into(&source, from, &signed, &hers);
        assert!(matches!(refused, Err(Refusal::Card { .. })), "the card of another project");
        let run = api::Dataset { kind: DatasetKind::Run, ..source };
        assert!(device.copy_into(&run, into, &signed, &hers).is_err());
    }
}
