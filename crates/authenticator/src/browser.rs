//! The page's side, in WASM: keys stay in here, and what goes in and out is text (JSON of `api`'s types) and bytes.
//!
//! The page fetches, keeps and draws. It has no key: a call is signed by a key of the browser's own that cannot be exported, so that
//! the list of what waits is there while words are locked; everything else is signed here, by a [`Person`] whom a passphrase unlocked.
//! Whatever is approved asks for the passphrase once more ([`Person::give`], [`Person::sign_draft`]).

mod acts;
mod files;
mod keys;
mod messages;
mod public;

use std::collections::BTreeMap;

use api::{
    AccountId, ApprovalDetail, ApprovalId, Bytes, CreateProject, Custodian, DatasetId, Digest,
    OwnerKey, ProjectId, PutCard, Release, Sealed, SignedStatement, Time,
};
use data_encoding::HEXLOWER;
use dataset::OpenDataset;
use identity::{Heap, Identity, IdentityFile, Words, WordsError};
use proof::{Act, Approval, OwnerCard, ProjectCard, PublicKey, phrase};
use seal::passphrase::Cost;
use seal::recipient::RecipientKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use self::keys::DeviceKeys;
use crate::judge::{Given, Judged, Judging};
use crate::{
    Device, Drawn, Moment, NewGrant, OwnPolicy, Refusal, Seen, add_device, checkpoint_digest,
    revoke_device,
};

/// What OWASP's Password Storage Cheat Sheet asks of Argon2id at 2 passes.
const LEAST_MEMORY_KIB: u32 = 19 * 1024;

type Told<T> = Result<T, JsError>;

/// An error as the page shows it: the sentence and its causes, and on a second line what to do.
fn told(error: impl std::error::Error) -> JsError {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        said.push_str(": ");
        said.push_str(&next.to_string());
        cause = next.source();
    }
    JsError::new(&said)
}

fn refused(refusal: Refusal) -> JsError {
    let hint = refusal.hint().map(|hint| format!("\n{hint}")).unwrap_or_default();
    let mut said = refusal.to_string();
    if let Some(cause) = std::error::Error::source(&refusal) {
        said.push_str(": ");
        said.push_str(&cause.to_string());
    }
    JsError::new(&format!("{said}{hint}"))
}

fn plain(sentence: impl std::fmt::Display) -> JsError {
    JsError::new(&sentence.to_string())
}

/// What the hub or the page's memory holds. A field that is not known is an error: what is not understood is not signed.
fn read<T: DeserializeOwned>(what: &str, text: &str) -> Told<T> {
    serde_json::from_str(text).map_err(|e| plain(format!("{what} does not read: {e}")))
}

fn moment(text: &str) -> Told<Time> {
    text.parse().map_err(|e| plain(format!("the clock does not read: {e}")))
}

fn id<T: std::str::FromStr<Err: std::error::Error>>(text: &str) -> Told<T> {
    text.parse().map_err(told)
}

fn public_key(hex: &str) -> Told<PublicKey> {
    let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap_or_default();
    PublicKey::from_bytes(&bytes)
        .map_err(|_| plain(format!("`{hex}` is no key: 64 hexadecimal digits")))
}

/// A person, unlocked.
#[wasm_bindgen]
pub struct Person {
    identity: Identity,
    device: Option<DeviceKeys>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Person(..)")
    }
}

/// A request that was judged; or what is lacking to judge it.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Verdict {
    judged: Option<Judged>,
    shown: String,
    contents: String,
}

#[wasm_bindgen]
impl Verdict {
    /// `{"needs": …}`, or what a person is shown.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn shown(&self) -> String {
        self.shown.clone()
    }

    /// Which contents were seen, to be remembered: a list of dataset and [`Seen`].
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn contents(&self) -> String {
        self.contents.clone()
    }
}

/// An approval that the person would give unasked.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Draft {
    drawn: Drawn,
    card: OwnerCard,
    /// The card that comes into force by it, and to whom everything is wrapped, where it hands a project over.
    next: Option<(SignedStatement, RecipientKey)>,
}

#[wasm_bindgen]
impl Draft {
    /// The sentences of it, and its digest.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn shown(&self) -> String {
        let Drawn { approval, sentences } = &self.drawn;
        json!({ "sentences": sentences, "digest": approval.digest(), "phrase": approval.phrase() })
            .to_string()
    }

    /// The next card as the owner of before signs it, where there is one.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn next_card(&self) -> String {
        self.next.as_ref().map(|(card, _)| json!(card).to_string()).unwrap_or_default()
    }

    /// The key, `chorion1…`, that everything is wrapped to then.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn next_key(&self) -> String {
        self.next.as_ref().map(|(_, to)| to.to_string()).unwrap_or_default()
    }
}

