//! What no approval may do, kind by kind.

mod vectors;

use api::{Bytes, SignedStatement};
use proptest::prelude::*;

use super::example::{all, approval, at, input, output, purpose, run};
use super::*;
use crate::card::owner::tests::{card, key};
use crate::{digest_of, fuzzing};

/// What is wrong with an approval.
type Change = fn(&mut Approval);

fn signed(approval: &Approval) -> SignedApproval {
    approval.sign(&key(2), None)
}

fn resigned(text: &str) -> SignedApproval {
    let approval = SignedStatement {
        statement: text.to_owned(),
        signature: Bytes(key(2).sign(text.as_bytes()).0.to_vec()),
        signer: Bytes(key(2).public().to_bytes().to_vec()),
    };
    SignedApproval { approval, second: None }
}

#[test]
fn one_of_every_kind_is_read_as_it_was_signed() {
    let mut kinds = std::collections::BTreeSet::new();
    for approval in all() {
        let signed = signed(&approval);
        let verified = Approval::open(&signed, &card()).unwrap();
        assert_eq!(verified.approval(), &approval);
        assert_eq!(verified.digest(), digest_of(&signed.approval));
        assert_eq!(verified.device(), key(2).public());
        assert!(kinds.insert(approval.act.kind()));
    }
    assert_eq!(kinds.len(), 12);
}

#[test]
fn no_field_of_any_kind_can_be_left_out_added_doubled_or_spelled_otherwise() {
    for approval in all() {
        let text = approval.text();
        let (head, json) = text.split_once('\n').unwrap();
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let mut broken = Vec::new();
        let mut paths = Vec::new();
        walk(&value, &mut Vec::new(), &mut paths);
        for path in &paths {
            let mut less = value.clone();
            let (last, parents) = path.split_last().unwrap();
            let parent = parents.iter().fold(&mut less, |at, key| &mut at[key.as_str()]);
            parent.as_object_mut().unwrap().remove(last);
            broken.push(less.to_string());
            let mut more = value.clone();
            let parent = parents.iter().fold(&mut more, |at, key| &mut at[key.as_str()]);
            parent.as_object_mut().unwrap().insert("more".into(), 1.into());
            broken.push(more.to_string());
            let field = format!("\"{last}\":");
            broken.push(json.replacen(&field, &format!("{field}null,{field}"), 1));
        }
        broken.push(json.replacen(':', ": ", 1));
        broken.push(format!("{json}\n"));
        broken.push(json.replacen("1970", "\\u0031970", 1));
        for body in broken {
            let refused = Approval::open(&resigned(&format!("{head}\n{body}")), &card());
            assert!(
                matches!(refused, Err(ApprovalError::Statement(StatementError::Form { .. }))),
                "{} was read: {body}",
                approval.act.kind()
            );
        }
    }
}

/// The path of every key of every object.
fn walk(value: &serde_json::Value, here: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    for (key, inner) in value.as_object().into_iter().flatten() {
        here.push(key.clone());
        found.push(here.clone());
        walk(inner, here, found);
        here.pop();
    }
}

#[test]
fn only_a_device_of_the_card_approves() {
    let approval = approval(Act::App(run()));
    // The owner's card key, a writer, a vault's receipt key, a stranger.
    for other in [1, 3, 8, 9] {
        let signed = approval.sign(&key(other), None);
        assert!(matches!(Approval::open(&signed, &card()), Err(ApprovalError::Device { .. })));
    }
    let mut revoked = card();
    revoked.number = 2;
    revoked.previous = Some(card().digest());
    revoked.devices.clear();
    let refused = Approval::open(&signed(&approval), &revoked);
    assert!(matches!(refused, Err(ApprovalError::Device { .. })));
}

#[test]
fn an_approval_for_another_hub_project_owner_or_card_does_not_count() {
    let cases: [(&str, Change); 4] = [
        ("hub", |a| a.hub = "other".into()),
        ("project", |a| a.project = ProjectId::generate()),
        ("owner", |a| a.owner = Bytes(key(9).public().to_bytes().to_vec())),
        ("card", |a| a.card = sha256(b"other")),
    ];
    for (what, change) in cases {
        let mut other = approval(Act::App(run()));
        change(&mut other);
        match Approval::open(&signed(&other), &card()) {
            Err(ApprovalError::Other { what: said }) => assert_eq!(said, what),
            refused => panic!("{what}: {refused:?}"),
        }
    }
}

#[test]
fn an_approval_counts_in_its_time_alone() {
    let verified = Approval::open(&signed(&approval(Act::App(run()))), &card()).unwrap();
    for (second, counts) in [
        (1_000 - SKEW_SECONDS - 1, false),
        (1_000 - SKEW_SECONDS, true),
        (1_000 + APPROVAL_SECONDS - 1, true),
        (1_000 + APPROVAL_SECONDS, false),
    ] {
        assert_eq!(verified.in_force(at(second)).is_ok(), counts, "{second}");
    }
}

