//! What needs no words: signed calls, the log, receipts, evidence.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    Dataset, DatasetId, Digest, Event, LogState, ProjectId, SignedApproval, SignedStatement,
};
use attest::{Endorsement, Policy, appraise as judge_evidence};
use data_encoding::BASE64;
use proof::log::TilePath;
use proof::{
    Approval, Call, OwnerCard, ProjectCard, PublicKey, UnsignedCall, content_digest_of,
    open_statement,
};
use serde::Deserialize;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use super::{Told, moment, plain, read, told};
use crate::holdings::{Compared, Holdings, Holds, Look};
use crate::log::{LogStep, SeenLog, receipt_of, verify_events, verify_log};

/// A call that a key of the browser's own is about to sign.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Signing {
    call: UnsignedCall,
    digest: String,
}

#[wasm_bindgen]
impl Signing {
    /// A call by the SHA-256 of its body; `created` in Unix seconds, `public` the 32 bytes of the key that will sign, `headers` name and
    /// value in turn of the headers that are covered besides, in the order of their names.
    ///
    /// # Errors
    /// The key is none, or the digest has not 32 bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(
        method: &str,
        target_uri: &str,
        sha256: &[u8],
        public: &[u8],
        created: f64,
        nonce: &str,
        headers: Vec<String>,
    ) -> Told<Signing> {
        let key = PublicKey::from_bytes(public).map_err(told)?;
        let sha256 = sha256.try_into().map_err(|_| plain("a SHA-256 has 32 bytes"))?;
        let digest = content_digest_of(&Digest(sha256));
        let headers: Vec<(&str, &str)> =
            headers.chunks_exact(2).map(|both| (both[0].as_str(), both[1].as_str())).collect();
        let call = Call { method, target_uri, content_digest: &digest, headers: &headers };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "seconds of a clock are far below 2^53"
        )]
        let call = call.unsigned(key.id(), created as i64, nonce);
        Ok(Self { call, digest })
    }

    /// What the key signs.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn base(&self) -> String {
        self.call.base.clone()
    }

    /// The header `Content-Digest`.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn content_digest(&self) -> String {
        self.digest.clone()
    }

    /// The headers `Signature-Input` and `Signature`.
    ///
    /// # Errors
    /// A signature has 64 bytes.
    pub fn headers(&self, signature: &[u8]) -> Told<Vec<String>> {
        let signature = signature.try_into().map_err(|_| plain("a signature has 64 bytes"))?;
        let signed = self.call.signed(signature);
        Ok(vec![signed.signature_input, signed.signature])
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSeen {
    hub: String,
    state: LogState,
    before: Option<SeenLog>,
    /// Checkpoints that receipts name.
    receipts: Vec<String>,
    /// Path and bytes, in base64.
    tiles: Vec<(String, String)>,
}

fn tiles_of(tiles: &[(String, String)]) -> Told<Vec<(TilePath, Vec<u8>)>> {
    let tile = |(path, bytes): &(String, String)| {
        let bytes = BASE64.decode(bytes.as_bytes()).map_err(|_| plain("a tile does not read"))?;
        Ok((path.parse::<TilePath>().map_err(told)?, bytes))
    };
    tiles.iter().map(tile).collect()
}

/// Verifies the log of a hub: `{"needs": [paths]}`, or what holds and is to be remembered.
///
/// # Errors
/// It does not continue what was seen: an alarm.
#[wasm_bindgen]
pub fn check_log(seen: &str) -> Told<String> {
    let seen: LogSeen = read("the log", seen)?;
    let tiles = tiles_of(&seen.tiles)?;
    let receipts: Vec<&str> = seen.receipts.iter().map(String::as_str).collect();
    let step = verify_log(&seen.hub, &seen.state, seen.before.as_ref(), &receipts, &tiles);
    Ok(match step.map_err(told)? {
        LogStep::Needs(paths) => {
            let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
            json!({ "needs": paths }).to_string()
        }
        LogStep::Holds(log) => json!(log).to_string(),
    })
}

/// What a receipt says, if it is that of the approval.
///
/// # Errors
/// What does not fit.
#[wasm_bindgen]
pub fn check_receipt(approval: &str, receipt: &str) -> Told<String> {
    let approval: SignedStatement = read("the approval", approval)?;
    let receipt: SignedStatement = read("the receipt", receipt)?;
    Ok(json!(receipt_of(&approval, &receipt).map_err(plain)?).to_string())
}

/// Six words of an approval that counts: signed by a device of the card, at this time.
///
/// # Errors
/// Why it does not count.
#[wasm_bindgen]
pub fn open_approval(approval: &str, card: &str, now: &str) -> Told<String> {
    let approval: SignedApproval = read("the approval", approval)?;
    let card: SignedStatement = read("the card", card)?;
    let project = open_statement::<OwnerCard>(&card).map_err(told)?.0.project;
    let (card, _) = ProjectCard::open(&card, project).map_err(told)?;
    let ProjectCard::Owner(card) = card else { return Err(plain("a hub's card")) };
    let verified = Approval::open(&approval, &card).map_err(told)?;
    verified.in_force(moment(now)?).map_err(told)?;
    Ok(verified.approval().phrase())
}

/// Appraises evidence of an AMD SEV-SNP guest. `endorsements` is a list of name and DER in base64, `policy` the text of one or nothing.
///
/// # Errors
/// The policy or an endorsement does not read.
#[wasm_bindgen]
pub fn appraise(report: &[u8], endorsements: &str, policy: &str, at: &str) -> Told<String> {
    let files: Vec<(String, String)> = read("the certificates", endorsements)?;
    let files = files.iter().map(|(name, der)| {
        let der = BASE64.decode(der.as_bytes());
        Ok((name.as_str(), der.map_err(|_| plain(format!("{name} does not read")))?))
    });
    let files = files.collect::<Told<Vec<_>>>()?;
    let endorsements: Vec<Endorsement<'_>> =
        files.iter().map(|(name, der)| Endorsement { name, der }).collect();
    let policy = if policy.is_empty() {
        Policy::default()
    } else {
        Policy::parse(policy.as_bytes()).map_err(told)?
    };
    let judged = judge_evidence(report, &endorsements, &policy, moment(at)?);
    let judged: Value = serde_json::to_value(&judged).map_err(told)?;
    Ok(judged.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldingsSeen {
    hub: String,
    /// The log, verified up to its newest checkpoint.
    log: SeenLog,
    /// The owner's pseudonym in it.
    you: Digest,
    /// The projects that are listed as the owner's own.
    projects: BTreeSet<ProjectId>,
    /// What is listed in them, from before the events were fetched.
    listed: Vec<Dataset>,
    events: Vec<Event>,
    /// Path and bytes, in base64.
    tiles: Vec<(String, String)>,
    before: Option<Holdings>,
    /// Manifests that were asked for; nothing where the hub has none.
    contents: BTreeMap<DatasetId, Option<SignedStatement>>,
}

/// Compares what the owner's projects hold with what the log tells and with what is remembered.
///
/// `{"tiles": [paths]}` and `{"contents": [ids]}` ask for more; else it says what is to be remembered, the alarms, and how many datasets
/// hold and are unknown.
///
/// # Errors
/// An event is not in the log: an alarm.
#[wasm_bindgen]
pub fn check_holdings(seen: &str) -> Told<String> {
    let seen: HoldingsSeen = read("what the hub lists", seen)?;
    let tiles = tiles_of(&seen.tiles)?;
    let lacking = verify_events(&seen.hub, &seen.log, &seen.events, &tiles).map_err(told)?;
    if !lacking.is_empty() {
        let paths: Vec<String> = lacking.iter().map(ToString::to_string).collect();
        return Ok(json!({ "tiles": paths }).to_string());
    }
    let look = Look {
        you: seen.you,
        projects: &seen.projects,
        listed: &seen.listed,
        events: &seen.events,
        contents: &seen.contents,
    };
    Ok(match seen.before.unwrap_or_default().compare(&look) {
        Compared::Needs(datasets) => json!({ "contents": datasets }).to_string(),
        Compared::Whole(holds) => {
            let alarms: Vec<String> = holds.alarms.iter().map(ToString::to_string).collect();
            let Holds { now, held, unknown, .. } = holds;
            json!({ "now": now, "alarms": alarms, "held": held, "unknown": unknown }).to_string()
        }
    })
}
