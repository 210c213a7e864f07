//! Signed calls: HTTP Message Signatures (RFC 9421) with Ed25519, over `@method`, `@target-uri` and `content-digest`
//! (RFC 9530), with `created`, `nonce` and `keyid`. `spec/signed-calls.md` has the rules; the hub keeps the nonces.
//!
//! One label (`sig1`), one order of parameters, one algorithm: what is accepted here is the form that [`Call::sign`]
//! writes and no other, so there is nothing to choose for an attacker. Every header of ours (`chorion-…`) that is
//! present must be covered.

use std::fmt::Write as _;

use api::{Digest, KeyId};
use data_encoding::BASE64;

use crate::{PublicKey, SigningKey, sha256};

/// How far the caller's clock may be from ours.
pub const MAX_SKEW_SECONDS: i64 = 300;

/// The parts of a call that a signature covers.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The whole URI: scheme, authority, path and query, as the caller wrote it.
    pub target_uri: &'a str,
    /// The `Content-Digest` header.
    pub content_digest: &'a str,
    /// Every header whose name starts with `chorion-`, in lower case, sorted by name.
    pub headers: &'a [(&'a str, &'a str)],
}

/// The two headers that a signed call bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSignature {
    /// `Signature-Input`.
    pub signature_input: String,
    /// `Signature`.
    pub signature: String,
}

/// A call that is about to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedCall {
    /// The text that is signed: the signature base of RFC 9421.
    pub base: String,
    params: String,
}

impl UnsignedCall {
    /// The two headers, with the Ed25519 signature over `base`.
    pub fn signed(&self, signature: &[u8; 64]) -> CallSignature {
        CallSignature {
            signature_input: format!("sig1={}", self.params),
            signature: format!("sig1=:{}:", BASE64.encode(signature)),
        }
    }
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is none.
    #[error("the call bears no signature")]
    Unsigned,
    /// It is not of the form we accept.
    #[error("the signature is not of the accepted form: {0}")]
    Form(&'static str),
    /// It does not cover all it must.
    #[error("the signature does not cover `{0}`")]
    NotCovered(String),
    /// It does not verify under the named key.
    #[error("the signature does not verify under key {0}")]
    Wrong(KeyId),
    /// The body is not what the digest says.
    #[error("the body is not what its Content-Digest says")]
    Body,
    /// The clocks differ.
    #[error("the call was signed {seconds} seconds {direction} by our clock")]
    Skew {
        /// How far off.
        seconds: i64,
        /// `ago` or `ahead`.
        direction: &'static str,
    },
}

impl Call<'_> {
    /// Signs the call; `created` is the moment in Unix seconds and `nonce` a text of 16 to 64 letters and digits that
    /// this key never used before.
    pub fn sign(&self, key: &SigningKey, created: i64, nonce: &str) -> CallSignature {
        let unsigned = self.unsigned(key.public().id(), created, nonce);
        let signature = key.sign(unsigned.base.as_bytes());
        unsigned.signed(&signature.0)
    }

    /// The call before it is signed, for a key that signs elsewhere: one that a browser keeps and does not give away.
    pub fn unsigned(&self, key: KeyId, created: i64, nonce: &str) -> UnsignedCall {
        let params = self.params(created, nonce, key);
        UnsignedCall { base: self.base(&params), params }
    }

