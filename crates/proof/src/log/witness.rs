//! A witness: it remembers the last checkpoint of a log and puts its name under a newer one only if that continues it
//! (C2SP tlog-witness; `spec/audit-log.md` section 5).

use api::{Digest, Time};

use super::{Alarm, Checkpoint, SignedNote, VerifierKey, verify_consistency};
use crate::SigningKey;

/// What a witness knows of one log. It grows by what it cosigned and never shrinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    log: VerifierKey,
    seen: Checkpoint,
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessRefusal {
    /// The log is not what it was.
    #[error(transparent)]
    Alarm(#[from] Alarm),
    /// Its own name is none.
    #[error("{0}")]
    Name(super::NoteError),
}

impl Witness {
    /// A witness that has seen nothing of the log with this key.
    pub fn new(log: VerifierKey) -> Self {
        let origin = log.name().to_owned();
        Self { log, seen: Checkpoint { origin, size: 0, root: crate::sha256(b"") } }
    }

    /// A witness that has seen this checkpoint.
    pub const fn resume(log: VerifierKey, seen: Checkpoint) -> Self {
        Self { log, seen }
    }

    /// The last checkpoint that it cosigned; of size 0 before the first.
    pub const fn seen(&self) -> &Checkpoint {
        &self.seen
    }

    /// Looks at a note with the proof that it continues [`seen`](Self::seen), and cosigns it.
    ///
    /// What is given back must not leave before the new state is on the disk: a witness that forgets cosigns a fork.
    ///
    /// # Errors
    /// The log did not sign it, or it does not continue what was seen.
    pub fn cosign(
        &mut self,
        note: &SignedNote,
        proof: &[Digest],
        name: &str,
        key: &SigningKey,
        now: Time,
    ) -> Result<SignedNote, WitnessRefusal> {
        let checkpoint = note.checkpoint(&self.log).map_err(Alarm::from)?;
        let (then, new) = (self.seen.size, checkpoint.size);
        if new < then {
            return Err(Alarm::Truncated { then, now: new }.into());
        }
        if !verify_consistency(then, new, &self.seen.root, &checkpoint.root, proof) {
            return Err(Alarm::Forked { then, now: new, whom: "this witness has" }.into());
        }
        let mut cosigned = note.clone();
        cosigned.cosign(name, key, now).map_err(WitnessRefusal::Name)?;
        self.seen = checkpoint;
        Ok(cosigned)
    }
}

#[cfg(test)]
mod tests {
    use super::super::merkle::tests::Tree;
    use super::super::{SignatureKind, consistency_proof, origin_of};
    use super::*;

    #[test]
    fn a_witness_cosigns_what_continues_and_nothing_else() {
        let log_key = SigningKey::from_seed(&[1; 32]);
        let log =
            VerifierKey::new(&origin_of("hub"), SignatureKind::Log, log_key.public()).unwrap();
        let key = SigningKey::from_seed(&[2; 32]);
        let name = "witness.example";
        let public = VerifierKey::new(name, SignatureKind::Witness, key.public()).unwrap();
        let now = Time::from_second(1_800_000_000).unwrap();
        let tree = Tree::of(20);
        let note = |tree: &Tree, size| {
            Checkpoint { origin: origin_of("hub"), size, root: tree.root(size) }.sign(&log_key)
        };
        let proof = |from, to| consistency_proof(from, to, &tree).unwrap();

        let mut witness = Witness::new(log);
        for (from, to) in [(0, 7), (7, 7), (7, 20)] {
            let cosigned =
                witness.cosign(&note(&tree, to), &proof(from, to), name, &key, now).unwrap();
            assert_eq!(cosigned.cosigned(&public), Ok(now));
            assert_eq!(witness.seen().size, to);
        }
        let before = witness.clone();
        let refused = witness.cosign(&note(&tree, 19), &[], name, &key, now).unwrap_err();
        assert_eq!(refused, Alarm::Truncated { then: 20, now: 19 }.into());
        let mut fork = Tree::of(19);
        (0..3).for_each(|_| fork.append(b"other"));
        for (size, proof) in
            [(20, Vec::new()), (22, consistency_proof(20, 22, &fork).unwrap()), (22, Vec::new())]
        {
            let refused = witness.cosign(&note(&fork, size), &proof, name, &key, now);
            assert!(matches!(refused, Err(WitnessRefusal::Alarm(Alarm::Forked { .. }))), "{size}");
        }
        let mut stranger = note(&tree, 20).to_string();
        stranger = stranger.replace("\n20\n", "\n21\n");
        let refused = witness.cosign(&stranger.parse().unwrap(), &[], name, &key, now);
        assert!(matches!(refused, Err(WitnessRefusal::Alarm(Alarm::Checkpoint(_)))));
        assert_eq!(witness, before, "a refusal leaves what it remembers");
    }
}
