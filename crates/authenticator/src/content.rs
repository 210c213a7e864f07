//! A dataset of one's own, opened on the owner's device: key, card, and the manifest of whoever may write it.

use api::{DatasetId, OwnerKey, SignedStatement};
use dataset::OpenDataset;
use proof::{Input, Manifest, OwnerCard, digest_of, open_statement};

use crate::card::{Device, Seen};
use crate::error::Refusal;
use crate::writers::Writers;

/// A dataset that was opened and whose writer was checked.
#[derive(Debug)]
pub struct Content {
    /// Its key and place.
    pub open: OpenDataset,
    /// The card in force of its project.
    pub card: OwnerCard,
    /// What it holds, as its writer signed it.
    pub manifest: Manifest,
    /// Which content that is, to be remembered.
    pub seen: Seen,
}

impl Device<'_> {
    /// Opens a dataset with the words, and checks who wrote what the hub shows of it. `seen` is the card, and `before` the content,
    /// that this device saw last.
    ///
    /// # Errors
    /// The dataset is somebody else's, its key does not open, the manifest is of another dataset or key or of a writer whom the card
    /// does not know, or it is older than what was seen.
    pub fn content(
        &self,
        dataset: DatasetId,
        key: OwnerKey,
        manifest: &SignedStatement,
        seen: Option<&SignedStatement>,
        before: Option<&Seen>,
    ) -> Result<Content, Refusal> {
        let bad = |why: String| Refusal::Dataset { dataset, why };
        let OwnerKey { release, card, handovers, written_under } = key;
        let card = self.card(release.project, &card, seen)?;
        if release.dataset != dataset {
            return Err(bad("the hub gave the key of another dataset".to_owned()));
        }
        let open = OpenDataset::from_release(&release, &self.person.sealing())
            .map_err(|e| bad(e.to_string()))?;
        let (facts, signer) =
            open_statement::<Manifest>(manifest).map_err(|e| bad(e.to_string()))?;
        let same = facts.hub == self.hub
            && facts.dataset == dataset
            && facts.project == open.project()
            && facts.card == open.card_digest()
            && facts.epoch == open.epoch();
        if !same {
            return Err(bad("its manifest speaks of another dataset or key".to_owned()));
        }
        let writers = Writers { card, under: written_under, handovers };
        if !writers.may_write(&facts, &signer) {
            return Err(bad("it was written by a key that your card does not know".to_owned()));
        }
        let now = Seen { number: facts.number, digest: digest_of(manifest) };
        now.follows(dataset, before)?;
        Ok(Content { open, card: writers.card, manifest: facts, seen: now })
    }
}

impl Content {
    /// As what an approval names it: at the version whose writer was checked.
    #[must_use]
    pub fn input(&self) -> Input {
        let (dataset, manifest) = (self.open.dataset(), self.seen.digest);
        Input { name: "dataset".to_owned(), dataset, manifest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Digest, ProjectId, Release, Time};
    use identity::{Heap, Identity, Words};
    use proof::{ObjectSet, SigningKey, sign_statement};

    fn person(byte: u8) -> Identity {
        Identity::from_words(Words::from_entropy(&[byte; 16], &Heap).unwrap(), "", &Heap).unwrap()
    }

    #[test]
    fn content_opens_for_its_owner_if_a_writer_of_the_card_signed_it_and_it_is_not_older() {
        let (ada, eve) = (person(1), person(2));
        let (key, writer) = (SigningKey::from_seed(&[3; 32]), SigningKey::from_seed(&[4; 32]));
        let device = Device { person: &ada, approval_key: &key, hub: "h" };
        let (project, id, now) = (ProjectId::generate(), DatasetId::generate(), Time::UNIX_EPOCH);
        let card = device.first_card(project, true, None, &[writer.public()], now).unwrap();
        let open = OpenDataset::create(id, project, digest_of(&card)).unwrap();
        let owner_key = || OwnerKey {
            release: Release {
                dataset: id,
                project,
                card_digest: open.card_digest(),
                epoch: 0,
                wrapped_key: open.wrap_to(&ada.sealing().public().to_bytes()).unwrap(),
                leaf: None,
            },
            card: card.clone(),
            handovers: Vec::new(),
            written_under: None,
        };
        let manifest = |hub: &str, open: &OpenDataset, by: &SigningKey| {
            let (manifest, _) =
                dataset::manifest(open, hub, vec![], ObjectSet::default(), 1, None, now).unwrap();
            sign_statement(&manifest, by)
        };
        let good = manifest("h", &open, &writer);
        let content = device.content(id, owner_key(), &good, Some(&card), None).unwrap();
        assert_eq!((content.input().dataset, content.seen.number), (id, 1));
        assert!(device.content(id, owner_key(), &good, None, Some(&content.seen)).is_ok());

        let other = OpenDataset::create(id, ProjectId::generate(), digest_of(&card)).unwrap();
        for wrong in [
            manifest("h", &open, &key),
            manifest("another", &open, &writer),
            manifest("h", &other, &writer),
            manifest("h", &open.next_epoch(digest_of(&card)).unwrap(), &writer),
        ] {
            let refused = device.content(id, owner_key(), &wrong, None, None);
            assert!(matches!(refused, Err(Refusal::Dataset { .. })), "{refused:?}");
        }
        let elsewhere = device.content(DatasetId::generate(), owner_key(), &good, None, None);
        assert!(matches!(elsewhere, Err(Refusal::Dataset { .. })));
        let newer = Seen { number: 2, digest: Digest([5; 32]) };
        let older = device.content(id, owner_key(), &good, None, Some(&newer));
        assert!(matches!(older, Err(Refusal::OlderContent { .. })));
        let hers = Device { person: &eve, approval_key: &key, hub: "h" };
        let refused = hers.content(id, owner_key(), &good, None, None);
        assert!(matches!(refused, Err(Refusal::OthersCard { .. })));
    }
}
