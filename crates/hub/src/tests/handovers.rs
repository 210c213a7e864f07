//! An owner's project goes into other hands: on the owner's approval, with the owner's signature, and all of it or nothing.

use api::{
    BeginHandover, Bytes, Custodian, Dataset, Digest, ErrorCode, ExportDataset, FinishHandover,
    Handover, HandoverKeys, OwnerKey, Page, Project, ProjectId, PutCard, Release, SignedStatement,
    Transfer, TransferState,
};
use dataset::OpenDataset;
use proof::{
    Act, Approval, Card, CodeUpdate, CustodianChange, Export, Input, KeyChange, Output, OwnerCard,
    ProjectCard, SigningKey, digest_of, sha256, sign_statement,
};
use serde_json::json;

use super::material::{at, card, released};
use super::owners::{Owned, Owner, bytes};
use super::pages::{PASSWORD, Page as _, TestBrowser};
use crate::testing::{Answer, Person};

/// What of a good beginning is changed.
type Change<'a> = Box<dyn Fn(&mut Approval, &mut OwnerCard) + 'a>;

fn project_at(owned: &Owned, what: &str) -> String {
    format!("/api/v1/projects/{}{what}", owned.card.project)
}

fn approval(owned: &Owned, act: Act, nonce: &[u8]) -> Approval {
    let hub = owned.hub();
    Approval {
        hub: hub.hub.id.clone(),
        project: owned.card.project,
        owner: owned.card.owner.clone(),
        card: owned.card.digest(),
        purpose: sha256(b"purpose"),
        requester: owned.owner.account,
        nonce: sha256(nonce),
        not_before: api::Time::from_second(hub.now()).unwrap(),
        expires: api::Time::from_second(hub.now() + 900).unwrap(),
        checkpoint: None,
        act,
    }
}

/// The card after the one in force, of another owner.
fn next(owned: &Owned, to: &Owner) -> OwnerCard {
    OwnerCard {
        number: owned.card.number + 1,
        previous: Some(owned.card.digest()),
        owner: bytes(&to.words),
        recipient: Bytes(to.sealing.public().to_bytes()),
        devices: vec![],
        ..owned.card.clone()
    }
}

fn key_change(to: &Owner) -> Act {
    Act::KeyChange(KeyChange {
        owner: bytes(&to.words),
        recipient: Digest(to.sealing.public().fingerprint()),
        reseal: false,
    })
}

fn transfer(to: &Owner) -> Act {
    Act::Transfer(proof::Transfer {
        account: to.account,
        owner: bytes(&to.words),
        recipient: Digest(to.sealing.public().fingerprint()),
        reseal: false,
    })
}

async fn begin(owned: &Owned, approval: &Approval, card: SignedStatement) -> Answer {
    let approval = approval.sign(&owned.owner.device, None);
    let body = BeginHandover { approval, card };
    owned.hub().call(owned.ada(), "POST", &project_at(owned, "/handover"), body).await
}

/// Every missing key, opened with the words of before and wrapped to `recipient`.
async fn wrapped(owned: &Owned, handover: &Handover, recipient: &[u8]) -> Vec<Release> {
    let mut keys = Vec::new();
    for dataset in &handover.missing {
        let path = if dataset.to_bytes() == owned.card.project.to_bytes() {
            project_at(owned, "/key")
        } else {
            at(*dataset, "/key")
        };
        let key: OwnerKey = owned.hub().get(owned.ada(), &path).await.ok();
        let open = OpenDataset::from_release(&key.release, &owned.owner.sealing).unwrap();
        keys.push(Release { wrapped_key: open.wrap_to(recipient).unwrap(), ..key.release });
    }
    keys
}

async fn put(owned: &Owned, keys: Vec<Release>) -> Answer {
    let body = HandoverKeys { keys };
    owned.hub().call(owned.ada(), "PUT", &project_at(owned, "/handover"), body).await
}

async fn finish(owned: &Owned, card: Option<SignedStatement>) -> Answer {
    let path = project_at(owned, "/handover/finish");
    owned.hub().call(owned.ada(), "POST", &path, FinishHandover { card }).await
}

