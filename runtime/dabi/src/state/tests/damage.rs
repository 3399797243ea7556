//! Damage of any kind is found: what opens is exactly what was committed.

use std::fs;
use std::path::PathBuf;

use dabi_core::engine::state::{Commit, Space};
use dabi_core::version::Epoch;
use fastrand::Rng;

use super::model::Model;
use super::*;

const EPOCHS: u64 = 30;

/// A store of `EPOCHS` epochs, with a checkpoint and a log that follows it.
fn sample(kind: StoreKind, folder: &Path) {
    let (mut store, _) = open(kind, folder);
    for number in 1..=EPOCHS {
        store.commit(&workload::epoch(number)).unwrap();
    }
    drop(store);
    // what a checkpoint made superfluous goes at the latest now
    open(kind, folder);
}

/// All files below `folder`, those of the store first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("lock") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() { copy(&from, &to) } else { _ = fs::copy(from, to).unwrap() }
    }
}

/// A copy of `folder` that `harm` was done to, opened: is it rebuilt?
fn is_rebuilt(kind: StoreKind, folder: &Path, harm: impl FnOnce(&Path)) -> bool {
    let harmed = tempfile::tempdir().unwrap();
    copy(folder, harmed.path());
    harm(harmed.path());
    match open(kind, harmed.path()) {
        (store, Opened::Rebuild { aside, .. }) => {
            assert_eq!(store.committed(), None);
            assert!(aside.exists());
            true
        }
        (store, Opened::Recovered { .. }) => {
            workload::model_after(EPOCHS).check(&*store);
            false
        }
        (_, Opened::New) => panic!("a damaged store is not a new one"),
    }
}

fn flip(file: &Path, bit: u64) {
    let mut bytes = fs::read(file).unwrap();
    bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    sample(StoreKind::Memory, folder.path());
    let mut rng = Rng::with_seed(1);
    let names = files(folder.path());
    assert!(names.iter().any(|name| name.to_string_lossy().contains("checkpoint-")), "{names:?}");
    for file in names {
        let name = file.strip_prefix(folder.path()).unwrap();
        for _ in 0..40 {
            let bit = rng.u64(0..fs::metadata(&file).unwrap().len() * 8);
            let rebuilt =
                is_rebuilt(StoreKind::Memory, folder.path(), |folder| flip(&folder.join(name), bit));
            assert!(rebuilt, "bit {bit} of {}", name.display());
        }
    }
}

/// Fjall finds it at the latest when it reads the block; then the store is built
/// anew at the next start. What is only in its journal, the log makes right.
#[test]
fn a_flipped_bit_in_fjall_is_found_or_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    sample(StoreKind::Disk, folder.path());
    let mut rng = Rng::with_seed(2);
    for file in files(&folder.path().join("fjall")) {
        let name = file.strip_prefix(folder.path()).unwrap();
        let content = fs::read(&file).unwrap();
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        for _ in 0..if used == 0 { 0 } else { 8 } {
            let bit = rng.u64(0..used * 8);
            let harmed = tempfile::tempdir().unwrap();
            copy(folder.path(), harmed.path());
            flip(&harmed.path().join(name), bit);
            let opened = std::panic::catch_unwind(|| {
                let (store, opened) = open(StoreKind::Disk, harmed.path());
                if matches!(opened, Opened::Recovered { .. }) {
                    workload::model_after(EPOCHS).check(&*store);
                }
            });
            if opened.is_err() {
                let (_, opened) = open(StoreKind::Disk, harmed.path());
                assert!(
                    matches!(opened, Opened::Rebuild { .. }),
                    "bit {bit} of {}: {opened:?}",
                    name.display()
                );
            }
        }
    }
}

