//! A key that an organization holds itself: taken in use, asked for once in a lease, taken away, given back, rotated, left.

use api::{
    Custodian, Dataset, DatasetId, DatasetKind, ErrorCode, Event, KeyAway, KeyProvider,
    KeyStanding, KeyTest, KeyTrouble, Organization, OrganizationId, OrganizationKeyStatus, Outcome,
    Page, Plan, Project, ProjectId, RecoveryCopy, Role, Rotation, SetOrganizationKey, Task,
    TaskState,
};
use dataset::OpenDataset;
use proof::sha256;
use seal::recipient::{RecipientKey, RecipientSecret, unwrap, wrap_to};
use serde_json::json;

use super::material::{at, card, close, content, on_disk, put_all, released};
use super::organizations::{member, organization};
use super::tasks::{Vault, queue};
use crate::app::organization_keys::{drop_salt, keep_up, make_salt, open};
use crate::app::projects::own_context;
use crate::testing::{Person, TestHub};

/// A clinic with a key of its own, in a file that a test takes away.
pub(super) struct Clinic {
    pub(super) hub: TestHub,
    pub(super) id: OrganizationId,
    pub(super) admin: Person,
    pub(super) lab: Person,
    pub(super) auditor: Person,
}

impl Clinic {
    /// On the enterprise plan, without a key yet.
    pub(super) async fn new() -> Self {
        let hub = TestHub::start().await;
        let operator = hub.operator().await;
        let id = organization(&hub, &operator, "clinic").await;
        let plan = json!({"plan": Plan::Enterprise});
        let path = format!("/api/v1/organizations/{id}/plan");
        hub.call(&operator.key, "PUT", &path, plan).await.ok::<Organization>();
        let admin = member(&hub, &operator, id, Role::Administrator).await;
        let lab = member(&hub, &admin, id, Role::Lab).await;
        let auditor = member(&hub, &admin, id, Role::Auditor).await;
        Self { hub, id, admin, lab, auditor }
    }

    pub(super) async fn with_key() -> Self {
        let clinic = Self::new().await;
        clinic.set("first", None).await;
        clinic
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/organizations/{}/key{rest}", self.id)
    }

    fn body(&self, name: &str, recovery: Option<String>) -> SetOrganizationKey {
        SetOrganizationKey {
            service: api::KeyService::LocalFile { name: name.to_owned() },
            credentials: api::KeyCredentials::None,
            lease_seconds: None,
            unattested: None,
            secret_expires: None,
            recovery,
            confirm: self.id.to_string(),
        }
    }

    async fn set(&self, name: &str, recovery: Option<String>) -> KeyTest {
        let body = self.body(name, recovery);
        self.hub.call(&self.admin.key, "PUT", &self.path(""), body).await.ok()
    }

    async fn status(&self) -> OrganizationKeyStatus {
        self.hub.get(&self.auditor.key, &self.path("")).await.ok()
    }

    pub(super) fn file(&self, name: &str) -> std::path::PathBuf {
        self.hub.directory().join("customers").join(self.id.to_string()).join(name)
    }

    /// The customer takes the key away.
    pub(super) fn take_away(&self) {
        std::fs::rename(self.file("first"), self.file("first.away")).unwrap();
    }

    /// The customer gives it back.
    pub(super) fn give_back(&self) {
        std::fs::rename(self.file("first.away"), self.file("first")).unwrap();
    }

    async fn recipient(&self) -> Vec<u8> {
        let path = format!("/api/v1/organizations/{}", self.id);
        self.hub.get(&self.lab.key, &path).await.ok::<Organization>().recipient.unwrap().0
    }

    /// A project whose key the organization holds.
    pub(super) async fn project(&self, name: &str) -> ProjectId {
        let id = ProjectId::generate();
        let key = seal::DatasetKey::generate().unwrap();
        let to = RecipientKey::from_bytes(&self.recipient().await).unwrap();
        let body = api::CreateProject {
            id,
            custodian: Custodian::Organization,
            wrapped_key: api::Bytes(wrap_to(&to, &own_context(id).bytes(), &key).unwrap()),
            label: api::Bytes(
                seal::label::seal_label(&key, "project name", name.as_bytes()).unwrap(),
            ),
            card: None,
            organization: Some(self.id),
        };
        let made: Project =
            self.hub.call(&self.lab.key, "POST", "/api/v1/projects", body).await.ok();
        assert_eq!(made.custodian, Custodian::Organization);
        id
    }

