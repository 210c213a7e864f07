//! A key on a token behind PKCS #11 (OASIS, version 2.40): a hardware security module.
//!
//! An AES key that cannot leave its token seals what is wrapped, by `CKM_AES_GCM` with the context as associated data. Secrets are data
//! objects of the same token. The module is loaded once in a process and shares its state of login among all who use it; so each
//! act has the module to itself, logs in with its own PIN and ends its session, and one organization's PIN opens nobody else's token.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use api::Secret;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use seal::fill_random;
use zeroize::Zeroizing;

use super::http::odd;
use super::{
    CustomerKey, KeyContext, KeyDescription, KeyState, KmsError, OrganizationKey, Provider,
    WrappedKey,
};

const ALGORITHM: &str = "CKM_AES_GCM";
const NONCE_BYTES: usize = 12;
const TAG_BITS: u64 = 128;

/// Modules that were loaded, each with the lock that gives it to one act at a time.
static MODULES: Mutex<Option<HashMap<PathBuf, Arc<Mutex<Pkcs11>>>>> = Mutex::new(None);

/// The module at that path, loaded once.
fn module(path: &Path) -> Result<Arc<Mutex<Pkcs11>>, KmsError> {
    let mut all = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    let all = all.get_or_insert_with(HashMap::new);
    if let Some(module) = all.get(path) {
        return Ok(Arc::clone(module));
    }
    let wrong = |e: Error| {
        KmsError::Configuration(format!("the module {} does not load: {e}", path.display()))
    };
    let module = Pkcs11::new(path).map_err(wrong)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(wrong(error)),
    }
    let module = Arc::new(Mutex::new(module));
    all.insert(path.to_owned(), Arc::clone(&module));
    Ok(module)
}

/// A key on a token.
#[derive(Clone)]
pub struct Token {
    module: PathBuf,
    token: String,
    key: String,
    pin: Secret,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.name())
    }
}

impl Token {
    /// The key of that label on the token of that label; nothing is asked yet.
    ///
    /// # Errors
    /// [`KmsError::Configuration`] if a label is none.
    pub fn new(module: &Path, token: &str, key: &str, pin: Secret) -> Result<Self, KmsError> {
        let plain = |text: &str| (1..=32).contains(&text.len()) && text.chars().all(is_plain);
        if !plain(token) || !plain(key) {
            return Err(KmsError::Configuration(
                "the token or the key has no label: letters, digits, spaces, `-`, `_` and `.`, 32 at most"
                    .to_owned(),
            ));
        }
        Ok(Self { module: module.to_owned(), token: token.into(), key: key.into(), pin })
    }

    fn name(&self) -> String {
        format!("pkcs11:token={};object={}", self.token, self.key)
    }

    /// Does something on the token, logged in, on a thread that may wait.
    async fn act<T: Send + 'static>(
        &self,
        writes: bool,
        act: impl FnOnce(&Self, &Session) -> Result<T, KmsError> + Send + 'static,
    ) -> Result<T, KmsError> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || this.logged_in(writes, act)).await;
        done.unwrap_or_else(|_| Err(odd("the module ended in the middle of its work")))
    }

    fn logged_in<T>(
        &self,
        writes: bool,
        act: impl FnOnce(&Self, &Session) -> Result<T, KmsError>,
    ) -> Result<T, KmsError> {
        let module = module(&self.module)?;
        let module = module.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |e| self.refusal(e, "use");
        let slots = module.get_slots_with_initialized_token().map_err(failed)?;
        let slot = slots.into_iter().find(|slot| {
            module.get_token_info(*slot).is_ok_and(|token| token.label() == self.token)
        });
        let slot = slot.ok_or_else(|| KmsError::NoSuchKey { key: self.name() })?;
        let session = if writes {
            module.open_rw_session(slot).map_err(failed)?
        } else {
            module.open_ro_session(slot).map_err(failed)?
        };
        let pin = AuthPin::from(self.pin.reveal().to_owned());
        // Nobody else is logged in, so this is judged by the PIN: it is never taken for somebody who was here before.
        session.login(UserType::User, Some(&pin)).map_err(failed)?;
        let done = act(self, &session);
        let left = session.logout();
        drop(session);
        left.map_err(failed)?;
        done
    }

    /// The key, which is there once.
    fn key(&self, session: &Session) -> Result<ObjectHandle, KmsError> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(self.key.as_bytes().to_vec()),
        ];
        let found = session.find_objects(&template).map_err(|e| self.refusal(e, "find"))?;
        match found[..] {
            [key] => Ok(key),
            [] => Err(KmsError::NoSuchKey { key: self.name() }),
            _ => Err(KmsError::Configuration(format!(
                "the token {} has several keys named {}",
                self.token, self.key
            ))),
        }
    }

    fn refusal(&self, error: Error, act: &'static str) -> KmsError {
        let key = self.name();
        let Error::Pkcs11(said, _) = &error else { return KmsError::Away(Box::new(error)) };
        match said {
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
                KmsError::Credentials { why: "the PIN is wrong" }
            }
            RvError::PinExpired => KmsError::Credentials { why: "the PIN has expired" },
            RvError::PinLocked => {
                KmsError::Credentials { why: "the PIN is locked after too many wrong ones" }
            }
            RvError::UserPinNotInitialized => {
                KmsError::Credentials { why: "the token has no PIN yet" }
            }
            RvError::TokenNotPresent | RvError::TokenNotRecognized | RvError::SlotIdInvalid => {
                KmsError::NoSuchKey { key }
            }
            RvError::KeyFunctionNotPermitted | RvError::ActionProhibited => {
                KmsError::Denied { key, act }
            }
            RvError::KeyTypeInconsistent
            | RvError::MechanismInvalid
            | RvError::MechanismParamInvalid => KmsError::Misuse { key },
            // A wrong tag has no word of its own in 2.40, and SoftHSM answers with the most general one.
            RvError::EncryptedDataInvalid
            | RvError::EncryptedDataLenRange
            | RvError::GeneralError
                if act == "decrypt" =>
            {
                KmsError::DoesNotOpen { key }
            }
            _ => KmsError::Away(Box::new(error)),
        }
    }

    fn data(place: &str) -> [Attribute; 2] {
        [Attribute::Class(ObjectClass::DATA), Attribute::Label(place.as_bytes().to_vec())]
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || " -_.".contains(c)
}