#[tokio::test]
async fn new_words_hold_every_key_when_the_last_is_wrapped_and_the_old_ones_count_no_more() {
    let owned = Owned::begin().await;
    let (hub, ada) = (owned.hub(), owned.ada());
    let new = Owner::new(&owned.story.ada);
    let card = OwnerCard { devices: owned.card.devices.clone(), ..next(&owned, &new) };
    let by_old = sign_statement(&card, &owned.owner.words);
    let by_new = sign_statement(&card, &new.words);
    let good = approval(&owned, key_change(&new), b"1");
    let begun: Handover = begin(&owned, &good, by_old.clone()).await.ok();
    assert_eq!((begun.total, begun.missing.len()), (2, 2), "a sample, and the project itself");
    // The same call again is the same hand-over, though its approval is used up.
    let again: Handover = begin(&owned, &good, by_old.clone()).await.ok();
    assert_eq!(again, begun);

    // Nothing counts before the last key is there; and one for another place is none.
    let keys = wrapped(&owned, &begun, &card.recipient.0).await;
    assert_eq!(finish(&owned, Some(by_new.clone())).await.code(), ErrorCode::Conflict);
    let half: Handover = put(&owned, keys[..1].to_vec()).await.ok();
    assert_eq!(half.missing, [keys[1].dataset]);
    assert_eq!(finish(&owned, Some(by_new.clone())).await.code(), ErrorCode::Conflict);
    let moved = Release { dataset: keys[0].dataset, ..keys[1].clone() };
    assert_eq!(put(&owned, vec![Release { epoch: 7, ..moved }]).await.code(), ErrorCode::Conflict);
    let in_force: SignedStatement = hub.get(ada, &project_at(&owned, "/card")).await.ok();
    assert_eq!(digest_of(&in_force), owned.card.digest());
    let whole: Handover = put(&owned, keys[1..].to_vec()).await.ok();
    assert!(whole.missing.is_empty());

    // The card counts as the new words signed it, and as nobody else did.
    let other = OwnerCard { writers: vec![], ..card.clone() };
    for wrong in [None, Some(by_old.clone()), Some(sign_statement(&other, &new.words))] {
        assert_eq!(finish(&owned, wrong).await.code(), ErrorCode::BadRequest);
    }
    let now: SignedStatement = finish(&owned, Some(by_new.clone())).await.ok();
    assert_eq!(now, by_new);
    assert_eq!(finish(&owned, Some(by_new)).await.code(), ErrorCode::Conflict, "once");

    // The key opens with the new words alone, and the proof of the change lies beside it.
    let key: OwnerKey = hub.get(ada, &at(owned.input.dataset(), "/key")).await.ok();
    assert!(OpenDataset::from_release(&key.release, &owned.owner.sealing).is_err());
    let open = OpenDataset::from_release(&key.release, &new.sealing).unwrap();
    assert_eq!(open.key().expose(), owned.input.key().expose());
    assert_eq!(key.handovers, [by_old]);
    let (old, now) = (ProjectCard::Owner(owned.card.clone()), ProjectCard::Owner(card.clone()));
    assert!(now.follows(&old, &key.handovers).is_ok());
    assert!(now.follows(&old, &[]).is_err());

    // Old keys: no card, no approval.
    let mut later = owned.card.clone();
    (later.number, later.previous) = (3, Some(card.digest()));
    let put = PutCard { card: sign_statement(&later, &owned.owner.words), approval: None };
    let refused = hub.call(ada, "PUT", &project_at(&owned, "/card"), put).await;
    assert_eq!(refused.code(), ErrorCode::BadRequest);
    let old = approval(&owned, key_change(&Owner::new(&owned.story.ada)), b"2");
    let refused = begin(&owned, &old, sign_statement(&later, &owned.owner.words)).await;
    assert_eq!(refused.code(), ErrorCode::BadRequest);
}

