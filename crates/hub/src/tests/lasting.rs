//! What outlives a facility or a program: an erasure that was answered, and the version of a database.

use api::{DatasetKind, Deletion, Page, SealedObject};
use serde_json::json;

use super::material::{at, sent};
use crate::testing::TestHub;
use crate::{HubConfig, StartError, engine, open};

#[tokio::test]
async fn an_erasure_that_was_answered_does_not_depend_on_the_facility_that_took_it() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let project = hub.project(&ada, "cancer panel").await;
    let sealed = sent(&hub, &ada.key, project, DatasetKind::Run, &[("a", b"GATTACA")]).await;
    let id = sealed.dataset();
    let objects: Page<SealedObject> = hub.get(&ada.key, &at(id, "/objects")).await.ok();
    let names: Vec<String> = objects.items.iter().map(|object| object.hash.to_string()).collect();
    let data = hub.directory().join("data");
    let [a, b] = ["facility-a", "facility-b"].map(|name| data.join(name));
    let held = |root: &std::path::Path| {
        let mut found = 0;
        let mut open = vec![root.to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let name = entry.file_name().into_string().unwrap();
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                } else {
                    found += usize::from(names.contains(&name));
                }
            }
        }
        found
    };
    assert_eq!((held(&a), held(&b)), (names.len(), names.len()));

    // One facility is away while it is deleted; then the one that took the erasure is lost, and the other comes back.
    let away = hub.directory().join("away");
    std::fs::rename(&b, &away).unwrap();
    let gone: Deletion =
        hub.call(&ada.key, "DELETE", &at(id, ""), json!({"confirm": id})).await.ok();
    assert_eq!(gone.facilities_pending.len(), 1);
    assert_eq!(held(&a), 0);
    std::fs::rename(&a, hub.directory().join("lost")).unwrap();
    std::fs::rename(&away, &b).unwrap();
    let hub = hub.restart().await;
    assert_eq!(held(&b), names.len(), "nobody but the database knows that it is erased");
    engine::bring_to_an_end(&hub.hub).await.unwrap();
    assert_eq!(held(&b), 0);

    // The one that was thought lost comes back as well.
    std::fs::rename(hub.directory().join("lost"), &a).unwrap();
    let hub = hub.restart().await;
    engine::bring_to_an_end(&hub.hub).await.unwrap();
    assert!(
        crate::data::erasures::some(&mut hub.hub.db.read().await.unwrap(), &[], 10)
            .await
            .unwrap()
            .is_empty(),
        "every facility has confirmed"
    );
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_with_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let config = HubConfig::new(root.path().join("data"));
    let opened = open::open(&config).await.unwrap();
    let mut tx = opened.db.write().await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9000, 'of a time to come', 1, x'00', 0)",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    opened.db.close().await;
    drop(opened);
    let refused = open::open(&config).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, StartError::NewerDatabase { found: 9000, .. }), "{refused}");
    assert!(refused.hint().unwrap().contains("backup restore"));
}

#[tokio::test]
async fn a_lost_database_is_not_made_anew_by_a_start() {
    let root = tempfile::tempdir().unwrap();
    let config = HubConfig::new(root.path().join("data"));
    let opened = open::open(&config).await.unwrap();
    opened.db.close().await;
    drop(opened);
    std::fs::remove_file(root.path().join("data/hub.db")).unwrap();
    let refused = open::open(&config).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, StartError::DatabaseMissing { .. }), "{refused}");
    assert!(refused.hint().unwrap().contains("rebuild-index"));
    assert!(!root.path().join("data/hub.db").exists());
}
