//! Case 2: the disk does not give back what row state was written to it: less
//! than that, older, or something else. At most what the lake says is lost time.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load::{Load, Outcome};
use super::{World, oracle};

const EVENTS_PER_SECOND: u32 = 1_000;
const AT_WORK: Duration = Duration::from_secs(3);
/// Files of a store that are smaller say whose it is, and hold none of it.
const SMALL: u64 = 1_000;

#[test]
fn whatever_the_disk_gives_back_the_star_is_right() {
    let mut world = World::start();
    let mut outcome = Outcome::empty();
    for store in ["memory", "disk"] {
        world.dabi.environment(&[("DABI_STATE_STORE", store)]);
        let state = world.dabi.home().join(".dabi/state");
        let copy = world.dabi.home().join("copy");

        // As a crash of the machine may leave them: all files, while they are written.
        let crash = || {
            copy_files(&state, &copy);
            std::thread::sleep(AT_WORK);
        };
        let restore = || {
            std::fs::remove_dir_all(&state).expect("remove the state");
            std::fs::rename(&copy, &state).expect("put the copy in its place");
        };
        let log = works(&world, &mut outcome, crash, restore);
        assert!(log.contains("building row state"), "{store}: an older state is believed:\n{log}");

        // The last writes never reached it.
        works(&world, &mut outcome, || {}, || cut(&written_last(&state)));

        // Bits have turned, here and there.
        let turn =
            || files(&state).iter().filter(|file| size(file) >= SMALL).for_each(|file| turn_bits(file));
        let log = works(&world, &mut outcome, || {}, turn);
        assert!(log.contains("building row state"), "{store}: a damaged state is believed:\n{log}");
    }
}

/// Has dabi at work, does something meanwhile, kills it, does something to its disk,
/// and lets the next one come to the end, where the oracle is asked. Gives its log.
fn works(world: &World, outcome: &mut Outcome, meanwhile: impl FnOnce(), damage: impl FnOnce()) -> String {
    let before = std::mem::replace(outcome, Outcome::empty());
    let seed = 1 + before.events;
    let load = Load::with_unusable_orders(world.kafka.client(), EVENTS_PER_SECOND, before, seed);
    let mut dabi = world.dabi.start(&["run"]);
    std::thread::sleep(AT_WORK);
    meanwhile();
    assert!(dabi.ended().is_none(), "it ended by itself:\n{}", dabi.log());
    dabi.kill();
    damage();
    *outcome = load.stop();
    let before = dabi.log().len();
    world.catch_up();
    oracle::check(world, outcome);
    dabi.log().split_off(before)
}

/// Every file of a folder and of those in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| file.len())
}

/// Copies what is there, while it may change: files that go meanwhile are left out.
fn copy_files(from: &Path, to: &Path) {
    for file in files(from) {
        let copy = to.join(file.strip_prefix(from).expect("it is in there"));
        std::fs::create_dir_all(copy.parent().expect("it is in a folder")).expect("make a folder");
        let _gone = std::fs::copy(&file, copy);
    }
}

fn written_last(folder: &Path) -> PathBuf {
    let all = files(folder).into_iter().filter(|file| size(file) >= SMALL);
    let written =
        |file: &PathBuf| std::fs::metadata(file).and_then(|file| file.modified()).expect("it is there");
    all.max_by_key(written).expect("the store has files")
}

/// Cuts a file behind three quarters of what is in it.
fn cut(file: &Path) {
    let bytes = std::fs::read(file).expect("read a file");
    // Room that was taken and not written yet is no content.
    let content = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let file = File::options().write(true).open(file).expect("open a file");
    file.set_len(content as u64 / 4 * 3).expect("cut a file");
}

/// Turns a bit in each kilobyte.
fn turn_bits(file: &Path) {
    let mut open = File::options().read(true).write(true).open(file).expect("open a file");
    for at in (SMALL / 2..size(file)).step_by(1 << 10) {
        let mut byte = [0];
        open.seek(SeekFrom::Start(at)).expect("a place in the file");
        open.read_exact(&mut byte).expect("it is in the file");
        open.seek(SeekFrom::Start(at)).expect("a place in the file");
        open.write_all(&[byte[0] ^ 0x10]).expect("write a byte");
    }
}