    async fn creation(&self, project: ProjectId) -> (OpenDataset, api::CreateDataset) {
        let card = card(&self.hub, &self.lab.key, project).await;
        let open = OpenDataset::create(DatasetId::generate(), project, card).unwrap();
        let body = api::CreateDataset {
            id: open.dataset(),
            kind: DatasetKind::Run,
            project,
            card_digest: card,
            wrapped_key: open.wrap_to(&self.recipient().await).unwrap(),
            label: open.seal_label("dataset name", b"240611_A01234").unwrap(),
            settings: None,
            parent: None,
            reads: None,
        };
        (open, body)
    }

    /// A run in it.
    pub(super) async fn run(&self, project: ProjectId) -> OpenDataset {
        let (open, body) = self.creation(project).await;
        self.hub.call(&self.lab.key, "POST", "/api/v1/datasets", body).await.ok::<Dataset>();
        open
    }

    async fn events(&self, act: &str) -> Vec<Event> {
        let path = format!("/api/v1/organizations/{}/events?limit=1000", self.id);
        let page: Page<Event> = self.hub.get(&self.auditor.key, &path).await.ok();
        page.items.into_iter().filter(|event| event.act == act).collect()
    }
}

#[tokio::test]
async fn what_an_organization_project_holds_is_under_the_customers_key() {
    let clinic = Clinic::with_key().await;
    let project = clinic.project("panel").await;
    let run = clinic.run(project).await;
    let shown: Dataset = clinic.hub.get(&clinic.lab.key, &at(run.dataset(), "")).await.ok();
    assert_eq!(shown.name.as_deref(), Some("240611_A01234"));
    let kept = clinic.hub.hub.keys.dataset_key(run.dataset().to_bytes(), 0).await.unwrap();
    assert_eq!(custody::organization::kept_version(clinic.id, &kept).unwrap(), 1);
    let again = released(&clinic.hub, &clinic.lab.key, run.dataset()).await;
    let sealed = run.seal_label("a name", b"the same key").unwrap();
    assert_eq!(again.open_label("a name", &sealed).unwrap(), b"the same key");
}

#[tokio::test]
async fn a_lease_asks_once_for_each_key_and_every_use_stands_in_the_log_before_it_is_made() {
    let clinic = Clinic::with_key().await;
    let project = clinic.project("panel").await;
    for _ in 0..5 {
        clinic.run(project).await;
    }
    let uses = clinic.events("kms.unwrap").await;
    let lease = uses.iter().filter(|event| !event.object.contains("/canary/"));
    let (intended, done): (Vec<_>, Vec<_>) =
        lease.partition(|event| event.outcome == Outcome::Intended);
    assert_eq!(
        (intended.len(), done.len()),
        (3, 3),
        "data, index, recipient, however much is done"
    );
    assert!(done.iter().all(|event| event.outcome == Outcome::Done && event.leaf.is_some()));
    assert!(done[0].object.starts_with(&format!("organization-key:{}/", clinic.id)));
    clinic.hub.pass(300);
    clinic.run(project).await;
    let after = clinic.events("kms.unwrap").await.len() - uses.len();
    assert_eq!(after, 6, "the next lease asks again");
}