#[test]
fn a_missing_file_is_found() {
    for kind in [StoreKind::Memory, StoreKind::Disk] {
        let folder = tempfile::tempdir().unwrap();
        sample(kind, folder.path());
        for file in files(folder.path()) {
            let name = file.strip_prefix(folder.path()).unwrap();
            // fjall's journal is not relied upon, and has files that it makes anew
            let may_do_without = name.starts_with("fjall");
            let rebuilt =
                is_rebuilt(kind, folder.path(), |folder| fs::remove_file(folder.join(name)).unwrap());
            assert!(rebuilt || may_do_without, "{}", name.display());
        }
    }
}

#[test]
fn a_shortened_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    sample(StoreKind::Memory, folder.path());
    for file in files(folder.path()) {
        let name = file.strip_prefix(folder.path()).unwrap();
        let len = fs::metadata(&file).unwrap().len();
        for left in [0, 1, len / 2, len - 1] {
            let cut = |folder: &Path| {
                fs::File::options().write(true).open(folder.join(name)).unwrap().set_len(left)
            };
            let rebuilt = is_rebuilt(StoreKind::Memory, folder.path(), |folder| cut(folder).unwrap());
            assert!(rebuilt, "{left} bytes of {}", name.display());
        }
    }
}

/// An epoch of few bytes, each of which can be tried.
fn small(number: u64) -> Commit {
    let values = [(vec![1], Some(number.to_be_bytes().to_vec()))].into_iter().collect();
    let joins = [((vec![2], number.to_be_bytes().to_vec()), true)].into_iter().collect();
    Commit {
        puts: vec![workload::puts(Space(1), values)],
        regroupings: vec![workload::regroupings(Space(2), joins)],
        ..workload::epoch(number)
    }
}

/// A write that was torn, at every byte of the last epoch: the epoch before it
/// stands. Unless the last one was known to be durable: then it is damage.
#[test]
fn a_torn_write_is_told_from_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (log, mark) = (folder.path().join("log-00000000"), folder.path().join("mark"));
    let (mut store, _) = open(StoreKind::Memory, folder.path());
    store.commit(&small(1)).unwrap();
    let (whole, mark_before) = (fs::metadata(&log).unwrap().len(), fs::read(&mark).unwrap());
    store.commit(&small(2)).unwrap();
    drop(store);
    let (bytes, mark_after) = (fs::read(&log).unwrap(), fs::read(&mark).unwrap());
    for cut in whole..=bytes.len() as u64 {
        for (was_durable, mark_bytes) in [(false, &mark_before), (true, &mark_after)] {
            let copy = tempfile::tempdir().unwrap();
            fs::copy(folder.path().join("store"), copy.path().join("store")).unwrap();
            fs::write(copy.path().join("mark"), mark_bytes).unwrap();
            fs::write(copy.path().join("log-00000000"), &bytes[..usize::try_from(cut).unwrap()]).unwrap();
            let (store, opened) = open(StoreKind::Memory, copy.path());
            let is_whole = cut == bytes.len() as u64;
            if is_whole || !was_durable {
                assert!(matches!(opened, Opened::Recovered { .. }), "{cut}: {opened:?}");
                let mut model = Model::default();
                (1..=if is_whole { 2 } else { 1 }).for_each(|number| model.commit(&small(number)));
                model.check(&*store);
            } else {
                assert!(matches!(opened, Opened::Rebuild { .. }), "{cut}: {opened:?}");
            }
        }
    }
}

