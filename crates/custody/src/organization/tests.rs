//! The envelope of an organization's keys: leases, what a key taken away closes, and records that open in their place alone.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use api::{KeyPurpose, OrganizationId, Secret, Time};
use seal::DatasetKey;
use seal::recipient::RecipientKey;

use super::*;
use crate::conformance::{conforms, context};
use crate::kms::{
    CustomerKey, KeyContext, KeyDescription, KmsError, LocalFile, OrganizationKey, Provider,
    WrappedKey,
};
use crate::{Custodian, CustodyError};

/// A customer's key that a test takes away and gives back, and that counts what it was asked.
#[derive(Debug)]
struct Held {
    file: LocalFile,
    _folder: tempfile::TempDir,
    unwraps: AtomicUsize,
    says: Mutex<Option<fn() -> KmsError>>,
}

impl Held {
    fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let file = LocalFile::open(&folder.path().join("customer")).unwrap();
        let (unwraps, says) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { file, _folder: folder, unwraps, says })
    }

    fn answer(&self) -> Result<(), KmsError> {
        self.says.lock().unwrap().map_or(Ok(()), |says| Err(says()))
    }

    fn says(&self, what: Option<fn() -> KmsError>) {
        *self.says.lock().unwrap() = what;
    }

    fn unwraps(&self) -> usize {
        self.unwraps.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl CustomerKey for Held {
    fn provider(&self) -> Provider {
        Provider::LocalFile
    }
    async fn wrap(&self, of: &KeyContext, key: &OrganizationKey) -> Result<WrappedKey, KmsError> {
        self.answer()?;
        self.file.wrap(of, key).await
    }
    async fn unwrap(
        &self,
        of: &KeyContext,
        wrapped: &WrappedKey,
    ) -> Result<OrganizationKey, KmsError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        // Others come while the service thinks.
        tokio::task::yield_now().await;
        self.answer()?;
        self.file.unwrap(of, wrapped).await
    }
    async fn describe(&self) -> Result<KeyDescription, KmsError> {
        self.file.describe().await
    }
    async fn keep_secret(&self, name: &str, secret: &Secret) -> Result<String, KmsError> {
        self.file.keep_secret(name, secret).await
    }
    async fn secret(&self, place: &str) -> Result<Secret, KmsError> {
        self.answer()?;
        self.file.secret(place).await
    }
    async fn drop_secret(&self, place: &str) -> Result<(), KmsError> {
        self.file.drop_secret(place).await
    }
}

fn disabled() -> KmsError {
    KmsError::Disabled { key: "k".into() }
}

fn away() -> KmsError {
    KmsError::Away("no answer".into())
}

struct World {
    held: Arc<Held>,
    lease: Lease,
    recipient: RecipientKey,
    seconds: AtomicI64,
}

impl World {
    async fn new(lease: u32) -> Self {
        let held = Held::new();
        let organization = OrganizationId::generate();
        let mut keys = Vec::new();
        let mut recipient = None;
        for (purpose, version) in [
            (KeyPurpose::Data, 1),
            (KeyPurpose::Data, 2),
            (KeyPurpose::Index, 1),
            (KeyPurpose::Recipient, 1),
            (KeyPurpose::Canary, 1),
        ] {
            let of = KeyContext { organization, purpose, version };
            let new = make_key(&*held, &of).await.unwrap();
            recipient = recipient.or(new.recipient);
            keys.push(new.kept);
        }
        let place = held.keep_secret("mrn-1", &new_salt().unwrap()).await.unwrap();
        let salts = vec![KeptSalt { field: "mrn".into(), version: 1, index_key: 1, place }];
        let set = KeySet { organization, keys, salts };
        let customer: Arc<dyn CustomerKey> = Arc::clone(&held) as _;
        let lease = Lease::new(set, customer, lease).unwrap();
        let seconds = AtomicI64::new(1_800_000_000);
        Self { held, lease, recipient: recipient.unwrap(), seconds }
    }

    fn now(&self) -> Time {
        Time::from_second(self.seconds.load(Ordering::SeqCst)).unwrap()
    }

    fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
        self.lease.sweep(self.now());
    }

    async fn open(&self) -> Result<Arc<Keys>, Arc<KmsError>> {
        self.lease.open(|| self.now()).await
    }
}