#[tokio::test]
async fn a_key_taken_away_closes_every_surface_in_time_and_all_resumes_when_it_is_back() {
    let clinic = Clinic::with_key().await;
    let (hub, lab) = (&clinic.hub, &clinic.lab);
    let project = clinic.project("panel").await;
    let run = clinic.run(project).await;
    let held = open(&hub.hub, clinic.id).await.unwrap();
    clinic.take_away();
    hub.pass(299);
    keep_up_leases_only(hub);
    assert!(!held.is_ended(), "within the lease, and nobody has asked the service since");
    hub.pass(1);
    keep_up(&hub.hub).await.unwrap();
    assert!(held.is_ended(), "whoever still holds it has nothing in hand");

    let (other, creation) = clinic.creation(project).await;
    let to = RecipientSecret::generate().unwrap().public().to_bytes();
    let release = json!({"recipient": api::Bytes(to), "purpose": "download"});
    let name = format!("/api/v1/projects/{project}/release");
    for refused in [
        hub.call(&lab.key, "POST", &at(run.dataset(), "/release"), &release).await,
        hub.call(&lab.key, "POST", &name, &release).await,
        hub.call(&lab.key, "POST", "/api/v1/datasets", &creation).await,
        hub.call(&clinic.admin.key, "POST", &clinic.path("/use"), ()).await,
    ] {
        let problem = refused.problem();
        assert_eq!((problem.code, problem.status), (ErrorCode::KeyAway, 423), "{}", problem.title);
        let KeyAway { provider, key, trouble, .. } = problem.key.unwrap();
        assert_eq!((provider, trouble), (KeyProvider::LocalFile, KeyTrouble::NoSuchKey));
        assert_eq!(key, "first");
        assert!(problem.hint.unwrap().contains("recover"), "what to do");
    }
    // Lists show what they can: ids and states, and no name.
    let listed: Page<Dataset> = hub.get(&lab.key, "/api/v1/datasets").await.ok();
    assert_eq!(listed.items.len(), 1);
    assert_eq!(listed.items[0].name, None);
    let projects: Page<Project> = hub.get(&lab.key, "/api/v1/projects").await.ok();
    assert_eq!(projects.items[0].name, None);
    let status = clinic.status().await;
    assert_eq!(
        (status.standing, status.trouble),
        (KeyStanding::TakenAway, Some(KeyTrouble::NoSuchKey))
    );
    assert_eq!(clinic.events("organization.key.away").await.len(), 1, "once, however many asked");

    clinic.give_back();
    let early = hub.call(&lab.key, "POST", "/api/v1/datasets", &creation).await;
    assert_eq!(early.code(), ErrorCode::KeyAway, "what was heard counts until the next probe");
    hub.pass(30);
    keep_up(&hub.hub).await.unwrap();
    hub.call(&lab.key, "POST", "/api/v1/datasets", &creation).await.ok::<Dataset>();
    assert_eq!(released(hub, &lab.key, other.dataset()).await.dataset(), other.dataset());
    assert_eq!(clinic.status().await.standing, KeyStanding::InForce);
    assert_eq!(clinic.events("organization.key.back").await.len(), 1);
}

/// What a second does without a probe.
fn keep_up_leases_only(hub: &TestHub) {
    hub.hub.organization_keys.sweep(hub.hub.now());
}

#[tokio::test]
async fn a_probe_that_is_denied_drops_what_is_held_long_before_the_lease_ends() {
    let clinic = Clinic::with_key().await;
    clinic.project("panel").await;
    let held = open(&clinic.hub.hub, clinic.id).await.unwrap();
    clinic.take_away();
    clinic.hub.pass(30);
    keep_up(&clinic.hub.hub).await.unwrap();
    assert!(held.is_ended());
    let status = clinic.status().await;
    assert_eq!(status.standing, KeyStanding::TakenAway);
    assert!(status.effect_seconds <= status.lease_seconds);
    assert_eq!(status.effect_unreachable_seconds, 300);
}

#[tokio::test]
async fn in_a_hundred_trials_a_revocation_has_its_effect_within_the_stated_time() {
    let clinic = Clinic::with_key().await;
    clinic.project("panel").await;
    for trial in 0..100_i64 {
        let held = open(&clinic.hub.hub, clinic.id).await.unwrap();
        let stated = i64::from(clinic.status().await.effect_seconds);
        // Wherever in the lease and between two probes it happens.
        clinic.hub.pass(trial % 29);
        keep_up(&clinic.hub.hub).await.unwrap();
        clinic.take_away();
        let mut passed = 0;
        while !held.is_ended() {
            clinic.hub.pass(1);
            passed += 1;
            assert!(passed <= stated, "trial {trial}: {passed} s are more than {stated}");
            keep_up(&clinic.hub.hub).await.unwrap();
        }
        let refused = open(&clinic.hub.hub, clinic.id).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::KeyAway);
        clinic.give_back();
        clinic.hub.pass(30);
        keep_up(&clinic.hub.hub).await.unwrap();
    }
}

