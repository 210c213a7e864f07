//! One way to sign and to check every kind of statement (`spec/statements.md`).

use api::{Bytes, Digest, SignedStatement};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{PublicKey, SigningKey, sha256};

/// A kind of statement: a closed set of fields under a name that no other kind has.
pub trait Statement: Serialize + DeserializeOwned {
    /// The first line of the signed text, as `chorion project card v1`.
    const KIND: &'static str;
}

/// Why a statement does not count.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Another kind, or none.
    #[error("the statement is not a {expected}")]
    Kind {
        /// What was wanted.
        expected: &'static str,
    },
    /// Not the one spelling of its fields.
    #[error("the {kind} is not in canonical form: {why}")]
    Form {
        /// The kind.
        kind: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The signer is no key.
    #[error("the signer of the {kind} is no Ed25519 key")]
    Signer {
        /// The kind.
        kind: &'static str,
    },
    /// The signature is not the signer's.
    #[error("the signature of the {kind} does not verify")]
    Signature {
        /// The kind.
        kind: &'static str,
    },
}

/// The text that is signed: kind, newline, canonical JSON.
pub(crate) fn canonical<T: Statement>(statement: &T) -> String {
    // `serde_json::Value` keeps its keys sorted, so writing through it gives the one order. Numbers here are integers.
    let value = serde_json::to_value(statement)
        .expect("a statement serializes because its fields are texts, integers, lists and records");
    format!("{}\n{value}", T::KIND)
}

/// The text that a key elsewhere signs: a browser's, which cannot be exported.
pub fn unsigned_statement<T: Statement>(statement: &T) -> String {
    canonical(statement)
}

/// Signs `statement` with `key`.
pub fn sign_statement<T: Statement>(statement: &T, key: &SigningKey) -> SignedStatement {
    let text = canonical(statement);
    let signature = key.sign(text.as_bytes());
    SignedStatement {
        statement: text,
        signature: Bytes(signature.0.to_vec()),
        signer: Bytes(key.public().to_bytes().to_vec()),
    }
}

/// The statement inside, if it is one of kind `T` in its one spelling and the named signer signed it.
///
/// Whether that signer may sign such a thing is the caller's question; the key is returned for it.
pub fn open_statement<T: Statement>(
    signed: &SignedStatement,
) -> Result<(T, PublicKey), StatementError> {
    let kind = T::KIND;
    let signer =
        PublicKey::from_bytes(&signed.signer.0).map_err(|_| StatementError::Signer { kind })?;
    if !signer.verifies(signed.statement.as_bytes(), &signed.signature.0) {
        return Err(StatementError::Signature { kind });
    }
    let json = signed
        .statement
        .strip_prefix(kind)
        .and_then(|rest| rest.strip_prefix('\n'))
        .ok_or(StatementError::Kind { expected: kind })?;
    let statement: T = serde_json::from_str(json)
        .map_err(|e| StatementError::Form { kind, why: e.to_string() })?;
    if canonical(&statement) != signed.statement {
        return Err(StatementError::Form { kind, why: "written again it differs".to_owned() });
    }
    Ok((statement, signer))
}

/// The digest that other statements use to name this one: over the signed text.
pub fn digest_of(signed: &SignedStatement) -> Digest {
    sha256(signed.statement.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Note {
        zebra: u32,
        apple: String,
    }
    impl Statement for Note {
        const KIND: &'static str = "chorion test note v1";
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    fn resign(text: &str) -> SignedStatement {
        SignedStatement {
            statement: text.to_owned(),
            signature: Bytes(key().sign(text.as_bytes()).0.to_vec()),
            signer: Bytes(key().public().to_bytes().to_vec()),
        }
    }

    #[test]
    fn what_was_signed_opens() {
        let signed = sign_statement(&Note { zebra: 1, apple: "é".into() }, &key());
        assert_eq!(signed.statement, "chorion test note v1\n{\"apple\":\"é\",\"zebra\":1}");
        let (note, signer) = open_statement::<Note>(&signed).unwrap();
        assert_eq!((note.zebra, signer), (1, key().public()));
    }

    #[test]
    fn a_statement_has_one_spelling() {
        let kind = Note::KIND;
        for body in [
            r#"{"zebra":1,"apple":""}"#,
            r#"{"apple":"", "zebra":1}"#,
            r#"{"apple":"","zebra":1,"more":0}"#,
            r#"{"apple":"","zebra":1,"zebra":1}"#,
            r#"{"apple":""}"#,
            r#"{"apple":"\u0041","zebra":1}"#,
            r#"{"apple":"","zebra":1.0}"#,
            "{\"apple\":\"\",\"zebra\":1}\n",
        ] {
            let error = open_statement::<Note>(&resign(&format!("{kind}\n{body}"))).unwrap_err();
            assert!(matches!(error, StatementError::Form { .. }), "{body}: {error}");
        }
        let error = open_statement::<Note>(&resign("chorion test note v2\n{}")).unwrap_err();
        assert!(matches!(error, StatementError::Kind { .. }));
    }

    #[test]
    fn a_changed_byte_or_another_signer_does_not_verify() {
        let signed = sign_statement(&Note { zebra: 1, apple: "a".into() }, &key());
        let mut changed = signed.clone();
        changed.statement = changed.statement.replace("\"a\"", "\"b\"");
        assert!(matches!(open_statement::<Note>(&changed), Err(StatementError::Signature { .. })));
        let mut other = signed;
        other.signer = Bytes(SigningKey::from_seed(&[8; 32]).public().to_bytes().to_vec());
        assert!(matches!(open_statement::<Note>(&other), Err(StatementError::Signature { .. })));
    }
}
