//! What sealing cases and searching them by keyed hashes costs, beside the same rows in the clear.
//!
//! Two databases of this hub's form in one directory, filled batch by batch in turn, with the same events and leaves of the
//! audit log on both sides. The plain side keeps the document as JSON and the values that are searched as columns with
//! indexes; the sealed side does what the hub does: a key for each case, one sealed document, three indexes of hashes, and beside the
//! database what a lost one is made anew from.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{
    Account, AccountId, CaseDocument, CaseId, Custodian, DatasetId, Digest, KeyPurpose,
    Organization, OrganizationId, Outcome, Plan, ProjectId, RequestId, SearchField, Time,
};
use custody::kms::{CustomerKey, KeyContext, LocalFile};
use custody::organization::{KeptSalt, KeySet, Keys, Lease, make_key, new_salt};
use futures_util::future::join_all;
use seal::DatasetKey;
use seal::wrap::DatasetContext;
use store::KeyStore;

use crate::app::cases::{fields, rewrap_portion, sealing};
use crate::app::descriptions;
use crate::app::organization_keys::{PORTION, one};
use crate::data::events::NewEvent;
use crate::data::organization_keys::Under;
use crate::data::projects::NewProject;
use crate::data::{self, Connection, Db};

type Failure = Box<dyn std::error::Error>;

/// The fields that are searched.
const FIELDS: [SearchField; 3] =
    [SearchField::RecordNumber, SearchField::FamilyName, SearchField::BirthDate];

/// What was measured: seconds for all rows, and microseconds of each search that opens one case.
#[derive(Debug)]
pub struct CaseFigures {
    /// Adding them sealed.
    pub sealed: Duration,
    /// Adding them in the clear.
    pub plain: Duration,
    /// Each search by record number over hashes, with opening and comparing.
    pub sealed_finds: Vec<Duration>,
    /// Each search by record number over the clear column, with reading the document.
    pub plain_finds: Vec<Duration>,
    /// Wrapping the key of every case anew under a new organization data key, in the database and beside it.
    pub rewrapped: Duration,
    /// Bytes of the sealed database.
    pub sealed_bytes: u64,
    /// Bytes of the plain one.
    pub plain_bytes: u64,
}

/// The hub's id, as descriptions have it.
const HUB: &str = "bench";

struct Place {
    db: Db,
    /// What outlives the database.
    keys: KeyStore,
    project: ProjectId,
    organization: OrganizationId,
    account: AccountId,
}

/// The document of the row of that number; names are as frequent as their rank says (Zipf), as people's are.
fn document(number: u32) -> Result<CaseDocument, Failure> {
    let scattered = number.wrapping_mul(2_654_435_761);
    let name = 50_000 / (scattered % 50_000 + 1);
    let (year, month, day) =
        (1920 + scattered % 100, 1 + scattered / 7 % 12, 1 + scattered / 91 % 28);
    let text = format!(
        r#"{{"patient": {{"record_number": "MRN {number:08}", "family_name": "Family{name}", "given_name": "Given{}",
            "birth_date": "{year:04}-{month:02}-{day:02}", "sex": "female", "email": "p{number}@example.test"}},
            "phenotypes": [{{"term": "HP:0001250"}}, {{"term": "HP:0000252", "excluded": true}}],
            "notes": [{{"text": "{}"}}]}}"#,
        scattered % 5_000,
        "seen at the ward, to be looked at again. ".repeat(5)
    );
    Ok(serde_json::from_str(&text)?)
}

async fn place(path: &Path) -> Result<Place, Failure> {
    let db = Db::open(path).await?;
    let beside = ["keys-1", "keys-2"].map(|name| path.with_extension(name));
    let keys = KeyStore::create(beside).await?;
    let (now, organization, project) =
        (Time::now(), OrganizationId::generate(), ProjectId::generate());
    let account = Account {
        id: AccountId::generate(),
        name: "a clinician".to_owned(),
        operator: false,
        created: now,
        disabled: None,
        belongs: None,
    };
    let mut tx = db.write().await?;
    data::meta::insert(&mut tx, data::audit::PSEUDONYM_KEY, &Digest([0; 32]).to_string()).await?;
    data::accounts::insert(&mut tx, &account).await?;
    let new = Organization {
        id: organization,
        name: "a clinic".to_owned(),
        plan: Plan::Enterprise,
        created: now,
        recipient: None,
    };
    data::organizations::insert(&mut tx, &new).await?;
    let row = NewProject {
        id: project,
        custodian: Custodian::Organization,
        owner: account.id,
        label: b"",
        made_by: Digest([0; 32]),
        created: now,
    };
    data::projects::insert(&mut tx, &row).await?;
    data::organizations::insert_project(&mut tx, organization, project).await?;
    tx.commit().await?;
    Ok(Place { db, keys, project, organization, account: account.id })
}

