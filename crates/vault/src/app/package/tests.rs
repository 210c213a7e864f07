//! Packages that were made well, damaged on the way, or made to do harm.

use super::*;

const MANIFEST: &str = r#"
format = "chorion.app/1"
name = "sample"
version = "1.2.3"
title = "Sample"
summary = "Does nothing"
licence = "Apache-2.0"
[[output]]
name = "all"
glob = "*"
kind = "file"
cap = "1 MiB"
[command]
argv = ["tool"]
[resources]
cpus = 1
memory = "64 MiB"
disk = "1 MiB"
wall_time = "1 min"
[root]
packages = ["tool"]
"#;

/// A small root: a program, a file, a link, the mount points.
fn good() -> (tempfile::TempDir, Vec<u8>, Head) {
    let folder = tempfile::tempdir().unwrap();
    let staging = Staging::below(folder.path()).unwrap();
    let mut tree = Tree::default();
    for (path, program, content) in
        [("usr/bin/tool", true, "tool"), ("usr/share/data", false, "some data")]
    {
        let (bytes, sha256) = staging.add(&mut content.as_bytes(), 100).unwrap();
        tree.put(path, Node::File { program, bytes, sha256 }, false).unwrap();
    }
    tree.put("bin", Node::Link("usr/bin".to_owned()), false).unwrap();
    for point in MOUNT_POINTS {
        tree.put(point, Node::Folder, false).unwrap();
    }
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let mut bytes = Vec::new();
    let head = write(&mut bytes, &manifest, &BillOfMaterials::default(), &tree, &staging).unwrap();
    (folder, bytes, head)
}

fn install(package: &[u8]) -> (tempfile::TempDir, Result<InstalledApp, PackageError>) {
    let folder = tempfile::tempdir().unwrap();
    let cache = AppCache::open(&folder.path().join("cache")).unwrap();
    let result = cache.install_from(package, "package", None);
    (folder, result)
}

/// Nothing but the cache folder itself may be below `folder`.
fn left_behind(folder: &tempfile::TempDir) -> usize {
    let cache = std::fs::read_dir(folder.path().join("cache")).unwrap().count();
    cache + std::fs::read_dir(folder.path()).unwrap().count() - 1
}

#[test]
fn what_was_packed_is_what_is_opened_and_the_same_input_gives_the_same_bytes() {
    let (_one, bytes, head) = good();
    let (_two, again, _) = good();
    assert!(bytes == again);
    let (_folder, installed) = install(&bytes);
    let app = installed.unwrap().verify().unwrap();
    assert_eq!(app.digest(), head.app_digest);
    assert_eq!(app.manifest().full_name(), "sample-1.2.3");
    assert_eq!(std::fs::read(app.root().join("bin/tool")).unwrap(), b"tool");
}

#[test]
fn an_app_other_than_the_expected_one_is_not_installed() {
    let (_staging, bytes, _) = good();
    let folder = tempfile::tempdir().unwrap();
    let cache = AppCache::open(&folder.path().join("cache")).unwrap();
    let result = cache.install_from(bytes.as_slice(), "package", Some(Digest::of(b"other")));
    assert!(matches!(result, Err(PackageError::Digest { .. })));
    assert_eq!(left_behind(&folder), 0);
}

#[test]
fn every_prefix_is_refused_and_leaves_nothing() {
    let (_staging, bytes, _) = good();
    for end in (0..bytes.len()).step_by(7) {
        let (folder, result) = install(&bytes[..end]);
        assert!(result.is_err(), "{end} of {}", bytes.len());
        assert_eq!(left_behind(&folder), 0);
    }
}

