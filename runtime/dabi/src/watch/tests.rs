use std::fs;
use std::time::{Duration, Instant};

use super::*;

fn noted(path: &str) -> Changed {
    let mut changed = Changed::default();
    note(&mut changed, Path::new("/srv/ann/transforms"), Path::new(path));
    changed
}

fn entry(name: &str) -> Changed {
    Changed { entries: BTreeSet::from([name.to_owned()]), everything: false }
}

#[test]
fn an_event_means_the_entry_that_it_is_in() {
    for (path, expected) in [
        ("/srv/ann/transforms/orders/src/lib.rs", entry("orders")),
        ("/srv/ann/transforms/orders", entry("orders")),
        ("/srv/ann/transforms/users.wasm", entry("users.wasm")),
        ("/srv/ann/transforms", Changed { everything: true, ..Changed::default() }),
        ("/srv/ann/notes.txt", Changed::default()),
        ("/srv/ann/transforms/orders/target/debug/x", Changed::default()),
        ("/srv/ann/transforms/orders/src/.lib.rs.swp", Changed::default()),
        ("/srv/ann/transforms/orders/src/lib.rs~", Changed::default()),
        ("/srv/ann/transforms/.orders.wasm.part", Changed::default()),
    ] {
        assert_eq!(noted(path), expected, "{path}");
    }
}

/// Gathers what is reported until it holds `entry` (or everything).
async fn until(watcher: &mut Watcher, entry: &str) -> Changed {
    let mut all = Changed::default();
    let gather = async {
        while !all.everything && !all.entries.contains(entry) {
            let changed = watcher.changed().await;
            all.entries.extend(changed.entries);
            all.everything |= changed.everything;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gather).await.expect("it is reported");
    all
}

/// What is reported within a fifth of a second.
async fn soon(watcher: &mut Watcher) -> Option<Changed> {
    tokio::time::timeout(Duration::from_millis(200), watcher.changed()).await.ok()
}

#[tokio::test]
async fn a_folder_that_was_deleted_is_watched_again_when_it_returns() {
    let home = tempfile::tempdir().expect("a folder");
    let dir = home.path().join("transforms");
    fs::create_dir(&dir).expect("a folder");
    let mut watcher = Watcher::new(&dir).expect("watches");
    fs::write(dir.join("a.wasm"), "a").expect("writes");
    assert!(until(&mut watcher, "a.wasm").await.entries.contains("a.wasm"));

    fs::remove_dir_all(&dir).expect("removes");
    while !until(&mut watcher, "a.wasm").await.everything {}
    fs::create_dir(&dir).expect("a folder");
    while !until(&mut watcher, "none").await.everything {}
    fs::create_dir_all(dir.join("b/src")).expect("a folder");
    until(&mut watcher, "b").await;
    // A folder is watched a moment after it was reported; until then it is quiet.
    while soon(&mut watcher).await.is_some() {}
    let save = || fs::write(dir.join("b/src/lib.rs"), "fn b() {}").expect("writes");
    let started = Instant::now();
    save();
    while !soon(&mut watcher).await.is_some_and(|changed| changed.entries.contains("b")) {
        assert!(started.elapsed() < Duration::from_secs(10), "what is saved in it is reported");
        save();
    }
}

#[tokio::test]
async fn a_file_renamed_over_another_is_a_change_and_reading_is_none() {
    let home = tempfile::tempdir().expect("a folder");
    let dir = home.path().join("transforms");
    fs::create_dir_all(dir.join("orders/src")).expect("a folder");
    let source = dir.join("orders/src/lib.rs");
    fs::write(&source, "1").expect("writes");
    let mut watcher = Watcher::new(&dir).expect("watches");
    fs::read(&source).expect("reads");
    let reported = soon(&mut watcher).await;
    assert!(reported.is_none(), "{reported:?}");

    fs::write(dir.join("orders/src/.lib.rs.new"), "2").expect("writes");
    fs::rename(dir.join("orders/src/.lib.rs.new"), &source).expect("renames");
    assert_eq!(until(&mut watcher, "orders").await, entry("orders"));
}