#[test]
fn an_older_copy_is_found_or_says_how_old_it_is() {
    for kind in [StoreKind::Memory, StoreKind::Disk] {
        let (folder, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mut store, _) = open(kind, folder.path());
        for number in 1..=EPOCHS {
            if number == 11 {
                drop(store);
                copy(folder.path(), older.path());
                (store, _) = open(kind, folder.path());
            }
            store.commit(&workload::epoch(number)).unwrap();
        }
        drop(store);
        open(kind, folder.path());
        // parts of it
        for file in files(older.path()).iter().filter(|file| !file.starts_with(older.path().join("fjall"))) {
            let name = file.strip_prefix(older.path()).unwrap();
            if fs::read(file).unwrap() != fs::read(folder.path().join(name)).unwrap_or_default() {
                let rebuilt =
                    is_rebuilt(kind, folder.path(), |folder| _ = fs::copy(file, folder.join(name)).unwrap());
                let is_left_over = !folder.path().join(name).exists();
                // an older mark promises less
                assert!(rebuilt || is_left_over || name.ends_with("mark"), "{}", name.display());
            }
        }
        if kind == StoreKind::Disk {
            // whether the log still reaches back to it depends on when the background
            // has put entries down; either way nothing older may open
            is_rebuilt(kind, folder.path(), |folder| {
                fs::remove_dir_all(folder.join("fjall")).unwrap();
                copy(&older.path().join("fjall"), &folder.join("fjall"));
            });
        }
        // all of it
        let (store, opened) = open(kind, older.path());
        assert!(matches!(opened, Opened::Recovered { .. }), "{opened:?}");
        workload::model_after(10).check(&*store);
    }
}

#[test]
fn another_ones_store_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    sample(StoreKind::Memory, folder.path());
    let other = Identity { pipeline: "other".to_owned(), ..identity() };
    let settings = settings(StoreKind::Memory, folder.path());
    let (_, opened) = open_with(&settings, &other, Files::default()).unwrap();
    let Opened::Rebuild { reason, aside } = opened else { panic!("{opened:?}") };
    assert!(reason.contains("pipeline shop"), "{reason}");
    let aside = files(&aside);
    assert!(aside.iter().any(|file| file.ends_with("store")), "{aside:?}");
}

#[test]
fn the_other_kind_is_put_aside_and_loaded_anew() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [StoreKind::Memory, StoreKind::Disk, StoreKind::Memory] {
        let (mut store, opened) = open(kind, folder.path());
        assert!(!matches!(opened, Opened::Recovered { .. }), "{opened:?}");
        (1..=EPOCHS).for_each(|number| store.commit(&workload::epoch(number)).unwrap());
        drop(store);
        let (store, opened) = open(kind, folder.path());
        assert!(matches!(opened, Opened::Recovered { .. }), "{opened:?}");
        workload::model_after(EPOCHS).check(&*store);
    }
}

#[test]
fn two_cannot_have_it() {
    for kind in [StoreKind::Memory, StoreKind::Disk] {
        let folder = tempfile::tempdir().unwrap();
        let _first = open(kind, folder.path());
        let second = open_with(&settings(kind, folder.path()), &identity(), Files::default());
        let error = second.err().expect("it is taken").to_string();
        assert!(error.contains("another process has it"), "{error}");
    }
}

#[test]
fn memory_is_bounded_and_disk_too() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        StateSettings { memory_bytes: Some(20 << 20), ..settings(StoreKind::Memory, folder.path()) };
    let (mut store, _) = open_with(&settings, &identity(), Files::default()).unwrap();
    let mut disk_max = 0;
    let refused = (1..).find_map(|number| {
        let commit = Commit {
            puts: vec![workload::puts(
                Space(1),
                // the same keys now and then, so that there is garbage
                (0..100_u64)
                    .map(|key| ((number % 900 * 100 + key).to_be_bytes().to_vec(), Some(vec![1; 300])))
                    .collect(),
            )],
            outbox: vec![0; 10_000],
            ..workload::epoch(number)
        };
        store.sent(Epoch(number.saturating_sub(3))).unwrap();
        let refused = store.commit(&commit).err();
        disk_max = disk_max.max(store.size().disk_bytes);
        refused
    });
    let error = refused.expect("it is bounded").to_string();
    assert!(error.contains("raise [state] memory_bytes"), "{error}");
    let size = store.size();
    assert!(size.memory_bytes < 24 << 20, "{size:?}");
    assert!(disk_max < 5 * (20 << 20), "{disk_max} bytes of files");
}