#[tokio::test]
async fn set_up_needs_the_plan_the_role_and_a_confirmation_and_says_what_it_did() {
    let clinic = Clinic::new().await;
    let hub = &clinic.hub;
    let body = clinic.body("first", None);
    for (who, code) in
        [(&clinic.lab, ErrorCode::Forbidden), (&clinic.auditor, ErrorCode::Forbidden)]
    {
        assert_eq!(hub.call(&who.key, "PUT", &clinic.path(""), &body).await.code(), code);
    }
    let unsure = SetOrganizationKey { confirm: "yes".into(), ..body.clone() };
    let refused = hub.call(&clinic.admin.key, "PUT", &clinic.path(""), unsure).await.problem();
    assert!(refused.hint.unwrap().contains("loses the data"));
    let long = SetOrganizationKey { lease_seconds: Some(3601), ..body.clone() };
    assert_eq!(
        hub.call(&clinic.admin.key, "PUT", &clinic.path(""), long).await.code(),
        ErrorCode::BadRequest
    );
    for name in ["../platform.key", "a/b", ""] {
        let outside = clinic.body(name, None);
        let refused = hub.call(&clinic.admin.key, "PUT", &clinic.path(""), outside).await;
        assert_eq!(refused.code(), ErrorCode::BadRequest, "{name}");
    }
    assert_eq!(hub.get(&clinic.admin.key, &clinic.path("")).await.code(), ErrorCode::Conflict);
    let test = clinic.set("first", None).await;
    assert!(test.done.iter().any(|line| line.contains("unwrapped again")), "{:?}", test.done);
    assert!(test.warnings.iter().any(|line| line.contains("development")), "{:?}", test.warnings);
    let status = clinic.status().await;
    assert_eq!(status.standing, KeyStanding::InForce);
    assert_eq!(status.versions.len(), 4);
    assert!(status.warnings.iter().any(|line| line.contains("no recovery copy")));
    assert_eq!(hub.get(&clinic.lab.key, &clinic.path("")).await.code(), ErrorCode::Forbidden);
}

#[tokio::test]
async fn the_recovery_copy_opens_with_the_offline_key_and_is_red_until_it_is_stored() {
    let clinic = Clinic::new().await;
    let (hub, admin) = (&clinic.hub, &clinic.admin);
    let offline = RecipientSecret::generate().unwrap();
    clinic.set("first", Some(offline.public().to_string())).await;
    assert_eq!(clinic.status().await.recovery_stored, Some(false));
    let stored =
        |copy: &RecoveryCopy| json!({"digest": sha256(&serde_json::to_vec(copy).unwrap())});
    let copy: RecoveryCopy = hub.get(&admin.key, &clinic.path("/recovery")).await.ok();
    let path = clinic.path("/recovery/stored");
    assert!(hub.call(&admin.key, "POST", &path, stored(&copy)).await.status.is_success());
    assert_eq!(clinic.status().await.recovery_stored, Some(true));

    // What is in the copy is what wraps: a dataset key opens with it, without the customer's key or the hub.
    let project = clinic.project("panel").await;
    let kept = hub.hub.keys.dataset_key(project.to_bytes(), 0).await.unwrap();
    let data = copy.keys.iter().find(|key| key.purpose == api::KeyPurpose::Data).unwrap();
    let of = custody::kms::KeyContext {
        organization: clinic.id,
        purpose: data.purpose,
        version: data.version,
    };
    let opened = unwrap(&offline, &of.bytes(), &data.sealed.0).unwrap();
    let under = seal::KeyEncryptionKey::from_bytes(*opened.expose());
    seal::wrap::unwrap_dataset_key(&under, &own_context(project), &kept[22..]).unwrap();

    let rotate = json!({"kind": "data_key"});
    hub.call(&admin.key, "POST", &clinic.path("/rotate"), rotate).await.ok::<Rotation>();
    assert_eq!(clinic.status().await.recovery_stored, Some(false), "a new version, a new copy");
    assert_eq!(
        hub.call(&admin.key, "POST", &path, stored(&copy)).await.code(),
        ErrorCode::Conflict,
        "the old copy is not the new one"
    );
}

