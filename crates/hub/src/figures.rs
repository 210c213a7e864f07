//! What a bench asks of the inside (`examples/load.rs`); no program calls it.

mod cases;

use std::path::Path;
use std::time::{Duration, Instant};

use api::{
    Account, AccountId, Custodian, Digest, Key, KeyId, KeyKind, ProjectId, RequestId, Right, Time,
};

use crate::app::{self, Caller, Who};
use crate::data::projects::NewProject;
use crate::data::{self, Db};
use crate::policy::Action;

pub use self::cases::{CaseFigures, cases_beside_plain, cases_found, dataset_keys_rewrapped};

/// How long one check takes of whether a member may list the members of a project: its right, then the table.
///
/// Once with the right as it is remembered while nobody writes, once from the database. The means of `rounds`, in a new database
/// at `path`.
///
/// # Errors
/// Whatever the database says.
pub async fn permission_check(
    path: &Path,
    rounds: u32,
) -> Result<[Duration; 2], Box<dyn std::error::Error>> {
    let db = Db::open(path).await?;
    let now = Time::now();
    let account = |name: &str| Account {
        id: AccountId::generate(),
        name: name.to_owned(),
        operator: false,
        created: now,
        disabled: None,
        belongs: None,
    };
    let (owner, member, id) = (account("owner"), account("member"), ProjectId::generate());
    let mut tx = db.write().await?;
    data::accounts::insert(&mut tx, &owner).await?;
    data::accounts::insert(&mut tx, &member).await?;
    let project = NewProject {
        id,
        custodian: Custodian::Platform,
        owner: owner.id,
        label: b"",
        made_by: Digest([0; 32]),
        created: now,
    };
    data::projects::insert(&mut tx, &project).await?;
    data::members::set(&mut tx, id, member.id, Right::Browse).await?;
    tx.commit().await?;
    let key = Key {
        id: KeyId([0; 16]),
        account: member.id,
        kind: KeyKind::Person,
        name: String::new(),
        public_key: api::Bytes(Vec::new()),
        created: now,
        revoked: None,
        limit: None,
        app: None,
    };
    let caller = Caller {
        who: Who::Account { account: member, key },
        request: RequestId::generate(),
        at: now,
        seen: db.seen().clone(),
    };
    let mut reader = db.read().await?;
    let mut took = [Duration::ZERO; 2];
    for (took, from_database) in took.iter_mut().zip([false, true]) {
        let began = Instant::now();
        for _ in 0..rounds {
            if from_database {
                // As after a transaction of somebody else's.
                db.seen().begin();
                db.seen().end();
            }
            let standing = app::projects::standing(&mut reader, &caller, id).await?;
            caller.may(Action::MemberList, standing, "project", id, Some(id))?;
        }
        *took = began.elapsed() / rounds.max(1);
    }
    drop(reader);
    db.close().await;
    Ok(took)
}

/// How long `count` releases take from announcement to outcome, by `at_once` callers, and how many transactions, each with a
/// sync, they took together: in a new database at `path`.
///
/// # Errors
/// Whatever the database says.
pub async fn announced_releases(
    path: &Path,
    count: u32,
    at_once: u32,
) -> Result<(Duration, u64), Box<dyn std::error::Error>> {
    let db = Db::open(path).await?;
    let mut tx = db.write().await?;
    data::meta::insert(&mut tx, data::audit::PSEUDONYM_KEY, &Digest([0; 32]).to_string()).await?;
    tx.commit().await?;
    let releases = data::intents::Releases::start(db.clone());
    let began = Instant::now();
    let callers = (0..at_once).map(|_| {
        let releases = releases.clone();
        async move {
            for _ in 0..count / at_once.max(1) {
                let event = data::events::NewEvent {
                    at: Time::now(),
                    actor: format!("account:{}", AccountId::generate()),
                    act: data::intents::RELEASE,
                    object: format!("dataset:{}", api::DatasetId::generate()),
                    project: None,
                    purpose: Some("download".to_owned()),
                    outcome: api::Outcome::Done,
                    reason: None,
                    request: Some(RequestId::generate()),
                };
                let intent = releases.intend(event, data::audit::Bound::default()).await?;
                releases.close(intent, None, Time::now()).await?;
            }
            Ok::<(), crate::HubError>(())
        }
    });
    for done in futures_util::future::join_all(callers).await {
        done?;
    }
    let (took, groups) = (began.elapsed(), releases.groups());
    db.close().await;
    Ok((took, groups))
}