#[tokio::test]
async fn a_hand_over_that_its_owner_did_not_mean_is_refused() {
    let owned = Owned::begin().await;
    let new = Owner::new(&owned.story.ada);
    let stranger = Owner::new(&owned.story.ada);
    let changes: Vec<(&str, Change<'_>)> = vec![
        ("other words than approved", Box::new(|_, c| c.owner = bytes(&stranger.words))),
        (
            "another key to seal to than approved",
            Box::new(|_, c| c.recipient = Bytes(stranger.sealing.public().to_bytes())),
        ),
        ("the test mark", Box::new(|_, c| c.test = false)),
        ("another hub", Box::new(|_, c| c.hub = "other".into())),
        ("a number left out", Box::new(|_, c| c.number = 5)),
        ("another card before it", Box::new(|_, c| c.previous = Some(sha256(b"other")))),
        (
            "the same words",
            Box::new(|a, c| {
                c.owner = owned.card.owner.clone();
                if let Act::KeyChange(change) = &mut a.act {
                    change.owner = owned.card.owner.clone();
                }
            }),
        ),
    ];
    for (what, change) in changes {
        let (mut given, mut card) = (approval(&owned, key_change(&new), b"1"), next(&owned, &new));
        change(&mut given, &mut card);
        let signed = sign_statement(&card, &owned.owner.words);
        assert_eq!(begin(&owned, &given, signed).await.code(), ErrorCode::BadRequest, "{what}");
    }
    let card = next(&owned, &new);
    let by = |key: &SigningKey| sign_statement(&card, key);
    for (what, signed) in [
        ("the new words sign for the old ones", by(&new.words)),
        ("a device signs for the words", by(&owned.owner.device)),
        ("the account signs for the words", by(owned.ada())),
    ] {
        let given = approval(&owned, key_change(&new), b"1");
        assert_eq!(begin(&owned, &given, signed).await.code(), ErrorCode::BadRequest, "{what}");
    }
    // An approval of no device, of another project, over, or of another kind.
    let good = approval(&owned, key_change(&new), b"1");
    let (hub, ada, path) = (owned.hub(), owned.ada(), project_at(&owned, "/handover"));
    let call = |approval| BeginHandover { approval, card: by(&owned.owner.words) };
    for (what, given) in [
        ("signed by the words", good.sign(&owned.owner.words, None)),
        ("signed by the new words", good.sign(&new.words, None)),
        ("another project's", {
            let other = Approval { project: ProjectId::generate(), ..good.clone() };
            other.sign(&owned.owner.device, None)
        }),
        ("over", {
            let (from, to) = (hub.now() - 900, hub.now());
            let not_before = api::Time::from_second(from).unwrap();
            let expires = api::Time::from_second(to).unwrap();
            Approval { not_before, expires, ..good.clone() }.sign(&owned.owner.device, None)
        }),
    ] {
        let refused = hub.call(ada, "POST", &path, call(given)).await;
        assert_eq!(refused.code(), ErrorCode::KeyRefused, "{what}");
    }
    let delete = approval(&owned, Act::Delete(proof::Delete { dataset: None }), b"2");
    let refused = begin(&owned, &delete, by(&owned.owner.words)).await;
    assert_eq!(refused.code(), ErrorCode::BadRequest);
    // Used for a hand-over that another one replaced: it counts no second time.
    begin(&owned, &good, by(&owned.owner.words)).await.ok::<Handover>();
    let second = approval(&owned, key_change(&new), b"3");
    begin(&owned, &second, by(&owned.owner.words)).await.ok::<Handover>();
    let refused = begin(&owned, &good, by(&owned.owner.words)).await;
    assert_eq!(refused.code(), ErrorCode::KeyRefused);
}