#[tokio::test]
async fn a_new_data_key_takes_over_online_and_the_old_one_goes_when_nothing_is_under_it() {
    let clinic = Clinic::with_key().await;
    let (hub, admin) = (&clinic.hub, &clinic.admin);
    let project = clinic.project("panel").await;
    let old = clinic.run(project).await;
    let calls = clinic.events("kms.wrap").await.len();
    let rotate = json!({"kind": "data_key"});
    let begun: Rotation = hub.call(&admin.key, "POST", &clinic.path("/rotate"), &rotate).await.ok();
    assert_eq!((begun.to, begun.done, begun.total, begun.ended), (2, 0, 2, None));
    assert_eq!(
        hub.call(&admin.key, "POST", &clinic.path("/rotate"), &rotate).await.code(),
        ErrorCode::Conflict
    );
    // New data is under the new one at once, old data opens all the while.
    let new = clinic.run(project).await;
    released(hub, &clinic.lab.key, old.dataset()).await;
    let version = async |id: DatasetId| {
        let kept = hub.hub.keys.dataset_key(id.to_bytes(), 0).await.unwrap();
        custody::organization::kept_version(clinic.id, &kept).unwrap()
    };
    assert_eq!((version(old.dataset()).await, version(new.dataset()).await), (1, 2));
    keep_up(&hub.hub).await.unwrap();
    assert_eq!(version(old.dataset()).await, 2);
    assert_eq!(
        clinic.status().await.rotations[0].ended,
        None,
        "calls of before may be at work yet"
    );
    hub.pass(60);
    keep_up(&hub.hub).await.unwrap();
    let status = clinic.status().await;
    assert_eq!(status.rotations[0].done, 2);
    assert!(status.rotations[0].ended.is_some());
    let data = status.versions.iter().filter(|key| key.purpose == api::KeyPurpose::Data);
    assert_eq!(data.map(|key| key.version).collect::<Vec<_>>(), [2], "the old one is gone");
    let wraps = clinic.events("kms.wrap").await;
    let wraps = wraps[calls..].iter().filter(|event| !event.object.contains("/canary/")).count();
    assert_eq!(wraps, 2, "one call, announced and done, whatever the number of datasets");
    for id in [old.dataset(), new.dataset()] {
        released(hub, &clinic.lab.key, id).await;
    }
}

#[tokio::test]
async fn a_data_key_rotation_goes_on_after_a_restart() {
    let clinic = Clinic::with_key().await;
    let project = clinic.project("panel").await;
    let run = clinic.run(project).await;
    let rotate = json!({"kind": "data_key"});
    let path = clinic.path("/rotate");
    clinic.hub.call(&clinic.admin.key, "POST", &path, rotate).await.ok::<Rotation>();
    let Clinic { hub, id, admin, lab, auditor } = clinic;
    let clinic = Clinic { hub: hub.restart().await, id, admin, lab, auditor };
    keep_up(&clinic.hub.hub).await.unwrap();
    clinic.hub.pass(60);
    keep_up(&clinic.hub.hub).await.unwrap();
    assert!(clinic.status().await.rotations[0].ended.is_some());
    released(&clinic.hub, &clinic.lab.key, run.dataset()).await;
}

#[tokio::test]
async fn another_key_of_the_customer_takes_over_by_wrapping_anew_and_the_old_one_is_not_needed_any_more()
 {
    let clinic = Clinic::with_key().await;
    let project = clinic.project("panel").await;
    let run = clinic.run(project).await;
    let before = clinic.events("kms.unwrap").await.len() + clinic.events("kms.wrap").await.len();
    clinic.set("second", None).await;
    let calls = clinic.events("kms.unwrap").await.len() + clinic.events("kms.wrap").await.len();
    assert!((calls - before) / 2 <= 10, "{} calls", (calls - before) / 2);
    std::fs::remove_file(clinic.file("first")).unwrap();
    released(&clinic.hub, &clinic.lab.key, run.dataset()).await;
    let status = clinic.status().await;
    assert!(status.versions.iter().all(|key| key.key.ends_with("/second")), "{status:?}");
    assert_eq!(status.service.key(), "second");
    let rotate = json!({"kind": "customer_key"});
    let path = clinic.path("/rotate");
    let done: Rotation = clinic.hub.call(&clinic.admin.key, "POST", &path, rotate).await.ok();
    assert_eq!((done.done, done.total), (4, 4));
    released(&clinic.hub, &clinic.lab.key, run.dataset()).await;
}