#[tokio::test]
async fn the_organization_conforms_as_a_custodian() {
    let world = World::new(300).await;
    let keys = world.open().await.unwrap();
    conforms(&OrganizationCustodian::new(keys, world.recipient.clone()), true).await;
}

#[tokio::test]
async fn a_key_of_another_organization_is_not_taken_for_ones_own() {
    let (one, two) = (World::new(300).await, World::new(300).await);
    let (one, two) = (one.open().await.unwrap(), two.open().await.unwrap());
    let kept = one.wrap(&context(), &DatasetKey::generate().unwrap()).unwrap();
    assert_eq!(kept_version(one.organization(), &kept).unwrap(), 2, "the newest wraps");
    let refused = two.unwrap(&context(), &kept).unwrap_err();
    assert!(matches!(refused, CustodyError::OtherCustodian { .. }), "{refused:?}");
    let mut older = kept;
    older[21] = 1;
    assert!(matches!(one.unwrap(&context(), &older), Err(CustodyError::DoesNotOpen(_))));
    older[21] = 9;
    let refused = one.unwrap(&context(), &older);
    assert!(matches!(refused, Err(CustodyError::UnknownVersion { version: 9, .. })));
}

#[tokio::test]
async fn however_many_ask_each_key_is_unwrapped_once_in_a_lease() {
    let world = Arc::new(World::new(300).await);
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.open().await.map(|keys| keys.data_version().unwrap()) })
        })
        .collect();
    for one in asked {
        assert_eq!(one.await.unwrap().unwrap(), 2);
    }
    assert_eq!(world.held.unwraps(), 4, "two data keys, an index key, a recipient key");
    world.pass(299);
    world.open().await.unwrap();
    assert_eq!(world.held.unwraps(), 4, "within the lease nothing is asked");
    world.pass(1);
    world.open().await.unwrap();
    assert_eq!(world.held.unwraps(), 8, "its renewal is a real call, though it was used all along");
}