#[async_trait::async_trait]
impl CustomerKey for Token {
    fn provider(&self) -> Provider {
        Provider::Pkcs11
    }

    async fn wrap(&self, of: &KeyContext, key: &OrganizationKey) -> Result<WrappedKey, KmsError> {
        let (context, text) = (of.bytes(), Zeroizing::new(key.expose().to_vec()));
        let blob = self.act(false, move |this, session| {
            let mut nonce = [0; NONCE_BYTES];
            fill_random(&mut nonce).map_err(|e| KmsError::Away(Box::new(e)))?;
            let mut blob = nonce.to_vec();
            let failed = |e| this.refusal(e, "encrypt");
            let by = GcmParams::new(&mut nonce, &context, TAG_BITS.into()).map_err(failed)?;
            let under = this.key(session)?;
            blob.extend(session.encrypt(&Mechanism::AesGcm(by), under, &text).map_err(failed)?);
            Ok(blob)
        });
        Ok(WrappedKey {
            provider: Provider::Pkcs11,
            key: self.name(),
            algorithm: ALGORITHM.to_owned(),
            blob: api::Bytes(blob.await?),
        })
    }

    async fn unwrap(
        &self,
        of: &KeyContext,
        wrapped: &WrappedKey,
    ) -> Result<OrganizationKey, KmsError> {
        if wrapped.provider != Provider::Pkcs11 {
            return Err(KmsError::OtherProvider { provider: wrapped.provider });
        }
        let closed = || KmsError::DoesNotOpen { key: wrapped.key.clone() };
        let (mut nonce, body) = match wrapped.blob.0.split_first_chunk::<NONCE_BYTES>() {
            Some((nonce, body)) if wrapped.key == self.name() => (*nonce, body.to_vec()),
            _ => return Err(closed()),
        };
        let context = of.bytes();
        let text = self.act(false, move |this, session| {
            let failed = |e| this.refusal(e, "decrypt");
            let under = this.key(session)?;
            let by = GcmParams::new(&mut nonce, &context, TAG_BITS.into()).map_err(failed)?;
            let text = session.decrypt(&Mechanism::AesGcm(by), under, &body).map_err(failed)?;
            Ok(Zeroizing::new(text))
        });
        OrganizationKey::from_slice(&text.await?).ok_or_else(closed)
    }

    async fn describe(&self) -> Result<KeyDescription, KmsError> {
        self.act(false, |this, session| this.key(session).map(drop)).await?;
        Ok(KeyDescription {
            key: self.name(),
            state: KeyState::Enabled,
            deleted_on: None,
            purgeable: false,
        })
    }

    async fn keep_secret(&self, name: &str, secret: &Secret) -> Result<String, KmsError> {
        let place = format!("chorion-{name}");
        let (label, value) = (place.clone(), secret.clone());
        self.act(true, move |this, session| {
            let [class, label] = Self::data(&label);
            let template = [
                class,
                label,
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Value(value.reveal().as_bytes().to_vec()),
            ];
            session.create_object(&template).map(drop).map_err(|e| this.refusal(e, "keep secrets"))
        })
        .await?;
        Ok(place)
    }

    async fn secret(&self, place: &str) -> Result<Secret, KmsError> {
        let place = place.to_owned();
        self.act(false, move |this, session| {
            // Taking the key away takes the secrets with it, as a cloud's policy would.
            this.key(session)?;
            let failed = |e| this.refusal(e, "read secrets");
            let found = session.find_objects(&Self::data(&place)).map_err(failed)?;
            let object = found.first().ok_or(KmsError::NoSuchKey { key: place })?;
            let values =
                session.get_attributes(*object, &[AttributeType::Value]).map_err(failed)?;
            for value in values {
                if let Attribute::Value(bytes) = value {
                    let text =
                        String::from_utf8(bytes).map_err(|_| odd("its secret is no text"))?;
                    return Ok(Secret::new(text.into()));
                }
            }
            Err(odd("its secret has no value"))
        })
        .await
    }