#[tokio::test]
async fn neither_credentials_nor_keys_stand_anywhere_on_the_disk() {
    let clinic = Clinic::with_key().await;
    let canary = "a-canary-of-a-secret-7f3a";
    let body = SetOrganizationKey {
        credentials: api::KeyCredentials::ClientSecret {
            secret: api::Secret::new(canary.to_owned().into()),
        },
        ..clinic.body("first", None)
    };
    let answer = clinic.hub.call(&clinic.admin.key, "PUT", &clinic.path(""), body).await;
    answer.ok::<KeyTest>();
    let status = clinic.hub.get(&clinic.admin.key, &clinic.path("")).await;
    assert!(!String::from_utf8_lossy(&status.body).contains(canary));
    assert_eq!(on_disk(&clinic.hub, canary.as_bytes()), Vec::<std::path::PathBuf>::new());
    let project = clinic.project("a-name-nobody-reads").await;
    assert_eq!(on_disk(&clinic.hub, b"a-name-nobody-reads"), Vec::<std::path::PathBuf>::new());
    let keys = open(&clinic.hub.hub, clinic.id).await.unwrap();
    assert!(!format!("{keys:?} {:?}", clinic.hub.hub.organization_keys).contains(canary));
    let _kept = project;
}

#[tokio::test]
async fn a_queued_task_waits_while_the_key_is_away_and_starts_by_itself_when_it_is_back() {
    let clinic = Clinic::new().await;
    let body = SetOrganizationKey { unattested: Some(true), ..clinic.body("first", None) };
    let (hub, lab) = (&clinic.hub, &clinic.lab);
    hub.call(&clinic.admin.key, "PUT", &clinic.path(""), body).await.ok::<KeyTest>();
    let project = clinic.project("panel").await;
    let run = clinic.run(project).await;
    let files: [(&str, &[u8]); 1] = [("RunInfo.xml", b"a run")];
    let manifest = put_all(hub, &lab.key, &run, content(&run, &files), 1, None).await;
    clinic.take_away();
    hub.pass(30);
    keep_up(&hub.hub).await.unwrap();
    // What needs no key goes on: the run is closed, and its task waits.
    close(hub, &lab.key, &lab.key, &manifest, "?demultiplex=true").await.ok::<Dataset>();
    let tasks: Page<Task> = hub.get(&lab.key, "/api/v1/tasks").await.ok();
    let task = tasks.items[0].id;
    let mut started = queue(hub);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(started.try_recv().is_err(), "nobody starts what cannot be opened");
    let state = async || {
        let task: Task = hub.get(&lab.key, &format!("/api/v1/tasks/{task}")).await.ok();
        task.state
    };
    assert_eq!(state().await, TaskState::Queued);

    clinic.give_back();
    hub.pass(30);
    keep_up(&hub.hub).await.unwrap();
    let first = started.recv().await.unwrap();
    let (_vault, claimed) = Vault::of(hub, &first).await;
    assert_eq!(claimed.task.id, task);
    // Its vault ends because the key is taken away again: that counts as no vault lost, however often.
    for _ in 0..3 {
        clinic.take_away();
        hub.pass(30);
        keep_up(&hub.hub).await.unwrap();
        crate::app::tasks::lost(&hub.hub, task, 0, "its vault ended").await.unwrap();
        assert_eq!(state().await, TaskState::Queued);
        clinic.give_back();
        hub.pass(30);
        keep_up(&hub.hub).await.unwrap();
    }
}

#[tokio::test]
async fn a_salt_is_made_in_the_customers_store_and_its_index_key_goes_with_it() {
    let clinic = Clinic::with_key().await;
    let hub = &clinic.hub.hub;
    make_salt(hub, clinic.id, "mrn", 1).await.unwrap();
    let key = open(hub, clinic.id).await.unwrap().index_key("mrn", 1).unwrap();
    assert_eq!(key.blind(b"0042"), key.blind(b"0042"));
    clinic.set("second", None).await;
    let moved = open(hub, clinic.id).await.unwrap().index_key("mrn", 1).unwrap();
    assert_eq!(
        moved.blind(b"0042"),
        key.blind(b"0042"),
        "another key of the customer, the same index"
    );
    drop_salt(hub, clinic.id, "mrn", 1).await.unwrap();
    assert!(open(hub, clinic.id).await.unwrap().index_key("mrn", 1).is_err());
    assert!(clinic.events("kms.secret.keep").await.len() >= 2);
}
