//! Who may use a data directory, and what it remembers.

use super::*;
use relais_protocol::ids::{ClusterId, NodeId};

fn place(machine: &str, boot: &str, device: u64, inode: u64) -> Place {
    Place { machine: Some(machine.into()), boot: Some(boot.into()), device, inode }
}

fn at(place: Place) -> DirOptions {
    DirOptions { accept_moved: false, place: Some(place) }
}

#[test]
fn each_start_is_a_new_incarnation_and_changes_are_kept() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a/b");
    let mut dir = DataDir::open(&path).unwrap();
    assert_eq!(dir.node().incarnation.0, 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(dir.folders().all().iter().all(|folder| folder.is_dir()));
    dir.update(|node| {
        node.cluster = Some(ClusterId(u128::MAX - 5));
        node.node = Some(NodeId(3));
        node.name = "amber".into();
    })
    .unwrap();
    drop(dir);
    let dir = DataDir::open(&path).unwrap();
    assert_eq!(dir.node().incarnation.0, 2);
    assert_eq!(dir.node().cluster, Some(ClusterId(u128::MAX - 5)));
    assert_eq!((dir.node().node, dir.node().name.as_str()), (Some(NodeId(3)), "amber"));
    assert_eq!(fs::metadata(path.join("node.json")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_second_process_is_refused_and_told_who_holds_it() {
    let temp = tempfile::tempdir().unwrap();
    let first = DataDir::open(temp.path()).unwrap();
    let refused = DataDir::open(temp.path()).unwrap_err();
    assert!(matches!(refused, DataDirError::InUse { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains(&std::process::id().to_string()) && text.contains("--data-dir"), "{text}");
    assert!(text.contains(first.folders().path().to_str().unwrap()), "{text}");
    let refused = HeldDir::hold(temp.path()).unwrap_err().to_string();
    assert!(refused.contains(&std::process::id().to_string()) && refused.contains("stop that node first"), "{refused}");
    let copy = tempfile::tempdir().unwrap();
    for name in ["relais", "node.json", "lock"] {
        fs::copy(temp.path().join(name), copy.path().join(name)).unwrap();
    }
    HeldDir::hold(copy.path()).expect("a copy can be looked into while the node runs");
    drop(first);
    assert_eq!(DataDir::open(temp.path()).unwrap().node().incarnation.0, 2, "the refused start counted nothing");
}

#[test]
fn a_directory_of_somebody_else_is_refused_untouched() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("thesis.tex"), "x").unwrap();
    let refused = DataDir::open(temp.path()).unwrap_err();
    assert!(matches!(&refused, DataDirError::Foreign { example, .. } if example == "thesis.tex"), "{refused}");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn a_file_in_the_way_is_an_error_with_its_path() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "x").unwrap();
    let refused = DataDir::open(file.join("dir")).unwrap_err();
    assert!(refused.to_string().contains("cannot create"), "{refused}");
}

#[test]
fn a_copied_directory_is_refused_until_accepted() {
    let temp = tempfile::tempdir().unwrap();
    drop(DataDir::open_with(temp.path(), &at(place("m1", "b1", 1, 10))).unwrap());
    for (there, why) in [
        (place("m2", "b9", 1, 10), "machine m2"),
        (place("m1", "b1", 1, 11), "inode 11"),
        (place("m1", "b1", 2, 10), "device 2"),
    ] {
        let refused = DataDir::open_with(temp.path(), &at(there)).unwrap_err();
        assert!(matches!(&refused, DataDirError::Moved { difference, .. } if difference.contains(why)), "{refused}");
        assert!(refused.to_string().contains("RELAIS_ACCEPT_MOVED=1"));
    }
    // After a reboot the device number may be another one.
    drop(DataDir::open_with(temp.path(), &at(place("m1", "b2", 2, 10))).unwrap());
    let moved = place("m2", "b1", 1, 99);
    let accept = DirOptions { accept_moved: true, place: Some(moved.clone()) };
    assert!(DataDir::open_with(temp.path(), &accept).unwrap().is_moved());
    assert!(!DataDir::open_with(temp.path(), &at(moved)).unwrap().is_moved(), "it is at home here now");
}

#[test]
fn a_real_copy_has_another_inode() {
    let temp = tempfile::tempdir().unwrap();
    let (original, copy) = (temp.path().join("one"), temp.path().join("two"));
    drop(DataDir::open(&original).unwrap());
    fs::create_dir(&copy).unwrap();
    for name in ["relais", "node.json"] {
        fs::copy(original.join(name), copy.join(name)).unwrap();
    }
    assert!(matches!(DataDir::open(&copy), Err(DataDirError::Moved { .. })));
    drop(DataDir::open(&original).unwrap());
}

#[test]
fn damage_and_a_newer_format_are_told_apart() {
    let temp = tempfile::tempdir().unwrap();
    drop(DataDir::open(temp.path()).unwrap());
    let file = temp.path().join("node.json");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, &good[..good.len() / 2]).unwrap();
    assert!(matches!(DataDir::open(temp.path()), Err(DataDirError::Damaged { .. })));
    fs::write(&file, good.replace("\"format\": 1", "\"format\": 7")).unwrap();
    assert!(matches!(DataDir::open(temp.path()), Err(DataDirError::TooNew { found: 7, .. })));
    fs::write(&file, good).unwrap();
    assert_eq!(DataDir::open(temp.path()).unwrap().node().incarnation.0, 2);
}
