//! A crash at any step: what was committed is there, whole, and nothing else.

use dabi_core::engine::state::State;
use fastrand::Rng;

use super::*;

/// Enough for several checkpoints.
const EPOCHS: u64 = 30;

/// Commits up to `EPOCHS`; gives the last one that is known to be durable.
fn run(store: &mut dyn State) -> u64 {
    let last = |store: &dyn State| store.committed().map_or(0, |last| last.epoch.0);
    for number in last(store) + 1..=EPOCHS {
        if store.commit(&workload::epoch(number)).is_err() {
            let refused = store.commit(&workload::epoch(number)).unwrap_err().to_string();
            assert!(refused.contains("it stopped when it could not commit"), "{refused}");
            assert!(store.unsent().is_err(), "nothing half-applied is read");
            return number - 1;
        }
    }
    EPOCHS
}

/// Opens the store where a step fails, and works until it does.
fn run_until_struck(kind: StoreKind, folder: &Path, faults: &Arc<Faults>) -> Option<u64> {
    let opened = open_with(&settings(kind, folder), &identity(), faults.files());
    opened.ok().map(|(mut store, _)| run(&mut *store))
}

fn check_after_a_crash(kind: StoreKind, folder: &Path, durable: u64) -> Box<dyn State> {
    let (store, opened) = open(kind, folder);
    let committed = store.committed().map_or(0, |last| last.epoch.0);
    // the epoch of the crash may have reached the disk
    assert!(committed == durable || committed == durable + 1, "{committed} of {durable}: {opened:?}");
    // a store that was being made when the power went was never there
    assert!(durable == 0 || matches!(opened, Opened::Recovered { .. }), "{opened:?}");
    workload::model_after(committed).check(&*store);
    store
}

fn crashes_at_any_step(kind: StoreKind, step_by: usize) {
    for step in (1..).step_by(step_by) {
        let rng = &mut Rng::with_seed(step as u64);
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::after(step);
        let mut durable = run_until_struck(kind, folder.path(), &faults).unwrap_or_default();
        if !faults.struck() {
            assert!(step > 100, "only {step} steps were tried");
            return;
        }
        faults.lose(rng);
        // and once more, in recovery or soon after
        let again = Faults::after(rng.usize(1..60));
        let known = run_until_struck(kind, folder.path(), &again);
        durable = durable.max(known.unwrap_or_default());
        again.lose(rng);
        let mut store = check_after_a_crash(kind, folder.path(), durable);
        assert_eq!(run(&mut *store), EPOCHS, "it goes on");
        workload::model_after(EPOCHS).check(&*store);
    }
}

#[test]
fn memory_survives_a_crash_at_any_step() {
    crashes_at_any_step(StoreKind::Memory, 1);
}

#[test]
fn disk_survives_a_crash_at_any_step() {
    crashes_at_any_step(StoreKind::Disk, 13);
}
