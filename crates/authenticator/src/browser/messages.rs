//! Public keys as other programs read them, and messages that are signed and opened with the words.

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use identity::openpgp::{Armored, Certificate, Message, OpenPgpError, Verdict, armor};
use proof::{TypedData, phrase};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use super::{Person, Told, plain, told};
use crate::person_phrase;

#[wasm_bindgen]
impl Person {
    /// Every public half, as one document.
    ///
    /// # Errors
    /// These words have no Ethereum account, which befalls one seed in 2^127.
    pub fn public_halves(&self) -> Told<String> {
        let person = &self.identity;
        let sealing = person.sealing().public();
        let fingerprint = api::Digest(sealing.fingerprint());
        Ok(json!({
            "card": HEXLOWER.encode(&person.card_key().public().to_bytes()),
            "sealing": sealing.to_string(),
            "sealing_fingerprint": HEXLOWER.encode(&fingerprint.0),
            "sealing_phrase": phrase(&fingerprint),
            "person_phrase": person_phrase(&person.card_key().public().to_bytes(), &sealing.to_bytes()),
            "ethereum": person.ethereum().map_err(told)?.address().to_string(),
            "openpgp": HEXUPPER.encode(&person.openpgp(None).fingerprint()),
            "openpgp_certificate": person.openpgp(None).armored_certificate(),
            "x509": BASE64.encode(person.client_certificate().der()),
            "x509_certificate": person.client_certificate().pem(),
            "ssh": person.ssh().public_line(),
        })
        .to_string())
    }

    /// Signs a message: `openpgp`, `openpgp-inline`, `ethereum`, `typed-data` or `ssh`. `now` in Unix seconds.
    ///
    /// # Errors
    /// The form is unknown, or the message has no such form.
    pub fn sign_message(&self, form: &str, message: &[u8], now: u32) -> Told<String> {
        let person = &self.identity;
        let hex = |bytes: &[u8]| format!("0x{}", HEXLOWER.encode(bytes));
        Ok(match form {
            "openpgp" => {
                armor(Armored::Signature, &person.openpgp(None).sign_detached(message, now))
            }
            "openpgp-inline" => {
                armor(Armored::Message, &person.openpgp(None).sign_inline(message, now))
            }
            "ethereum" => hex(&person.ethereum().map_err(told)?.sign_message(message).to_bytes()),
            "typed-data" => {
                let text = str::from_utf8(message).map_err(told)?;
                let digest =
                    TypedData::read(text).and_then(|typed| typed.digest()).map_err(told)?;
                hex(&person.ethereum().map_err(told)?.sign_digest(&digest).to_bytes())
            }
            "ssh" => person.ssh().sign("file", message),
            other => return Err(plain(format!("`{other}` is no form of a signature"))),
        })
    }

    /// Opens an OpenPGP message that was encrypted or signed; `from` is the signer's certificate, or empty.
    ///
    /// # Errors
    /// It is no message, not for these words, or a signature in it does not count.
    pub fn open_message(&self, message: &[u8], from: &[u8], now: u32) -> Told<String> {
        let from = if from.is_empty() {
            Vec::new()
        } else {
            vec![Certificate::read(from, now).map_err(told)?]
        };
        let message = Message::read(message).map_err(told)?;
        let opened = match message.open(None, &from, now) {
            Err(OpenPgpError::Encrypted) => {
                message.open(Some(&self.identity.openpgp(None)), &from, now)
            }
            other => other,
        };
        let opened = opened.map_err(told)?;
        let mut signatures = Vec::new();
        for verdict in &opened.signatures {
            signatures.push(match verdict {
                Verdict::Good { fingerprint, made } => {
                    json!({ "good": true, "fingerprint": HEXUPPER.encode(fingerprint), "made": made })
                }
                Verdict::UnknownKey { key_id } => {
                    json!({ "good": false, "key_id": HEXUPPER.encode(key_id) })
                }
                Verdict::Bad { because } => {
                    return Err(plain(format!("a signature does not count: {because}")));
                }
            });
        }
        let signatures: Vec<Value> = signatures;
        Ok(json!({
            "text": String::from_utf8_lossy(&opened.data),
            "bytes": BASE64.encode(&opened.data),
            "encrypted": opened.encrypted,
            "signatures": signatures,
        })
        .to_string())
    }
}