/// What the page hands in with a request: the hub's answer, and what the device saw before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    id: ApprovalId,
    hub: String,
    now: Time,
    grant: Option<Digest>,
    checkpoint: Option<String>,
    /// The text of the policy by which reports of vaults are appraised.
    policy: Option<String>,
    detail: ApprovalDetail,
    card: Option<SignedStatement>,
    contents: BTreeMap<DatasetId, Seen>,
    cards: BTreeMap<ProjectId, SignedStatement>,
    opened: Vec<Release>,
}

/// What an act of the person's own needs besides.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    hub: String,
    now: Time,
    project: ProjectId,
    card: SignedStatement,
    seen: Option<SignedStatement>,
    requester: AccountId,
    checkpoint: Option<String>,
    purpose: String,
}

#[wasm_bindgen]
impl Person {
    /// Somebody new: twelve words from the browser's generator.
    ///
    /// # Errors
    /// The browser gives no randomness.
    pub fn draw() -> Told<Person> {
        Self::of(Words::generate(&Heap).map_err(told)?, "")
    }

    /// Somebody who has words.
    ///
    /// # Errors
    /// They are not the words of anybody.
    pub fn restore(words: &str, words_passphrase: &str) -> Told<Person> {
        Self::of(Words::parse(words, &Heap).map_err(told)?, words_passphrase)
    }

    fn of(words: Words, passphrase: &str) -> Told<Self> {
        let identity = Identity::from_words(words, passphrase, &Heap).map_err(told)?;
        Ok(Self { identity, device: None })
    }

    /// The twelve words, for the one page that shows them.
    #[must_use]
    pub fn words(&self) -> String {
        self.identity.words().expose_text().to_string()
    }

    /// Which words differ from those that were typed, counted from 1; nothing if they are the same.
    #[must_use]
    pub fn wrong(&self, typed: &str) -> Vec<u32> {
        let text = self.identity.words().expose_text();
        let mut typed = typed.split_whitespace().map(str::to_lowercase);
        let mut wrong = Vec::new();
        for (place, word) in (1..).zip(text.split(' ')) {
            if typed.next().as_deref() != Some(word) {
                wrong.push(place);
            }
        }
        wrong
    }

    /// The identity file: the words under a passphrase, as the command line reads it too. `memory_kib` and `passes` are what a try of
    /// the passphrase costs: those of the standard, or fewer where the device is slow, and never fewer than 19 MiB and 2.
    ///
    /// # Errors
    /// The cost is less than that, or the browser gives no randomness.
    pub fn lock(&self, passphrase: &str, memory_kib: u32, passes: u32) -> Told<String> {
        if memory_kib < LEAST_MEMORY_KIB || passes < 2 {
            return Err(plain("a passphrase that costs so little protects nothing"));
        }
        let cost = Cost { memory_kib, passes, lanes: Cost::STANDARD.lanes };
        let file = IdentityFile::write(&self.identity, passphrase.as_bytes(), cost);
        file.map(|text| text.to_string()).map_err(told)
    }

    /// Draws this device's own keys, and gives them as they are kept: sealed to the words.
    ///
    /// # Errors
    /// The browser gives no randomness.
    pub fn new_device(&mut self) -> Told<String> {
        let (keys, kept) = DeviceKeys::draw(&self.identity)?;
        self.device = Some(keys);
        Ok(kept)
    }

    /// The person behind an identity file, at the device whose keys are kept beside it.
    ///
    /// # Errors
    /// The passphrase is another, or the keys are not of these words.
    pub fn unlock(
        identity: &str,
        device: &str,
        passphrase: &str,
        words_passphrase: &str,
    ) -> Told<Person> {
        let identity = opened(identity, passphrase, words_passphrase)?;
        let device = Some(DeviceKeys::read(&identity, device)?);
        Ok(Self { identity, device })
    }

    fn keys(&self) -> Told<&DeviceKeys> {
        self.device.as_ref().ok_or_else(|| plain("this device has no keys yet"))
    }

    /// This device's approval key, hexadecimal: what a card certifies.
    ///
    /// # Errors
    /// The device has no keys yet.
    pub fn approval_key(&self) -> Told<String> {
        Ok(HEXLOWER.encode(&self.keys()?.approval.public().to_bytes()))
    }

