//! Whose manifests count in an owner's project (`spec/approval.md`, sections 5 and 7).

use api::{SignedStatement, WrittenUnder};
use proof::{Act, Approval, Manifest, Output, OwnerCard, ProjectCard, PublicKey, VaultKeys};

/// What says who may have written a dataset of an owner.
#[derive(Debug, Clone)]
pub struct Writers {
    /// The card in force.
    pub card: OwnerCard,
    /// The approval that made a vault's key a writer, where there is one.
    pub under: Option<WrittenUnder>,
    /// The first cards of later owners, as the owner before signed them.
    pub handovers: Vec<SignedStatement>,
}

impl Writers {
    /// Whether a manifest's signer may write: by the card, or by an approval that made a vault's key a writer of this dataset.
    #[must_use]
    pub fn may_write(&self, manifest: &Manifest, signer: &PublicKey) -> bool {
        if self.card.is_writer(signer) {
            return true;
        }
        let Some(WrittenUnder { approval, card: then }) = &self.under else { return false };
        let Ok((ProjectCard::Owner(then), _)) = ProjectCard::open(then, manifest.project) else {
            return false;
        };
        // The card of that day must be one that this card follows: of the same owner, or of one who handed the project over.
        let now = ProjectCard::Owner(self.card.clone());
        if now.follows(&ProjectCard::Owner(then.clone()), &self.handovers).is_err() {
            return false;
        }
        let Ok(verified) = Approval::open(approval, &then) else { return false };
        let wrote = |vault: &VaultKeys, outputs: &[Output]| {
            vault.receipt_key.0 == signer.to_bytes()
                && outputs.iter().any(|output| {
                    // What a demultiplexing finds has no name beforehand; the vault's key is its task's alone.
                    let named = output.dataset.is_none_or(|dataset| dataset == manifest.dataset);
                    output.project == manifest.project && named
                })
        };
        match &verified.approval().act {
            Act::App(run) => wrote(&run.vault, &run.outputs),
            Act::Query(query) => wrote(&query.vault, &query.outputs),
            Act::Writer(writer) => {
                writer.key.0 == signer.to_bytes() && writer.dataset == manifest.dataset
            }
            _ => false,
        }
    }
}