#[tokio::test]
async fn a_key_taken_away_is_gone_at_the_end_of_the_lease_and_at_once_when_a_probe_sees_it() {
    let world = World::new(300).await;
    let keys = world.open().await.unwrap();
    let kept = keys.wrap(&context(), &DatasetKey::generate().unwrap()).unwrap();
    world.held.says(Some(disabled));
    world.pass(299);
    assert!(keys.unwrap(&context(), &kept).is_ok(), "nobody has asked since");
    world.pass(1);
    // Whoever still holds them has nothing in hand.
    assert!(matches!(keys.unwrap(&context(), &kept), Err(CustodyError::LeaseEnded)));
    assert!(matches!(keys.index_key("mrn", 1), Err(CustodyError::LeaseEnded)));
    let refused = world.open().await.unwrap_err();
    assert!(matches!(*refused, KmsError::Disabled { .. }));
    let asked = world.held.unwraps();
    for _ in 0..50 {
        world.open().await.unwrap_err();
    }
    assert_eq!(world.held.unwraps(), asked, "a crowd of callers is no crowd of calls");

    world.held.says(None);
    world.lease.probe(|| world.now()).await.unwrap();
    let keys = world.open().await.unwrap();
    assert!(keys.unwrap(&context(), &kept).is_ok(), "given back, all is as before");
    world.held.says(Some(disabled));
    world.lease.probe(|| world.now()).await.unwrap_err();
    assert!(keys.is_ended(), "a probe that is denied drops them at once");
    // Without a probe it is tried again by itself, half a minute later.
    world.held.says(None);
    world.open().await.unwrap_err();
    world.pass(30);
    world.open().await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_away_lets_the_lease_serve_to_its_end() {
    let world = World::new(300).await;
    let keys = world.open().await.unwrap();
    world.held.says(Some(away));
    world.lease.probe(|| world.now()).await.unwrap_err();
    world.pass(299);
    assert!(!world.open().await.unwrap().is_ended(), "an outage is no denial");
    world.pass(1);
    assert!(keys.is_ended());
    assert!(matches!(*world.open().await.unwrap_err(), KmsError::Away(_)));
    world.held.says(None);
    world.pass(2);
    world.open().await.unwrap();
}

#[tokio::test]
async fn without_a_lease_every_call_asks() {
    let world = World::new(0).await;
    world.open().await.unwrap();
    world.open().await.unwrap();
    assert_eq!(world.held.unwraps(), 8);
    world.held.says(Some(disabled));
    assert!(world.open().await.is_err(), "and so the next call sees it");
    let set = world.lease.set().clone();
    let customer: Arc<dyn CustomerKey> = Arc::clone(&world.held) as _;
    assert_eq!(Lease::new(set, customer, 3601).unwrap_err(), LongestLease(3601));
}

#[tokio::test]
async fn a_salt_that_is_gone_stops_the_search_of_its_field_and_nothing_else() {
    let world = World::new(300).await;
    let blind = world.open().await.unwrap().index_key("mrn", 1).unwrap().blind(b"0042");
    world.held.drop_secret("mrn-1").await.unwrap();
    world.pass(300);
    let keys = world.open().await.unwrap();
    let refused = keys.index_key("mrn", 1).unwrap_err();
    assert!(matches!(refused, CustodyError::NoSalt { version: 1, cause: Some(_), .. }));
    assert!(matches!(keys.index_key("mrn", 2), Err(CustodyError::NoSalt { cause: None, .. })));
    keys.wrap(&context(), &DatasetKey::generate().unwrap()).unwrap();
    assert_eq!(blind.len(), BLIND_BYTES);
}

#[tokio::test]
async fn index_keys_differ_by_organization_field_version_and_salt() {
    let key = OrganizationKey::generate().unwrap();
    let salt = |text: &str| Secret::new(text.to_owned().into());
    let of = |salt_text: &str, organization, field, version| {
        IndexKey::derive(&key, &salt(salt_text), organization, field, version).blind(b"value")
    };
    let this = of("s", [1; 16], "mrn", 1);
    assert_eq!(this, of("s", [1; 16], "mrn", 1));
    for other in [
        of("t", [1; 16], "mrn", 1),
        of("s", [2; 16], "mrn", 1),
        of("s", [1; 16], "name", 1),
        of("s", [1; 16], "mrn", 2),
    ] {
        assert_ne!(this, other);
    }
    let salt = new_salt().unwrap();
    assert_eq!(salt.reveal().len(), SALT_CHARACTERS);
    assert!(salt.reveal().bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_ne!(salt.reveal(), new_salt().unwrap().reveal());
}

#[test]
fn a_record_opens_in_its_place_alone() {
    let key = DatasetKey::generate().unwrap();
    let (organization, case) = ([1; 16], [2; 16]);
    let records = RecordKey::of(&key, organization, case, 0);
    let place = RecordPlace { organization, case, field: "document", schema: 1 };
    let sealed = records.seal(&place, b"a person").unwrap();
    assert_eq!(sealed.len(), RECORD_OVERHEAD_BYTES + 8);
    assert_eq!(&**records.open(&place, &sealed).unwrap(), b"a person");
    for other in [
        RecordPlace { organization: [9; 16], ..place },
        RecordPlace { case: [9; 16], ..place },
        RecordPlace { field: "note", ..place },
        RecordPlace { schema: 2, ..place },
    ] {
        assert_eq!(records.open(&other, &sealed), Err(RecordError::DoesNotOpen), "{other:?}");
    }
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(records.open(&place, &changed).is_err(), "byte {at} was changed");
        assert!(records.open(&place, &sealed[..at]).is_err());
    }
    let elsewhere = RecordKey::of(&key, organization, [9; 16], 0);
    assert_eq!(elsewhere.open(&place, &sealed), Err(RecordError::DoesNotOpen));
    let later = RecordKey::of(&key, organization, case, 1);
    assert_eq!(later.open(&place, &sealed), Err(RecordError::Epoch { found: 0 }));
}

#[tokio::test]
async fn what_is_held_prints_nothing() {
    let world = World::new(300).await;
    let keys = world.open().await.unwrap();
    let custodian = OrganizationCustodian::new(Arc::clone(&keys), world.recipient.clone());
    assert_eq!(custodian.kind(), api::Custodian::Organization);
    let printed = format!("{keys:?} {custodian:?} {:?} {:?}", world.lease, new_salt().unwrap());
    assert!(!printed.contains("Secret(\"") && printed.contains("Secret(..)"), "{printed}");
}