/// The package's archive, entry by entry, to be written anew with a change.
fn entries(package: &[u8]) -> Vec<(tar::Header, Vec<u8>)> {
    let plain = zstd::decode_all(package).unwrap();
    let mut archive = tar::Archive::new(plain.as_slice());
    let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.header().clone(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

fn rebuild(entries: &[(tar::Header, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (header, content) in entries {
        let mut header = header.clone();
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content.as_slice()).unwrap();
    }
    zstd::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap()
}

/// Written into the header by hand: the builder would refuse what a hostile archive holds.
fn entry(path: &str, kind: tar::EntryType, target: &str, content: &str) -> (tar::Header, Vec<u8>) {
    let mode = match kind {
        tar::EntryType::Directory => 0o755,
        tar::EntryType::Symlink => 0o777,
        _ => 0o644,
    };
    let mut header = header(mode, 0, kind);
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
    (header, content.as_bytes().to_vec())
}

#[test]
fn an_archive_that_reaches_outside_is_refused_and_leaves_nothing() {
    use tar::EntryType as Type;
    let (_staging, bytes, _) = good();
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    let victim = victim.to_str().unwrap();
    let hostile = [
        ("climbing", vec![entry("root/../../victim", Type::Regular, "", "x")]),
        ("climbing in the middle", vec![entry("root/usr/../../x", Type::Regular, "", "x")]),
        ("absolute", vec![entry(victim, Type::Regular, "", "x")]),
        ("absolute below root", vec![entry(&format!("root/{victim}"), Type::Regular, "", "x")]),
        ("outside the root", vec![entry("manifest.json", Type::Regular, "", "{}")]),
        ("hard link", vec![entry("root/z", Type::Link, "/etc/passwd", "")]),
        ("hard link within", vec![entry("root/z", Type::Link, "root/usr/bin/tool", "")]),
        ("character device", vec![entry("root/z", Type::Char, "", "")]),
        ("block device", vec![entry("root/z", Type::Block, "", "")]),
        ("pipe", vec![entry("root/z", Type::Fifo, "", "")]),
        ("link out", vec![entry("root/z", Type::Symlink, "../../etc", "")]),
        (
            "write through a link",
            vec![
                entry("root/z", Type::Symlink, outside.path().to_str().unwrap(), ""),
                entry("root/z/victim", Type::Regular, "", "x"),
            ],
        ),
        ("below a file", vec![entry("root/usr/share/data/x", Type::Regular, "", "x")]),
        ("a path twice", vec![entry("root/usr/share/data", Type::Regular, "", "some data")]),
        ("out of order", vec![entry("root/aaa", Type::Regular, "", "x")]),
        ("no folder before it", vec![entry("root/zz/x", Type::Regular, "", "x")]),
        ("the root itself", vec![entry("root/", Type::Directory, "", "")]),
        ("an extra file", vec![entry("root/zzz", Type::Regular, "", "")]),
    ];
    for (name, more) in hostile {
        let mut all = entries(&bytes);
        all.extend(more);
        let (folder, result) = install(&rebuild(&all));
        assert!(result.is_err(), "{name}");
        assert_eq!(left_behind(&folder), 0, "{name}");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn any_change_of_content_mode_name_or_link_is_refused() {
    let (_staging, bytes, _) = good();
    let all = entries(&bytes);
    assert!(install(&rebuild(&all)).1.is_ok(), "unchanged, under another compression");
    for index in 0..all.len() {
        let path = all[index].0.path().unwrap().display().to_string();
        if path == "bill-of-materials.json" {
            continue;
        }
        let mut changes = Vec::new();
        let mut without = all.clone();
        let _gone = without.remove(index);
        changes.push(("without it", without));
        if !all[index].1.is_empty() {
            let mut changed = all.clone();
            changed[index].1[0] ^= 1;
            changes.push(("another byte", changed));
        }
        if path.starts_with("root/") {
            let mut changed = all.clone();
            changed[index].0.set_mode(0o4755);
            changes.push(("set-id", changed));
            let mut changed = all.clone();
            let mode = changed[index].0.mode().unwrap();
            changed[index].0.set_mode(mode ^ 0o111);
            changes.push(("another mode", changed));
        }
        if all[index].0.entry_type() == tar::EntryType::Symlink {
            let mut changed = all.clone();
            changed[index].0.set_link_name("usr/bim").unwrap();
            changes.push(("another target", changed));
        }
        for (name, changed) in changes {
            assert!(install(&rebuild(&changed)).1.is_err(), "{path}: {name}");
        }
    }
}

#[test]
fn more_bytes_than_the_head_states_are_not_written() {
    let (_staging, bytes, _) = good();
    let mut all = entries(&bytes);
    // 64 MiB of zeros are a few kilobytes under compression.
    let large = String::from_utf8(vec![0; 64 << 20]).unwrap();
    all.push(entry("root/zzz", tar::EntryType::Regular, "", &large));
    let (folder, result) = install(&rebuild(&all));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("larger than"), "{error}");
    assert_eq!(left_behind(&folder), 0);
    // Nor does a length in a header that the archive does not hold do anything.
    let mut huge = all[3].clone();
    huge.0.set_size(1 << 40);
    huge.0.set_cksum();
    let mut plain = zstd::decode_all(bytes.as_slice()).unwrap();
    plain.truncate(plain.len() - 1024);
    plain.extend_from_slice(huge.0.as_bytes());
    assert!(install(&zstd::encode_all(plain.as_slice(), 1).unwrap()).1.is_err());
}

#[test]
fn a_cache_that_changed_on_disk_does_not_verify() {
    let (_staging, bytes, _) = good();
    let changes: [fn(&Path); 6] = [
        |app| std::fs::write(app.join("root/usr/bin/tool"), "evil").unwrap(),
        |app| std::fs::write(app.join("root/usr/bin/more"), "").unwrap(),
        |app| std::fs::remove_file(app.join("root/usr/share/data")).unwrap(),
        |app| {
            let tool = app.join("root/usr/bin/tool");
            std::fs::set_permissions(tool, PermissionsExt::from_mode(0o644)).unwrap();
        },
        |app| {
            std::fs::remove_file(app.join("root/bin")).unwrap();
            std::os::unix::fs::symlink("usr/share", app.join("root/bin")).unwrap();
        },
        |app| {
            let place = app.join("manifest.json");
            let text = std::fs::read_to_string(&place).unwrap();
            std::fs::write(place, text.replace("Does nothing", "Does much")).unwrap();
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let (folder, installed) = install(&bytes);
        let installed = installed.unwrap();
        assert!(installed.verify().is_ok());
        change(&installed.folder);
        assert!(installed.verify().is_err(), "change {number}");
        // Installing again puts the right one in its place.
        let cache = AppCache::open(&folder.path().join("cache")).unwrap();
        let again = cache.install_from(bytes.as_slice(), "package", None).unwrap();
        assert!(again.verify().is_ok(), "change {number}");
    }
}