    /// The X-Wing key that the hub releases dataset keys of other custody to, in base64.
    ///
    /// # Errors
    /// The device has no keys yet.
    pub fn recipient(&self) -> Told<String> {
        Ok(json!(Bytes(self.keys()?.recipient.public().to_bytes()))
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// Judges a request.
    ///
    /// # Errors
    /// It does not hold, or holds something that is not understood here.
    pub fn judge(&self, request: &str) -> Told<Verdict> {
        let asked: Request = read("the request", request)?;
        let keys = self.keys()?;
        let opened = asked.opened.iter().map(|r| OpenDataset::from_release(r, &keys.recipient));
        let policy = asked.policy.as_deref().map(|text| OwnPolicy::parse(text.as_bytes()));
        let given = Given {
            grant: asked.grant,
            policy: policy.transpose().map_err(told)?,
            checkpoint: digest_of_note(asked.checkpoint.as_deref())?,
            card: asked.card,
            contents: asked.contents,
            cards: asked.cards,
            opened: opened.collect::<Result<_, _>>().map_err(told)?,
            ..Given::new(asked.now, proof::APPROVAL_SECONDS)
        };
        let device = self.at(&asked.hub)?;
        Ok(match device.judge(asked.id, &asked.detail, &given).map_err(refused)? {
            Judging::Needs(need) => Verdict {
                judged: None,
                shown: json!({ "needs": need }).to_string(),
                contents: "[]".to_owned(),
            },
            Judging::Holds(judged) => Verdict {
                shown: json!(judged.shown().map_err(refused)?).to_string(),
                contents: json!(judged.contents).to_string(),
                judged: Some(*judged),
            },
        })
    }

    /// Signs what was judged, and seals the keys that it lists to the vault; the passphrase says that the person is still there.
    ///
    /// # Errors
    /// The passphrase is another, or the approval counts no longer.
    pub fn give(
        &self,
        verdict: &Verdict,
        identity: &str,
        passphrase: &str,
        now: &str,
    ) -> Told<String> {
        let judged = verdict.judged.as_ref().ok_or_else(|| plain("nothing was judged yet"))?;
        self.still_there(identity, passphrase)?;
        let device = self.at(&judged.approval.hub)?;
        let given = device.give(judged, moment(now)?).map_err(refused)?;
        Ok(json!(given).to_string())
    }

    /// Signs what a standing grant covers, without anybody being there. `used` counts what it was used for before.
    ///
    /// # Errors
    /// The grant does not cover the request.
    pub fn carry_out(&self, verdict: &Verdict, grant: &str, used: u32, now: &str) -> Told<String> {
        let judged = verdict.judged.as_ref().ok_or_else(|| plain("nothing was judged yet"))?;
        let signed: SignedStatement = read("the grant", grant)?;
        let (granted, signer) = proof::open_statement::<Approval>(&signed).map_err(told)?;
        let now = moment(now)?;
        let not = || plain("no standing grant covers this request");
        let Act::StandingGrant(terms) = &granted.act else { return Err(not()) };
        let own = self.keys()?.approval.public();
        let ours = signer == own && terms.device.0 == own.to_bytes();
        if !ours
            || granted.card != judged.card.digest()
            || !crate::covers(terms, granted.digest(), judged, used, now)
        {
            return Err(not());
        }
        let given = self.at(&judged.approval.hub)?.give(judged, now).map_err(refused)?;
        Ok(json!(given).to_string())
    }

    fn at<'a>(&'a self, hub: &'a str) -> Told<Device<'a>> {
        Ok(Device { person: &self.identity, approval_key: &self.keys()?.approval, hub })
    }

    /// Whoever sits here knows the passphrase of these very words.
    fn still_there(&self, identity: &str, passphrase: &str) -> Told<()> {
        let file = IdentityFile::read(identity).map_err(told)?;
        let opened = file.unlock(passphrase.as_bytes(), &Heap).map_err(told)?;
        if opened.holds(self.identity.words()) {
            Ok(())
        } else {
            Err(plain("the identity that is kept here is another than the one that is unlocked"))
        }
    }

    /// This person's card of a project, verified: what it says, and its six words.
    ///
    /// # Errors
    /// It is not, or it is older than what was seen.
    pub fn card(&self, hub: &str, project: &str, signed: &str, seen: &str) -> Told<String> {
        let signed: SignedStatement = read("the card", signed)?;
        let seen: Option<SignedStatement> = read("the card that was seen", seen)?;
        let card = self.at(hub)?.card(id(project)?, &signed, seen.as_ref()).map_err(refused)?;
        let (digest, phrase) = ProjectCard::fingerprint(&signed);
        let here = card.device(&self.keys()?.approval.public()).is_some();
        let devices: Vec<Value> = card
            .devices
            .iter()
            .map(|device| json!({ "key": HEXLOWER.encode(&device.key.0), "since": device.since }))
            .collect();
        Ok(json!({
            "number": card.number, "test": card.test, "devices": devices, "digest": digest,
            "phrase": phrase, "certified": here, "writers": card.writers.len(),
            "second_signer": card.second_signer,
        })
        .to_string())
    }

    /// A new project of these words: what is sent to the hub. `writers` are the keys, hexadecimal, that may add data.
    ///
    /// # Errors
    /// A writer is no key, or stands in two roles.
    pub fn create_project(
        &self,
        hub: &str,
        name: &str,
        test: bool,
        writers: Vec<String>,
        now: &str,
    ) -> Told<String> {
        let project = ProjectId::generate();
        let writers = writers.iter().map(|hex| public_key(hex)).collect::<Told<Vec<_>>>()?;
        let now = moment(now)?;
        let card = self.at(hub)?.first_card(project, test, None, &writers, now).map_err(refused)?;
        // The project is its own dataset here: its key seals its name and nothing else.
        let own = DatasetId::from_bytes(project.to_bytes());
        let open = OpenDataset::create(own, project, Digest([0; 32])).map_err(told)?;
        let to = self.identity.sealing().public().to_bytes();
        let create = CreateProject {
            id: project,
            custodian: Custodian::Owner,
            wrapped_key: open.wrap_to(&to).map_err(told)?,
            label: open.seal_label("project name", name.as_bytes()).map_err(told)?,
            card: Some(card),
            organization: None,
        };
        Ok(json!(create).to_string())
    }

    /// The next card, with another device (`add`), or without it, as it is sent to the hub; empty if nothing changes.
    ///
    /// # Errors
    /// The passphrase is another, the card is not this person's, or the key has another role in it.
    pub fn change_device(
        &self,
        own: &str,
        key: &str,
        add: bool,
        identity: &str,
        passphrase: &str,
    ) -> Told<String> {
        let own: Own = read("the card", own)?;
        self.still_there(identity, passphrase)?;
        let device = self.at(&own.hub)?;
        let card = device.card(own.project, &own.card, own.seen.as_ref()).map_err(refused)?;
        let key = public_key(key)?;
        let next = if add {
            add_device(&device, &own.card, &card, &key, own.now)
        } else {
            revoke_device(&device, &own.card, &card, &key)
        };
        let next = next.map_err(refused)?;
        let put = |card| json!(PutCard { card, approval: None }).to_string();
        Ok(next.map(put).unwrap_or_default())
    }

    /// Whoever sits here knows the passphrase: asked before a message is signed.
    ///
    /// # Errors
    /// The passphrase is another.
    pub fn confirm(&self, identity: &str, passphrase: &str) -> Told<()> {
        self.still_there(identity, passphrase)
    }

    /// A standing grant for one app, as it would be signed.
    ///
    /// # Errors
    /// No grant can be made in that project.
    pub fn draw_grant(&self, own: &str, app: &str, uses: u32, days: u32) -> Told<Draft> {
        let own: Own = read("the card", own)?;
        let app: Digest = read("the digest of the app", &json!(app).to_string())?;
        let terms = NewGrant { app, uses, days: days.into() };
        self.draft(&own, |device, card| device.grant(card, &terms, own.now).map_err(refused))
    }

    /// The approval that makes what a vault wrote one's own, as it would be signed.
    ///
    /// # Errors
    /// The receipt is not of the vault that wrote it.
    pub fn draw_accept(
        &self,
        own: &str,
        dataset: &str,
        manifest: &str,
        receipt: &str,
    ) -> Told<Draft> {
        let own: Own = read("the card", own)?;
        let manifest = read("the manifest", manifest)?;
        let receipt = read("the receipt", receipt)?;
        let dataset = id(dataset)?;
        self.draft(&own, |_, _| crate::accepts(dataset, &manifest, &receipt).map_err(plain))
    }

    fn draft(
        &self,
        own: &Own,
        act: impl FnOnce(&Device<'_>, &OwnerCard) -> Told<Act>,
    ) -> Told<Draft> {
        let device = self.at(&own.hub)?;
        let card = device.card(own.project, &own.card, own.seen.as_ref()).map_err(refused)?;
        let at = Moment {
            requester: own.requester,
            now: own.now,
            checkpoint: digest_of_note(own.checkpoint.as_deref())?,
        };
        let act = act(&device, &card)?;
        let drawn = device.draw(&card, act, &own.purpose, at).map_err(refused)?;
        Ok(Draft { drawn, card, next: None })
    }

    /// Signs a draft.
    ///
    /// # Errors
    /// The passphrase is another.
    pub fn sign_draft(&self, draft: &Draft, identity: &str, passphrase: &str) -> Told<String> {
        self.still_there(identity, passphrase)?;
        let approval = &draft.drawn.approval;
        let signed = self.at(&approval.hub)?.sign(&draft.card, approval).map_err(refused)?;
        Ok(json!(signed).to_string())
    }

    /// A name that is sealed under a key of this person's: of a `project` or a `dataset`.
    ///
    /// # Errors
    /// It is another's.
    pub fn open_name(&self, key: &str, label: &str, what: &str) -> Told<String> {
        let key: OwnerKey = read("the key", key)?;
        let label: Sealed = read("the name", label)?;
        let purpose = if what == "project" { "project name" } else { "dataset name" };
        let open = OpenDataset::from_release(&key.release, &self.identity.sealing());
        let name = open.map_err(told)?.open_label(purpose, &label).map_err(told)?;
        Ok(String::from_utf8_lossy(&name).into_owned())
    }
}

fn digest_of_note(note: Option<&str>) -> Told<Option<Digest>> {
    note.map(checkpoint_digest).transpose().map_err(told)
}

fn opened(identity: &str, passphrase: &str, words_passphrase: &str) -> Told<Identity> {
    let file = IdentityFile::read(identity).map_err(told)?;
    let opened = file.unlock(passphrase.as_bytes(), &Heap).map_err(told)?;
    opened.person(words_passphrase, &Heap).map_err(told)
}

/// Says what is wrong with typed words: `[]` if nothing, else for each word its place and the words of the list that are near.
///
/// # Errors
/// Another number of words, or a checksum that does not match.
#[wasm_bindgen]
pub fn check_words(typed: &str) -> Told<String> {
    match Words::parse(typed, &Heap) {
        Ok(_) => Ok("[]".to_owned()),
        Err(WordsError::NotInTheList { places }) => {
            let words: Vec<&str> = typed.split_whitespace().collect();
            let near: Vec<Value> = places
                .iter()
                .filter_map(|place| Some((place, words.get(place - 1)?)))
                .map(|(place, word)| json!({ "place": place, "near": identity::nearest(word) }))
                .collect();
            Ok(json!(near).to_string())
        }
        Err(other) => Err(told(other)),
    }
}

/// A card of somebody else's project, or of another custodian's: its six words, and whether it follows the one that was compared.
///
/// # Errors
/// It is no card of that project, or may not follow.
#[wasm_bindgen]
pub fn compare_card(project: &str, signed: &str, seen: &str) -> Told<String> {
    let project = id(project)?;
    let signed: SignedStatement = read("the card", signed)?;
    let seen: Option<SignedStatement> = read("the card that was seen", seen)?;
    let (card, signer) = ProjectCard::open(&signed, project).map_err(told)?;
    if let Some(seen) = &seen {
        let (seen, before) = ProjectCard::open(seen, project).map_err(told)?;
        card.may_follow(&seen).map_err(told)?;
        if before != signer {
            return Err(plain("the card is signed by another key than the one that was compared"));
        }
    }
    let (_, phrase) = ProjectCard::fingerprint(&signed);
    let custodian = card.custodian();
    Ok(json!({ "phrase": phrase, "custodian": custodian, "seen": seen.is_some() }).to_string())
}

/// The digest of a policy by which reports of vaults are appraised, hexadecimal, as approvals of a start name it.
///
/// # Errors
/// It is no policy.
#[wasm_bindgen]
pub fn check_policy(text: &str) -> Told<String> {
    let policy = OwnPolicy::parse(text.as_bytes()).map_err(told)?;
    Ok(HEXLOWER.encode(&policy.digest().0))
}

/// Six words of a digest in hexadecimal digits.
///
/// # Errors
/// It is none.
#[wasm_bindgen]
pub fn six_words(digest: &str) -> Told<String> {
    Ok(phrase(&read("the digest", &json!(digest).to_string())?))
}
