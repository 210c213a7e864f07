//! What a device approves: built from what it verified, drawn from what would be signed, and signed.

use api::{Bytes, Digest, ProjectId, Purpose, SignedApproval, Time};
use proof::{
    APPROVAL_SECONDS, Act, AnyReceipt, Approval, Manifest, OwnerCard, Private, ReceiptOutput,
    Writer, commitment, digest_of, open_statement,
};

use crate::card::{Device, whole};
use crate::error::Refusal;

/// What stands around an act: who asks, when, and what of the log was seen.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// On whose behalf.
    pub requester: api::AccountId,
    /// The device's clock.
    pub now: Time,
    /// The digest of the newest checkpoint that the device verified.
    pub checkpoint: Option<Digest>,
}

/// An approval that could be signed now, and what a person reads of it.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// What would be signed.
    pub approval: Approval,
    /// The sentences, computed from it.
    pub sentences: Vec<String>,
}

pub(crate) fn random() -> Result<Digest, Refusal> {
    let mut bytes = [0; 32];
    seal::fill_random(&mut bytes)
        .map_err(|e| Refusal::unmakable("the system gives no randomness", e))?;
    Ok(Digest(bytes))
}

pub(crate) fn later(now: Time, seconds: i64) -> Result<Time, Refusal> {
    Time::from_second(now.as_second().saturating_add(seconds))
        .map_err(|e| Refusal::unmakable("the clock stands at the end of time", e))
}

impl Device<'_> {
    /// An approval of this act, for a quarter of an hour from now on, that the person gives unasked.
    ///
    /// # Errors
    /// No approval says so, or it cannot be drawn.
    pub fn draw(
        &self,
        card: &OwnerCard,
        act: Act,
        purpose: &str,
        at: Moment,
    ) -> Result<Drawn, Refusal> {
        let purpose = Purpose { salt: random()?, text: purpose.to_owned() };
        let approval = self.approval(card, act, &purpose, at, APPROVAL_SECONDS)?;
        approval.check().map_err(|e| Refusal::unmakable("the approval cannot be made", e))?;
        let sentences = sentences(&approval, &purpose, None, &[])?;
        Ok(Drawn { approval, sentences })
    }

    pub(crate) fn approval(
        &self,
        card: &OwnerCard,
        act: Act,
        purpose: &Purpose,
        at: Moment,
        seconds: i64,
    ) -> Result<Approval, Refusal> {
        let now = whole(at.now);
        Ok(Approval {
            hub: self.hub.to_owned(),
            project: card.project,
            owner: card.owner.clone(),
            card: card.digest(),
            purpose: commitment(purpose),
            requester: at.requester,
            nonce: random()?,
            not_before: now,
            expires: later(now, seconds)?,
            checkpoint: at.checkpoint,
            act,
        })
    }

    /// The device's signature, and the wallet's where the card asks for one and the words hold it.
    ///
    /// # Errors
    /// The card asks for another wallet.
    pub fn sign(&self, card: &OwnerCard, approval: &Approval) -> Result<SignedApproval, Refusal> {
        let second = match &card.second_signer {
            None => None,
            Some(address) => {
                let account = self
                    .person
                    .ethereum()
                    .map_err(|e| Refusal::unmakable("there is no account", e))?;
                if account.address().to_string() != *address {
                    return Err(Refusal::OtherWallet { address: address.clone() });
                }
                let digest = approval
                    .typed_data()
                    .and_then(|typed| typed.digest())
                    .map_err(|e| Refusal::unmakable("the approval has no form for a wallet", e))?;
                Some(account.sign_digest(&digest))
            }
        };
        Ok(approval.sign(self.approval_key, second))
    }
}

pub(crate) fn sentences(
    approval: &Approval,
    purpose: &Purpose,
    document: Option<&[u8]>,
    names: &[(api::DatasetId, String)],
) -> Result<Vec<String>, Refusal> {
    approval
        .sentences(&Private { purpose: Some(purpose), document, names })
        .map_err(|e| Refusal::unmakable("the approval cannot be drawn", e))
}

/// The act by which an owner takes what a vault wrote: the manifest's signer must be the vault whose receipt says that the task ended
/// and made this very content.
///
/// # Errors
/// Why not.
pub fn accepts(
    dataset: api::DatasetId,
    manifest: &api::SignedStatement,
    receipt: &api::SignedStatement,
) -> Result<Act, String> {
    let (_, signer) = open_statement::<Manifest>(manifest)
        .map_err(|e| format!("its manifest does not hold: {e}"))?;
    let (receipt, by) =
        AnyReceipt::open(receipt).map_err(|e| format!("its receipt does not hold: {e}"))?;
    let digest = digest_of(manifest);
    let made = |output: &ReceiptOutput| output.dataset == dataset && output.manifest == digest;
    if by != signer || !receipt.facts().complete || !receipt.facts().outputs.iter().any(made) {
        return Err("the receipt of its task is not of the vault that signed it".to_owned());
    }
    let key = Bytes(signer.to_bytes().to_vec());
    Ok(Act::Writer(Writer { dataset, manifest: digest, key }))
}

/// A project that is named twice is written to once.
pub(crate) type Projects = std::collections::BTreeSet<ProjectId>;