/// What an organization keeps, under a customer's key in a file.
async fn make_keys(
    dir: &Path,
    organization: OrganizationId,
) -> Result<(Arc<dyn CustomerKey>, KeySet), Failure> {
    let customer: Arc<dyn CustomerKey> = Arc::new(LocalFile::open(&dir.join("customer"))?);
    let mut keys = Vec::new();
    for purpose in [KeyPurpose::Data, KeyPurpose::Index] {
        let of = KeyContext { organization, purpose, version: 1 };
        keys.push(make_key(&*customer, &of).await?.kept);
    }
    let mut salts = Vec::new();
    for field in FIELDS {
        let name = format!("salt-{}", field.as_str().replace('_', "-"));
        let place = customer.keep_secret(&name, &new_salt()?).await?;
        salts.push(KeptSalt { field: fields::name(field), version: 1, index_key: 1, place });
    }
    Ok((customer, KeySet { organization, keys, salts }))
}

async fn open_keys(customer: &Arc<dyn CustomerKey>, set: &KeySet) -> Result<Arc<Keys>, Failure> {
    let lease = Lease::new(set.clone(), Arc::clone(customer), 0)?;
    Ok(lease.open(Time::now).await?)
}

fn event(at: &Place, id: CaseId) -> NewEvent {
    NewEvent {
        at: Time::now(),
        actor: format!("account:{}", at.account),
        act: "case.add",
        object: format!("case:{id}"),
        project: Some(at.project),
        purpose: None,
        outcome: Outcome::Done,
        reason: None,
        request: Some(RequestId::generate()),
    }
}

/// Adds cases as the hub does; where nothing is logged, the database alone has them.
async fn add_sealed(
    at: &Place,
    keys: &Keys,
    documents: &[CaseDocument],
    is_logged: bool,
) -> Result<(), Failure> {
    let mut rows = Vec::with_capacity(documents.len());
    for document in documents {
        let id = CaseId::generate();
        rows.push((id, sealing::new(keys, at.project, id, document)?));
    }
    let mut tx = at.db.write().await?;
    let indexes = fields::writing(&mut tx, keys).await?;
    let mut added = Vec::with_capacity(rows.len());
    for ((id, sealed), document) in rows.iter().zip(documents) {
        let row = data::cases::NewRow {
            id: *id,
            project: at.project,
            organization: at.organization,
            made_by: at.account,
            key: &sealed.key,
            document: &sealed.document,
            created: Time::now(),
        };
        let number = data::cases::insert(&mut tx, &row).await?.ok_or("an id was drawn twice")?;
        added.push((number, document));
        if is_logged {
            data::events::record(&mut tx, &event(at, *id)).await?;
        }
    }
    indexes.put(&mut tx, added).await?;
    tx.commit().await?;
    if is_logged {
        descriptions::bring_up(&at.db, &at.keys, HUB).await?;
    }
    Ok(())
}

async fn make_plain(at: &mut Connection) -> Result<(), Failure> {
    for statement in [
        "CREATE TABLE plain_cases (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, project TEXT NOT NULL,
             organization TEXT NOT NULL, status TEXT NOT NULL, version INTEGER NOT NULL, made_by TEXT NOT NULL,
             document TEXT NOT NULL, record_number TEXT, family_name TEXT, birth_date TEXT,
             created INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT",
        "CREATE INDEX plain_by_project ON plain_cases (project, id)",
        "CREATE INDEX plain_by_organization ON plain_cases (organization, number)",
        "CREATE INDEX plain_by_record_number ON plain_cases (organization, record_number)",
        "CREATE INDEX plain_by_family_name ON plain_cases (organization, family_name)",
        "CREATE INDEX plain_by_birth_date ON plain_cases (organization, birth_date)",
    ] {
        sqlx::query(statement).execute(&mut *at).await?;
    }
    Ok(())
}