#[test]
fn what_no_approval_says_is_refused_whoever_signed_it() {
    let change = |change: fn(&mut Approval)| {
        let mut changed = approval(Act::App(run()));
        change(&mut changed);
        changed
    };
    let act = |act| approval(act);
    let grant = |change: fn(&mut StandingGrant)| {
        let found = all().into_iter().find_map(|a| match a.act {
            Act::StandingGrant(grant) => Some(grant),
            _ => None,
        });
        let mut grant = found.unwrap();
        change(&mut grant);
        approval(Act::StandingGrant(grant))
    };
    let cases = [
        ("no time", change(|a| a.expires = a.not_before)),
        ("two days", change(|a| a.expires = at(1_000 + 2 * MOST_APPROVAL_SECONDS))),
        ("no inputs", act(Act::App(RunApp { inputs: vec![], ..run() }))),
        ("an input twice", act(Act::App(RunApp { inputs: vec![input(), input()], ..run() }))),
        ("no outputs", act(Act::App(RunApp { outputs: vec![], ..run() }))),
        (
            "an export to an owner",
            act(Act::Export(Export { input: input(), output: output(api::Custodian::Owner) })),
        ),
        ("a grant of 31 days", grant(|g| g.until = at(1_001 + MOST_GRANT_SECONDS))),
        ("a grant for nothing", grant(|g| g.uses = 0)),
        ("a grant that exports", grant(|g| g.into.custodian = api::Custodian::Platform)),
        ("a short measurement", grant(|g| g.measurements.push(Bytes(vec![0; 32])))),
    ];
    for (what, approval) in cases {
        let refused = Approval::open(&signed(&approval), &card());
        assert!(matches!(refused, Err(ApprovalError::Form { .. })), "{what}: {refused:?}");
    }
}

#[test]
fn the_second_signer_signs_too_where_the_card_says_so() {
    // Key 1 of secp256k1: 0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf.
    let wallet = k256::ecdsa::SigningKey::from_slice(&{
        let mut one = [0; 32];
        one[31] = 1;
        one
    })
    .unwrap();
    let mut card = card();
    card.second_signer = Some("0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf".into());
    let approval = Approval { card: card.digest(), ..approval(Act::App(run())) };
    let digest = approval.typed_data().unwrap().digest().unwrap();
    let sign = |digest: &[u8; 32]| {
        let (signature, parity) = wallet.sign_prehash_recoverable(digest);
        let v = 27 + u8::from(parity.is_y_odd());
        EthereumSignature::from_bytes(&[signature.to_bytes().as_slice(), &[v]].concat()).unwrap()
    };
    let good = approval.sign(&key(2), Some(sign(&digest)));
    assert!(Approval::open(&good, &card).is_ok());
    let refusals = [
        ("missing", approval.sign(&key(2), None)),
        ("of another text", approval.sign(&key(2), Some(sign(&[7; 32])))),
        ("cut", SignedApproval { second: Some(Bytes(vec![1; 64])), ..good.clone() }),
    ];
    for (what, signed) in refusals {
        let refused = Approval::open(&signed, &card);
        assert!(matches!(refused, Err(ApprovalError::Second { .. })), "{what}: {refused:?}");
    }
    let unasked =
        SignedApproval { second: good.second, ..signed(&example::approval(Act::App(run()))) };
    let refused = Approval::open(&unasked, &example::plain_card());
    assert!(matches!(refused, Err(ApprovalError::Second { .. })));
}

#[test]
fn what_a_person_reads_is_computed_from_what_is_signed() {
    let purpose = purpose();
    let names = [(input().dataset, "my \u{202e}genome\u{1b}[2J".to_owned())];
    let private = Private { purpose: Some(&purpose), document: Some(b"{}"), names: &names };
    let text = approval(Act::App(run())).sentences(&private).unwrap().join("\n");
    for said in ["fastp 0.23", "NOT CONFIDENTIAL", "check my reads", "its owner alone"] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    assert!(!text.contains('\u{202e}') && !text.contains('\u{1b}'), "{text}");

    let lax = RunApp { outputs: vec![output(api::Custodian::Platform)], ..run() };
    let text = approval(Act::App(lax)).sentences(&private).unwrap();
    assert!(text[0].starts_with("EXPORT"), "{text:?}");

    // Another purpose or other settings than the approval names are not drawn at all.
    let other = Purpose { text: "something else".into(), ..purpose.clone() };
    let wrong = [
        Private { purpose: Some(&other), ..private.clone() },
        Private { purpose: None, ..private.clone() },
        Private { document: Some(b"{ }"), ..private.clone() },
        Private { document: None, ..private.clone() },
    ];
    for private in wrong {
        let refused = approval(Act::App(run())).sentences(&private);
        assert!(matches!(refused, Err(ApprovalError::Other { .. })));
    }
    for approval in all() {
        assert!(approval.sentences(&private).unwrap().len() > 3, "{}", approval.act.kind());
    }
}

#[test]
fn every_kind_has_a_form_that_a_wallet_shows() {
    let mut digests = std::collections::BTreeSet::new();
    for approval in all() {
        assert!(digests.insert(approval.typed_data().unwrap().digest().unwrap()));
    }
}

proptest! {
    #[test]
    fn any_changed_byte_of_an_approval_is_refused(which in 0..12_usize, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let good = signed(&all()[which]);
        let mut bytes = good.approval.statement.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(text) = String::from_utf8(bytes) {
            // Under the old signature, and signed anew: then it is another approval or none, and never the same.
            let stale = SignedApproval {
                approval: SignedStatement { statement: text.clone(), ..good.approval.clone() },
                second: None,
            };
            prop_assert!(Approval::open(&stale, &card()).is_err());
            if let Ok(read) = Approval::open(&resigned(&text), &card()) {
                prop_assert_eq!(read.approval().text(), text);
                prop_assert_ne!(read.digest(), digest_of(&good.approval));
            }
        }
    }

    #[test]
    fn damaged_approvals_and_cards_feed_the_fuzzer(which in 0..12_usize, cut in any::<prop::sample::Index>(), with in proptest::collection::vec(any::<u8>(), 0..40)) {
        let text = all()[which].text().into_bytes();
        let cut = cut.index(text.len());
        let mut damaged = text[..cut].to_vec();
        damaged.extend(&with);
        damaged.extend(&text[(cut + with.len()).min(text.len())..]);
        fuzzing::approval(&damaged);
        fuzzing::approval(&text);
        fuzzing::card(&damaged);
        fuzzing::card(canonical(&card()).as_bytes());
    }
}