#[tokio::test]
async fn a_project_goes_to_whom_the_approval_names_with_keys_that_open_for_them_alone() {
    let owned = Owned::begin().await;
    let (hub, ada) = (owned.hub(), owned.ada());
    let bert: Person = hub.person(&owned.story.ada, "Bert").await;
    let eve = hub.person(&owned.story.ada, "Eve").await;
    let berts = Owner::new(&bert);
    // Without keys there is no offer.
    let offer = json!({"to": bert.account, "reseal": false});
    let refused = hub.call(ada, "POST", &project_at(&owned, "/transfer"), offer).await;
    assert_eq!(refused.code(), ErrorCode::NotOffered);

    let card = next(&owned, &berts);
    let by_ada = sign_statement(&card, &owned.owner.words);
    let good = approval(&owned, transfer(&berts), b"1");
    let begun: Handover = begin(&owned, &good, by_ada.clone()).await.ok();
    let offers: Page<Transfer> = hub.get(&bert.key, "/api/v1/transfers").await.ok();
    let id = offers.items[0].id;
    let (accept, take) =
        (format!("/api/v1/transfers/{id}/accept"), format!("/api/v1/transfers/{id}/take"));
    let mine = || FinishHandover { card: Some(sign_statement(&card, &berts.words)) };
    let early = hub.call(&bert.key, "POST", &take, mine()).await;
    assert_eq!(early.code(), ErrorCode::Conflict, "no key is there yet");
    let keys = wrapped(&owned, &begun, &card.recipient.0).await;
    put(&owned, keys).await.ok::<Handover>();
    // Not as if it were a platform project, not by the giver, not by somebody else.
    let bare = hub.call(&bert.key, "POST", &accept, json!({})).await;
    assert_eq!(bare.code(), ErrorCode::Conflict);
    assert_eq!(finish(&owned, mine().card).await.code(), ErrorCode::Conflict);
    assert_eq!(hub.call(&eve.key, "POST", &take, mine()).await.code(), ErrorCode::NotFound);
    let refused = hub.call(ada, "POST", &take, mine()).await;
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    let shown: Handover =
        hub.get(&bert.key, &format!("/api/v1/transfers/{id}/handover")).await.ok();
    assert_eq!((shown.card, shown.missing.len()), (by_ada, 0));
    // The website says who takes it, and offers no button that would be refused.
    super::website::with_password(hub, &bert, "bert").await;
    let mut browser = TestBrowser::new(hub);
    assert_eq!(browser.sign_in("bert", PASSWORD).await.to(), "/");
    for page in ["/projects".to_owned(), format!("/transfers/{id}/accept")] {
        let text = browser.get(&page).await.text();
        let said = format!("chorion project transfer accept {id}");
        assert!(text.contains(&said) && text.contains("https://keys.example"), "{page}: {text}");
        assert!(!text.contains("Take over</"), "{page}");
    }
    let forged = FinishHandover { card: Some(sign_statement(&card, &owned.owner.words)) };
    assert_eq!(hub.call(&bert.key, "POST", &take, forged).await.code(), ErrorCode::BadRequest);

    let taken: Transfer = hub.call(&bert.key, "POST", &take, mine()).await.ok();
    assert_eq!(taken.state, TransferState::Accepted);
    let project: Project = hub.get(&bert.key, &project_at(&owned, "")).await.ok();
    assert_eq!((project.owner, project.card_number), (bert.account, 2));
    let key: OwnerKey = hub.get(&bert.key, &at(owned.input.dataset(), "/key")).await.ok();
    assert!(OpenDataset::from_release(&key.release, &berts.sealing).is_ok());
    // Who gave it is nobody there.
    assert_eq!(hub.get(ada, &project_at(&owned, "")).await.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn others_hold_a_projects_key_on_its_owners_approval_and_then_they_can_read() {
    let owned = Owned::begin().await;
    let (hub, ada) = (owned.hub(), owned.ada());
    let platforms = |number| Card {
        hub: hub.hub.id.clone(),
        project: owned.card.project,
        custodian: Custodian::Platform,
        recipient: Bytes(hub.recipient().to_bytes()),
        number,
        test: false,
        writers: vec![],
    };
    let signed = sign_statement(&platforms(2), &owned.owner.words);
    let change = |card| {
        Act::CustodianChange(CustodianChange {
            custodian: Custodian::Platform,
            card,
            reseal: false,
        })
    };
    // Another card than the approval names, or than the hub would sign.
    let other = approval(&owned, change(sha256(b"other")), b"0");
    assert_eq!(begin(&owned, &other, signed.clone()).await.code(), ErrorCode::BadRequest);
    let wrong = sign_statement(&platforms(3), &owned.owner.words);
    let late = approval(&owned, change(digest_of(&wrong)), b"1");
    assert_eq!(begin(&owned, &late, wrong).await.code(), ErrorCode::BadRequest);

    let good = approval(&owned, change(digest_of(&signed)), b"2");
    let begun: Handover = begin(&owned, &good, signed.clone()).await.ok();
    let keys = wrapped(&owned, &begun, &hub.recipient().to_bytes()).await;
    // What the hub cannot open it does not take, or nobody could ever.
    let broken = Release {
        wrapped_key: owned.input.wrap_to(&owned.card.recipient.0).unwrap(),
        ..keys[0].clone()
    };
    assert!(!put(&owned, vec![broken]).await.status.is_success());
    put(&owned, keys).await.ok::<Handover>();
    let now: SignedStatement = finish(&owned, None).await.ok();
    assert_eq!(digest_of(&now), digest_of(&signed));
    let shown: Dataset = hub.get(ada, &at(owned.input.dataset(), "")).await.ok();
    assert_eq!(
        (shown.custodian, shown.name.as_deref()),
        (Custodian::Platform, Some("NA12878 of Ada"))
    );
    let open = released(hub, ada, owned.input.dataset()).await;
    assert_eq!(open.key().expose(), owned.input.key().expose());
}

#[tokio::test]
async fn a_card_takes_other_measurements_on_an_approved_code_update_alone() {
    let owned = Owned::begin().await;
    let (hub, ada) = (owned.hub(), owned.ada());
    let (one, two) = (Bytes(vec![1; 48]), Bytes(vec![2; 48]));
    let put = |number, previous, measurements: &[Bytes], given: Option<&Approval>| {
        let card = OwnerCard {
            number,
            previous: Some(previous),
            measurements: measurements.to_vec(),
            ..owned.card.clone()
        };
        let approval = given.map(|given| given.sign(&owned.owner.device, None));
        PutCard { card: sign_statement(&card, &owned.owner.words), approval }
    };
    let update = |add: &[Bytes], remove: &[Bytes]| {
        Act::CodeUpdate(CodeUpdate {
            release: sha256(b"list"),
            remove: remove.to_vec(),
            add: add.to_vec(),
        })
    };
    let good = approval(&owned, update(std::slice::from_ref(&one), &[]), b"1");
    let more = approval(&owned, update(&[one.clone(), two.clone()], &[]), b"2");
    let less = approval(&owned, update(&[], std::slice::from_ref(&one)), b"3");
    let (path, first) = (project_at(&owned, "/card"), owned.card.digest());
    for given in [None, Some(&more), Some(&less)] {
        let body = put(2, first, std::slice::from_ref(&one), given);
        assert_eq!(hub.call(ada, "PUT", &path, body).await.code(), ErrorCode::KeyRefused);
    }
    let body = put(2, first, std::slice::from_ref(&one), Some(&good));
    let second: SignedStatement = hub.call(ada, "PUT", &path, body).await.ok();
    // Once, and for the card that was in force.
    let body = put(3, digest_of(&second), &[], Some(&good));
    assert_eq!(hub.call(ada, "PUT", &path, body).await.code(), ErrorCode::KeyRefused);
}

#[tokio::test]
async fn an_export_is_of_this_version_into_that_project_or_refused() {
    let owned = Owned::begin().await;
    let (hub, ada, id) = (owned.hub(), owned.ada(), owned.input.dataset());
    let into = hub.project(&owned.story.ada, "of the clinic").await;
    let card = card(hub, ada, into).await;
    let manifest: SignedStatement = hub.get(ada, &at(id, "/manifest")).await.ok();
    let export = |manifest, project, card, custodian| {
        Act::Export(Export {
            input: Input { name: "dataset".into(), dataset: id, manifest },
            output: Output { project, card, custodian, dataset: Some(api::DatasetId::generate()) },
        })
    };
    let digest = digest_of(&manifest);
    let body = |act, nonce: &[u8]| ExportDataset {
        approval: approval(&owned, act, nonce).sign(&owned.owner.device, None),
    };
    let path = at(id, "/export");
    let platform = Custodian::Platform;
    for (what, act) in [
        ("older content", export(sha256(b"older"), into, card, platform)),
        ("another card", export(digest, into, sha256(b"other"), platform)),
        ("another custodian", export(digest, into, card, Custodian::Organization)),
    ] {
        let refused = hub.call(ada, "POST", &path, body(act, b"0")).await;
        assert_eq!(refused.code(), ErrorCode::Conflict, "{what}");
    }
    let unsigned = ExportDataset {
        approval: approval(&owned, export(digest, into, card, platform), b"1").sign(ada, None),
    };
    assert_eq!(hub.call(ada, "POST", &path, unsigned).await.code(), ErrorCode::KeyRefused);
    let good = body(export(digest, into, card, platform), b"2");
    hub.call(ada, "POST", &path, &good).await.ok::<Dataset>();
    assert_eq!(hub.call(ada, "POST", &path, &good).await.code(), ErrorCode::KeyRefused, "once");
}