async fn add_plain(at: &Place, documents: &[CaseDocument], is_logged: bool) -> Result<(), Failure> {
    let mut tx = at.db.write().await?;
    for document in documents {
        let id = CaseId::generate();
        let value = |field| {
            let value = cases::values(document, field);
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        sqlx::query(
            "INSERT INTO plain_cases (id, project, organization, status, version, made_by, document,
                 record_number, family_name, birth_date, created, changed)
             VALUES ($1, $2, $3, 'open', 1, $4, $5, $6, $7, $8, $9, $9)",
        )
        .bind(id.to_string())
        .bind(at.project.to_string())
        .bind(at.organization.to_string())
        .bind(at.account.to_string())
        .bind(serde_json::to_string(document)?)
        .bind(value(FIELDS[0]))
        .bind(value(FIELDS[1]))
        .bind(value(FIELDS[2]))
        .bind(data::micros(Time::now()))
        .execute(&mut *tx)
        .await?;
        if is_logged {
            data::events::record(&mut tx, &event(at, id)).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

async fn find_sealed(at: &Place, keys: &Keys, number: u32) -> Result<Duration, Failure> {
    let wanted = format!("{number:08}");
    let began = Instant::now();
    let mut reader = at.db.read().await?;
    let value = cases::normal(FIELDS[0], &wanted).ok_or("no normal form")?;
    let asked = (FIELDS[0], &value);
    let hits =
        fields::hits((at.db.seen(), &mut reader), keys, asked, at.project, (0, 1000)).await?;
    let mut found = 0;
    for kept in &hits {
        let document = sealing::open(keys, kept)?;
        found += u32::from(cases::values(&document, FIELDS[0]).as_ref() == Some(&value));
    }
    if found == 1 { Ok(began.elapsed()) } else { Err("not one sealed case was found".into()) }
}

async fn find_plain(at: &Place, number: u32) -> Result<Duration, Failure> {
    let wanted = format!("{number:08}");
    let began = Instant::now();
    let mut reader = at.db.read().await?;
    let hits: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT id, document, changed FROM plain_cases
         WHERE organization = $1 AND record_number = $2 AND project = $3 ORDER BY number LIMIT 1000",
    )
    .bind(at.organization.to_string())
    .bind(&wanted)
    .bind(at.project.to_string())
    .fetch_all(&mut *reader)
    .await?;
    let mut found = 0;
    for (_, document, _) in &hits {
        let document: CaseDocument = serde_json::from_str(document)?;
        found += u32::from(document.patient.record_number.is_some());
    }
    if found == 1 { Ok(began.elapsed()) } else { Err("not one plain case was found".into()) }
}

/// Both sides, and the keys of the sealed one: the customer's, what it wraps, and those open.
struct Sides {
    sealed: Place,
    plain: Place,
    customer: Arc<dyn CustomerKey>,
    set: KeySet,
    keys: Arc<Keys>,
}

/// Both sides in `dir`, empty.
async fn sides(dir: &Path) -> Result<Sides, Failure> {
    let (sealed, plain) =
        (place(&dir.join("sealed.db")).await?, place(&dir.join("plain.db")).await?);
    let (customer, set) = make_keys(dir, sealed.organization).await?;
    let keys = open_keys(&customer, &set).await?;
    let mut tx = sealed.db.write().await?;
    for field in FIELDS {
        let mode = cases::judge(field, None)?.mode;
        data::case_indexes::insert(&mut tx, sealed.organization, field, 1, mode, Time::now())
            .await?;
    }
    for index in data::case_indexes::of_organization(&mut tx, sealed.organization).await? {
        data::case_indexes::go_live(&mut tx, &index, Time::now()).await?;
    }
    tx.commit().await?;
    let mut tx = plain.db.write().await?;
    make_plain(&mut tx).await?;
    tx.commit().await?;
    Ok(Sides { sealed, plain, customer, set, keys })
}

/// Finds `finds` of `rows` cases by record number on either side in turn: the sealed times, and the plain ones.
async fn finds(
    (sealed, plain): (&Place, &Place),
    keys: &Keys,
    rows: u32,
    finds: u32,
) -> Result<[Vec<Duration>; 2], Failure> {
    let mut took = [Vec::new(), Vec::new()];
    for find in 0..finds {
        let number = find.wrapping_mul(2_654_435_761) % rows.max(1);
        took[0].push(find_sealed(sealed, keys, number).await?);
        took[1].push(find_plain(plain, number).await?);
    }
    Ok(took)
}

/// Adds `rows` cases to both databases in `dir`, `batch` at a time and in turn, then finds some of them on either side.
///
/// # Errors
/// Whatever a database says, or a case that was not found.
pub async fn cases_beside_plain(
    dir: &Path,
    rows: u32,
    batch: u32,
    find: u32,
) -> Result<CaseFigures, Failure> {
    let Sides { sealed, plain, customer, mut set, keys } = sides(dir).await?;
    let mut figures = CaseFigures {
        sealed: Duration::ZERO,
        plain: Duration::ZERO,
        sealed_finds: Vec::new(),
        plain_finds: Vec::new(),
        rewrapped: Duration::ZERO,
        sealed_bytes: 0,
        plain_bytes: 0,
    };
    let mut first = 0;
    while first < rows {
        let last = rows.min(first + batch.max(1));
        let documents = (first..last).map(document).collect::<Result<Vec<_>, _>>()?;
        let began = Instant::now();
        add_sealed(&sealed, &keys, &documents, true).await?;
        figures.sealed += began.elapsed();
        let began = Instant::now();
        add_plain(&plain, &documents, true).await?;
        figures.plain += began.elapsed();
        first = last;
    }
    [figures.sealed_finds, figures.plain_finds] =
        finds((&sealed, &plain), &keys, rows, find).await?;
    let newer =
        KeyContext { organization: sealed.organization, purpose: KeyPurpose::Data, version: 2 };
    set.keys.push(make_key(&*customer, &newer).await?.kept);
    let keys = open_keys(&customer, &set).await?;
    let (mut after, mut anew) = (0, 0);
    let began = Instant::now();
    while let Some((last, some)) = rewrap_portion(&sealed.db, &keys, after, 2).await? {
        after = last;
        anew += some;
    }
    descriptions::bring_up(&sealed.db, &sealed.keys, HUB).await?;
    figures.rewrapped = began.elapsed();
    if anew != u64::from(rows) {
        return Err(format!("{anew} keys were wrapped anew, not {rows}").into());
    }
    sealed.db.close().await;
    plain.db.close().await;
    figures.sealed_bytes = std::fs::metadata(dir.join("sealed.db"))?.len();
    figures.plain_bytes = std::fs::metadata(dir.join("plain.db"))?.len();
    Ok(figures)
}

/// Fills both databases in `dir` with `rows` cases, which nothing is logged of, and finds `find` of them on either side in turn: the
/// sealed times, and the plain ones.
///
/// # Errors
/// As there.
pub async fn cases_found(
    dir: &Path,
    rows: u32,
    batch: u32,
    find: u32,
) -> Result<[Vec<Duration>; 2], Failure> {
    let Sides { sealed, plain, keys, .. } = sides(dir).await?;
    let mut first = 0;
    while first < rows {
        let last = rows.min(first + batch.max(1));
        let documents = (first..last).map(document).collect::<Result<Vec<_>, _>>()?;
        add_sealed(&sealed, &keys, &documents, false).await?;
        add_plain(&plain, &documents, false).await?;
        first = last;
    }
    let took = finds((&sealed, &plain), &keys, rows, find).await?;
    sealed.db.close().await;
    plain.db.close().await;
    Ok(took)
}

/// How long it takes to wrap the keys of `count` runs, samples and results anew under a new organization data key, in a key store in `dir`.
///
/// # Errors
/// Whatever the key store says, or a key that was not wrapped anew.
pub async fn dataset_keys_rewrapped(dir: &Path, count: u32) -> Result<Duration, Failure> {
    let organization = OrganizationId::generate();
    let (customer, mut set) = make_keys(dir, organization).await?;
    let keys = open_keys(&customer, &set).await?;
    let store = KeyStore::create(["keys-1", "keys-2"].map(|name| dir.join(name))).await?;
    let project = ProjectId::generate().to_bytes();
    let under = (0..count).map(|_| {
        let id = DatasetId::generate();
        let epochs = vec![(0, Some(Digest([7; 32])))];
        Under { id: id.to_string(), dataset: id.to_bytes(), project, epochs }
    });
    let under: Vec<Under> = under.collect();
    let portion = usize::try_from(PORTION)?;
    for some in under.chunks(portion) {
        let puts = some.iter().map(|under| async {
            let place =
                DatasetContext { dataset: under.dataset, project, card_digest: [7; 32], epoch: 0 };
            let kept = keys.wrap(&place, &DatasetKey::generate()?)?;
            Ok::<_, Failure>(store.put_dataset_key(under.dataset, 0, kept).await?)
        });
        for put in join_all(puts).await {
            put?;
        }
    }
    let newer = KeyContext { organization, purpose: KeyPurpose::Data, version: 2 };
    set.keys.push(make_key(&*customer, &newer).await?.kept);
    let keys = open_keys(&customer, &set).await?;
    let began = Instant::now();
    let mut anew = 0;
    for some in under.chunks(portion) {
        for done in join_all(some.iter().map(|under| one(&store, &keys, 2, under))).await {
            anew += u32::from(done?);
        }
    }
    let took = began.elapsed();
    if anew == count { Ok(took) } else { Err(format!("{anew} of {count} keys").into()) }
}
