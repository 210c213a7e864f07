//! What a vault shows before a key is released to it, appraised (`spec/custody.md`, section 4).
//!
//! An [`Appraised`] can be made by [`appraise`] alone, so whoever holds one knows that somebody looked: which key signed,
//! for which task, and to which recipient keys may go. Evidence of an unattested vault proves nothing about its memory;
//! its kind travels along and stands in the receipt, so that nothing later can mistake one for the other.

use api::{Digest, KeyId, SignedStatement, TaskId, Time};
use proof::{AnyEvidence, EvidenceKind, PublicKey, StatementError, digest_of};
use seal::recipient::RecipientKey;

/// For how long evidence counts, and how far ahead of our clock it may be.
pub const EVIDENCE_SECONDS: i64 = 300;

/// Evidence that was looked at and holds.
#[derive(Debug, Clone)]
pub struct Appraised {
    kind: EvidenceKind,
    task: TaskId,
    recipient: RecipientKey,
    receipt_key: PublicKey,
    digest: Digest,
}

impl Appraised {
    /// How the vault proved what it is.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// The task it showed the evidence for.
    #[must_use]
    pub const fn task(&self) -> TaskId {
        self.task
    }

    /// The one recipient to which keys may be released on it.
    #[must_use]
    pub const fn recipient(&self) -> &RecipientKey {
        &self.recipient
    }

    /// The key that signs the vault's calls and its receipt.
    #[must_use]
    pub const fn receipt_key(&self) -> &PublicKey {
        &self.receipt_key
    }

    /// The digest that the receipt names.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// Why evidence does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// It is no evidence in its one spelling, or the signature is wrong.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Another key signs the call than the evidence binds.
    #[error("the evidence is signed by key {evidence}, and the call by key {caller}")]
    Signer {
        /// The key that signed the evidence.
        evidence: KeyId,
        /// The key that signed the call.
        caller: KeyId,
    },
    /// It was made for another task.
    #[error("the evidence is for task {evidence}, not for {asked}")]
    Task {
        /// The task in the evidence.
        evidence: TaskId,
        /// The task that was asked for.
        asked: TaskId,
    },
    /// It is too old, or from the future.
    #[error("the evidence was made at {at}, more than {EVIDENCE_SECONDS} seconds from now")]
    Time {
        /// When it was made.
        at: Time,
    },
    /// The key in it is no recipient.
    #[error("the recipient in the evidence is no X-Wing key")]
    Recipient,
}

/// Looks at the evidence that `caller` shows for `task` at `now`.
///
/// Whether a report in it is genuine is not asked here: whoever releases a key on it appraises it, and a hub's word that it did
/// would be worth the hub's word.
///
/// # Errors
/// It is not what it must be, is for another task, another caller or another time.
pub fn appraise(
    evidence: &SignedStatement,
    task: TaskId,
    caller: KeyId,
    now: Time,
) -> Result<Appraised, EvidenceError> {
    let (statement, receipt_key) = AnyEvidence::open(evidence)?;
    if receipt_key.id() != caller {
        return Err(EvidenceError::Signer { evidence: receipt_key.id(), caller });
    }
    if statement.task() != task {
        return Err(EvidenceError::Task { evidence: statement.task(), asked: task });
    }
    if now.as_second().abs_diff(statement.at().as_second()) > EVIDENCE_SECONDS.unsigned_abs() {
        return Err(EvidenceError::Time { at: statement.at() });
    }
    let recipient = RecipientKey::from_bytes(&statement.recipient().0)
        .map_err(|_no_key| EvidenceError::Recipient)?;
    let digest = digest_of(evidence);
    Ok(Appraised { kind: statement.kind(), task, recipient, receipt_key, digest })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proof::{SigningKey, UnattestedEvidence, sign_statement};
    use seal::recipient::RecipientSecret;

    pub(crate) fn evidence(
        task: TaskId,
        key: &SigningKey,
        recipient: &RecipientKey,
        at: Time,
    ) -> SignedStatement {
        let statement = UnattestedEvidence {
            kind: EvidenceKind::Unattested,
            task,
            recipient: api::Bytes(recipient.to_bytes()),
            program: "0.1.0".to_owned(),
            at,
        };
        sign_statement(&statement, key)
    }

    #[test]
    fn evidence_counts_for_its_task_its_signer_and_its_time_alone() {
        let key = SigningKey::from_seed(&[1; 32]);
        let caller = key.public().id();
        let recipient = RecipientSecret::from_seed([2; 32]).public();
        let (task, now) = (TaskId::generate(), Time::UNIX_EPOCH);
        let signed = evidence(task, &key, &recipient, now);

        let good = appraise(&signed, task, caller, now).unwrap();
        assert_eq!(
            (good.task(), good.recipient(), good.receipt_key().id()),
            (task, &recipient, caller)
        );
        assert_eq!(good.digest(), digest_of(&signed));

        let other_task = appraise(&signed, TaskId::generate(), caller, now);
        assert!(matches!(other_task, Err(EvidenceError::Task { .. })));
        let stranger = SigningKey::from_seed(&[9; 32]).public().id();
        let other_caller = appraise(&signed, task, stranger, now);
        assert!(matches!(other_caller, Err(EvidenceError::Signer { .. })));
        for second in [EVIDENCE_SECONDS + 1, -EVIDENCE_SECONDS - 1] {
            let then = Time::from_second(second).unwrap();
            let late = appraise(&signed, task, caller, then);
            assert!(matches!(late, Err(EvidenceError::Time { .. })), "{second}");
        }
        let mut changed = signed;
        changed.statement = changed.statement.replace("0.1.0", "0.1.1");
        assert!(matches!(
            appraise(&changed, task, caller, now),
            Err(EvidenceError::Statement(StatementError::Signature { .. }))
        ));
    }
}