    fn params(&self, created: i64, nonce: &str, key: KeyId) -> String {
        let mut covered = String::from(r#"("@method" "@target-uri" "content-digest""#);
        for (name, _) in self.headers {
            let _infallible = write!(covered, r#" "{name}""#);
        }
        format!(r#"{covered});created={created};nonce="{nonce}";keyid="{key}";alg="ed25519""#)
    }

    /// The signature base of RFC 9421, section 2.5.
    fn base(&self, params: &str) -> String {
        let mut base = format!(
            "\"@method\": {}\n\"@target-uri\": {}\n\"content-digest\": {}\n",
            self.method, self.target_uri, self.content_digest
        );
        for (name, value) in self.headers {
            let _infallible = writeln!(base, "\"{name}\": {value}");
        }
        let _infallible = write!(base, "\"@signature-params\": {params}");
        base
    }
}

/// A signature that was read and not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedCall {
    /// Which key it claims.
    pub key: KeyId,
    /// When it was made, in Unix seconds.
    pub created: i64,
    /// The nonce.
    pub nonce: String,
    params: String,
    signature: Vec<u8>,
}

impl ParsedCall {
    /// Reads the two headers.
    pub fn parse(
        signature_input: Option<&str>,
        signature: Option<&str>,
    ) -> Result<Self, CallError> {
        let (Some(input), Some(signature)) = (signature_input, signature) else {
            return Err(CallError::Unsigned);
        };
        if input.len() > 1024 || signature.len() > 256 {
            return Err(CallError::Form("it is too long"));
        }
        let params = input.strip_prefix("sig1=").ok_or(CallError::Form("its label is not sig1"))?;
        let (_, rest) = params
            .split_once(");created=")
            .ok_or(CallError::Form("`created` does not come first"))?;
        let (created, rest) =
            rest.split_once(r#";nonce=""#).ok_or(CallError::Form("there is no nonce"))?;
        let (nonce, rest) =
            rest.split_once(r#"";keyid=""#).ok_or(CallError::Form("there is no keyid"))?;
        let key = rest
            .strip_suffix(r#"";alg="ed25519""#)
            .ok_or(CallError::Form("its algorithm is not ed25519"))?;
        let created =
            created.parse().map_err(|_no_number| CallError::Form("`created` is no number"))?;
        let key = key.parse().map_err(|_no_id| CallError::Form("its keyid is no key id"))?;
        if !(16..=64).contains(&nonce.len()) || !nonce.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(CallError::Form("its nonce is not 16 to 64 letters and digits"));
        }
        let signature = signature
            .strip_prefix("sig1=:")
            .and_then(|s| s.strip_suffix(':'))
            .and_then(|s| BASE64.decode(s.as_bytes()).ok())
            .ok_or(CallError::Form("it is not base64 between colons"))?;
        Ok(Self { key, created, nonce: nonce.to_owned(), params: params.to_owned(), signature })
    }

    /// Whether the clocks agree, at `now` in Unix seconds.
    pub fn check_time(&self, now: i64) -> Result<(), CallError> {
        let seconds = now.saturating_sub(self.created);
        match seconds {
            s if s > MAX_SKEW_SECONDS => Err(CallError::Skew { seconds, direction: "ago" }),
            s if s < -MAX_SKEW_SECONDS => {
                Err(CallError::Skew { seconds: s.saturating_neg(), direction: "ahead" })
            }
            _ => Ok(()),
        }
    }

    /// Whether `key` signed this very call.
    pub fn verify(&self, call: &Call<'_>, key: &PublicKey) -> Result<(), CallError> {
        for (name, _) in call.headers {
            if !self.params.contains(&format!(r#" "{name}""#)) {
                return Err(CallError::NotCovered((*name).to_owned()));
            }
        }
        if self.params != call.params(self.created, &self.nonce, self.key) {
            return Err(CallError::Form("it covers other parts than this call has"));
        }
        if key.id() == self.key && key.verifies(call.base(&self.params).as_bytes(), &self.signature)
        {
            Ok(())
        } else {
            Err(CallError::Wrong(self.key))
        }
    }
}

/// The `Content-Digest` of a body (RFC 9530).
pub fn content_digest(body: &[u8]) -> String {
    content_digest_of(&sha256(body))
}

/// The `Content-Digest` for a digest that is known already.
pub fn content_digest_of(digest: &Digest) -> String {
    format!("sha-256=:{}:", BASE64.encode(&digest.0))
}

/// The SHA-256 in a `Content-Digest` header.
pub fn parse_content_digest(header: &str) -> Result<Digest, CallError> {
    header
        .strip_prefix("sha-256=:")
        .and_then(|s| s.strip_suffix(':'))
        .and_then(|s| BASE64.decode(s.as_bytes()).ok())
        .and_then(|b| b.try_into().ok())
        .map(Digest)
        .ok_or(CallError::Form("its Content-Digest is not one sha-256"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONCE: &str = "abcdefghijklmnop";

    fn key() -> SigningKey {
        SigningKey::from_seed(&[3; 32])
    }

    fn call<'a>(digest: &'a str, headers: &'a [(&'a str, &'a str)]) -> Call<'a> {
        Call {
            method: "PUT",
            target_uri: "https://hub.example/api/v1/x?y=1",
            content_digest: digest,
            headers,
        }
    }

    fn parse(signature: &CallSignature) -> ParsedCall {
        ParsedCall::parse(Some(&signature.signature_input), Some(&signature.signature)).unwrap()
    }

    /// RFC 9421, B.2.6: the base and the signature of `sig-b26`, by the Ed25519 key of B.1.4.
    #[test]
    fn the_published_ed25519_signature_verifies() {
        let public = BASE64.decode(b"JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=").unwrap();
        let base = concat!(
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n",
            "\"@method\": POST\n",
            "\"@path\": /foo\n",
            "\"@authority\": example.com\n",
            "\"content-type\": application/json\n",
            "\"content-length\": 18\n",
            "\"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" ",
            "\"content-length\");created=1618884473;keyid=\"test-key-ed25519\""
        );
        let signature = BASE64
            .decode(b"wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==")
            .unwrap();
        assert!(PublicKey::from_bytes(&public).unwrap().verifies(base.as_bytes(), &signature));
    }

    #[test]
    fn a_signed_call_verifies_and_any_other_call_does_not() {
        let digest = content_digest(b"body");
        let headers = [("chorion-wrapped-key", "AAAA")];
        let signature = call(&digest, &headers).sign(&key(), 1_700_000_000, NONCE);
        let parsed = parse(&signature);
        assert_eq!(parsed.verify(&call(&digest, &headers), &key().public()), Ok(()));
        let other = content_digest(b"other");
        let changed = [
            Call { method: "GET", ..call(&digest, &headers) },
            Call { target_uri: "https://hub.example/api/v1/x?y=2", ..call(&digest, &headers) },
            call(&other, &headers),
            call(&digest, &[("chorion-wrapped-key", "AAAB")]),
            call(&digest, &[]),
        ];
        for call in changed {
            assert!(parsed.verify(&call, &key().public()).is_err(), "{call:?}");
        }
        let stranger = SigningKey::from_seed(&[4; 32]).public();
        assert_eq!(
            parsed.verify(&call(&digest, &headers), &stranger),
            Err(CallError::Wrong(key().public().id()))
        );
    }

    #[test]
    fn a_header_of_ours_that_is_not_covered_is_refused() {
        let digest = content_digest(b"");
        let parsed = parse(&call(&digest, &[]).sign(&key(), 0, NONCE));
        let added = [("chorion-epoch", "1")];
        let error = parsed.verify(&call(&digest, &added), &key().public());
        assert_eq!(error, Err(CallError::NotCovered("chorion-epoch".to_owned())));
    }

    #[test]
    fn a_clock_that_is_off_is_told_by_how_much() {
        let digest = content_digest(b"");
        let parsed = parse(&call(&digest, &[]).sign(&key(), 1000, NONCE));
        assert!(parsed.check_time(1300).is_ok() && parsed.check_time(700).is_ok());
        assert_eq!(
            parsed.check_time(1301),
            Err(CallError::Skew { seconds: 301, direction: "ago" })
        );
        assert_eq!(
            parsed.check_time(699),
            Err(CallError::Skew { seconds: 301, direction: "ahead" })
        );
    }

    proptest! {
        #[test]
        fn whatever_the_headers_hold_parsing_ends(input in ".{0,200}", signature in ".{0,100}") {
            let _any_outcome = ParsedCall::parse(Some(&input), Some(&signature));
            let _any_outcome = parse_content_digest(&input);
        }
    }
}
