//! Starts that are refused, and what they say.

use std::os::unix::fs::PermissionsExt;

use crate::open::open;
use crate::{HubConfig, StartError};

fn config(root: &std::path::Path) -> HubConfig {
    HubConfig::new(root.join("data"))
}

#[tokio::test]
async fn a_key_file_beside_what_it_opens_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let facility = root.path().join("disk");
    std::os::unix::fs::symlink(root.path().join("data"), root.path().join("link")).unwrap();
    for inside in
        ["data/platform.key", "data/deep/er/platform.key", "link/x.key", "disk/k", "data/../data/k"]
    {
        let config = HubConfig {
            key_file: Some(root.path().join(inside)),
            facilities: vec![facility.clone().into()],
            ..config(root.path())
        };
        let refused = open(&config).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, StartError::KeyFileInside { .. }), "{inside}: {refused}");
        assert!(refused.hint().unwrap().contains("--key-file"));
        assert!(!root.path().join("data/hub.db").exists());
    }
}

#[tokio::test]
async fn keys_lie_outside_the_data_directory_and_are_their_owners_alone() {
    let root = tempfile::tempdir().unwrap();
    drop(open(&config(root.path())).await.unwrap());
    for name in ["platform.key", "card.key", "log.key"] {
        let file = root.path().join("data.keys").join(name);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let refused = open(&config(root.path())).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, StartError::KeyFileOpen { mode: 0o640, .. }), "{refused}");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    }
    for private in ["data", "data.keys"] {
        let mode = std::fs::metadata(root.path().join(private)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{private}");
    }
    open(&config(root.path())).await.unwrap();
}

#[tokio::test]
async fn a_lost_or_foreign_key_file_stops_the_start_instead_of_being_made_anew() {
    let root = tempfile::tempdir().unwrap();
    drop(open(&config(root.path())).await.unwrap());
    let other = tempfile::tempdir().unwrap();
    drop(open(&config(other.path())).await.unwrap());
    for name in ["platform.key", "card.key", "log.key"] {
        let file = root.path().join("data.keys").join(name);
        let own = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let refused = open(&config(root.path())).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, StartError::KeyFileMissing { .. }), "{refused}");
        assert!(!file.exists());
        std::fs::copy(other.path().join("data.keys").join(name), &file).unwrap();
        let refused = open(&config(root.path())).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, StartError::KeyFile { .. }), "{refused}");
        std::fs::write(&file, own).unwrap();
    }
    open(&config(root.path())).await.unwrap();
}

#[tokio::test]
async fn a_facility_that_is_away_is_waited_for_and_not_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let facilities = vec![root.path().join("a").into(), root.path().join("b").into()];
    let config = HubConfig { facilities, ..config(root.path()) };
    drop(open(&config).await.unwrap());
    let away = root.path().join("elsewhere");
    std::fs::rename(root.path().join("b"), &away).unwrap();
    std::fs::create_dir(root.path().join("b")).unwrap();
    let opened = open(&config).await.unwrap();
    let status = opened.store.status().await;
    assert_eq!(status.len(), 2);
    assert_ne!(status[1].state, store::FacilityState::Healthy);
    assert_eq!(std::fs::read_dir(root.path().join("b")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_second_hub_on_the_same_data_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let first = open(&config(root.path())).await.unwrap();
    let second = open(&config(root.path())).await.map(|_| ()).unwrap_err();
    assert!(matches!(second, StartError::Locked { .. }), "{second}");
    drop(first);
    open(&config(root.path())).await.unwrap();
}