    async fn drop_secret(&self, place: &str) -> Result<(), KmsError> {
        let place = place.to_owned();
        self.act(true, move |this, session| {
            let failed = |e| this.refusal(e, "delete secrets");
            for object in session.find_objects(&Self::data(&place)).map_err(failed)? {
                session.destroy_object(object).map_err(failed)?;
            }
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::conformance::{conforms, context, keeps_secrets};
    use super::super::states::{said_of, word};
    use super::*;

    const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
    const CONF: &str = "SOFTHSM2_CONF";

    fn pin(text: &str) -> Secret {
        Secret::new(text.to_owned().into())
    }

    fn held(key: &str, given: &str) -> Token {
        Token::new(Path::new(MODULE), "clinic", key, pin(given)).unwrap()
    }

    /// A token of `SoftHSM`'s in a directory of its own. The module reads where it is from its environment when it is loaded, so
    /// the test runs once more, as a program that has that environment.
    fn with_token(test: &str) -> bool {
        if std::env::var_os(CONF).is_some() {
            return true;
        }
        if !Path::new(MODULE).exists() {
            println!("skipped: not here: {MODULE} (apt install softhsm2)");
            return false;
        }
        let folder = tempfile::tempdir().unwrap();
        let (conf, tokens) = (folder.path().join("softhsm2.conf"), folder.path().join("tokens"));
        std::fs::create_dir(&tokens).unwrap();
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        std::fs::write(&conf, text).unwrap();
        for label in ["clinic", "other"] {
            let made = Command::new("softhsm2-util")
                .args(["--init-token", "--free", "--label", label, "--pin", "4711"])
                .args(["--so-pin", "0815"])
                .env(CONF, &conf)
                .output()
                .unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        let path = format!("kms::pkcs11::tests::{test}");
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &path, "--nocapture"])
            .env(CONF, &conf)
            .status()
            .unwrap();
        assert!(again.success());
        false
    }

    /// A key that cannot leave its token.
    async fn make_key(label: &'static str) {
        held(label, "4711")
            .act(true, move |_, session| {
                let template = [
                    Attribute::Token(true),
                    Attribute::Private(true),
                    Attribute::Sensitive(true),
                    Attribute::Extractable(false),
                    Attribute::Encrypt(true),
                    Attribute::Decrypt(true),
                    Attribute::ValueLen(32.into()),
                    Attribute::Label(label.as_bytes().to_vec()),
                ];
                session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
                Ok(())
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_token_conforms_and_opens_for_its_own_pin_alone() {
        if !with_token("a_token_conforms_and_opens_for_its_own_pin_alone") {
            return;
        }
        make_key("customer").await;
        let token = held("customer", "4711");
        conforms(&token).await;
        keeps_secrets(&token).await;

        let key = OrganizationKey::generate().unwrap();
        let of = context();
        let wrapped = token.wrap(&of, &key).await.unwrap();
        let refused = held("customer", "0000").unwrap(&context(), &wrapped).await.unwrap_err();
        assert!(matches!(refused, KmsError::Credentials { .. }), "{refused:?}");
        assert_eq!(refused.trouble(), Some(api::KeyTrouble::Credentials));
        // A wrong PIN while others use the token with the right one, and the other way round.
        let (right, wrong) = (held("customer", "4711"), held("customer", "0000"));
        let (one, two) = tokio::join!(right.describe(), wrong.describe());
        assert!(one.is_ok() && two.is_err());
        for gone in [
            held("another", "4711"),
            Token::new(Path::new(MODULE), "other", "customer", pin("4711")).unwrap(),
            Token::new(Path::new(MODULE), "nobody", "customer", pin("4711")).unwrap(),
        ] {
            let refused = gone.describe().await.unwrap_err();
            assert!(matches!(refused, KmsError::NoSuchKey { .. }), "{refused:?}");
        }
        // The cells of the page (`states`).
        for (case, said) in said_of("PKCS #11") {
            let word = match &*case {
                "the secret is wrong" => word(&held("customer", "0000"), &of, &wrapped).await,
                "it is purged" => {
                    let gone = held("another", "4711");
                    let wrapped = WrappedKey { key: gone.name(), ..wrapped.clone() };
                    word(&gone, &of, &wrapped).await
                }
                _ => "–".to_owned(),
            };
            assert_eq!(word, said, "{case}");
        }
        let nowhere = Path::new("/nowhere/module.so");
        let refused = Token::new(nowhere, "clinic", "customer", pin("4711")).unwrap();
        let refused = refused.describe().await.unwrap_err();
        assert!(matches!(refused, KmsError::Configuration(_)), "{refused:?}");
        assert!(!format!("{token:?}").contains("4711"));
    }
}
