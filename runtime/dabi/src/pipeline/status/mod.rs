//! What the pipeline is doing, for `/readyz` and the terminal.

mod transform;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use dabi_core::engine::stateful::Progress;
use dabi_core::position::Position;
use serde::Serialize;

pub(super) use self::transform::millis;
pub use self::transform::{BuildReport, TransformReport, TransformState};

/// The phase of a pipeline that has ended, in whatever way.
pub const STOPPED: &str = "stopped";

/// Shared, cheap to clone; written by the pipeline, read by whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Report>>);

/// What transforms that keep row state have still to do; the promise does not
/// hold for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Changed rows whose dependents are still to be evaluated.
    pub jobs: u64,
    /// Work over whole tables: what for, and how many rows are done.
    pub sweeps: BTreeMap<String, u64>,
    /// By transform: source rows that wait for a row that a lookup finds.
    pub held: BTreeMap<String, u64>,
    /// By transform: open dead letters.
    pub letters: BTreeMap<String, u64>,
}

/// A moment of the pipeline.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Events flow and nothing is waited for.
    pub ready: bool,
    /// What is being done: `starting`, `running`, `draining`, `stopped`.
    pub phase: String,
    /// Neighbours that are waited for, with the reason.
    pub waiting: BTreeMap<String, String>,
    /// Every transform since the start, by its entry in the transforms' folder.
    /// The promise holds for the targets of those that are live and have no note (a remark does not touch it).
    pub transforms: Vec<TransformReport>,
    /// What transforms that keep row state have still to do.
    pub work: Work,
    /// How often a module was replaced since the start.
    pub reloads: u64,
    /// Offsets between the star and the ends of the partitions, when last looked.
    pub star_lag: u64,
    /// Offsets between the lake and the ends of the partitions, when last looked.
    pub lake_lag: u64,
    /// When the lake last committed, ms since 1970.
    pub lake_committed_ms: Option<u64>,
    /// Up to where everything is durable in the lake.
    pub lake_position: Position,
    /// Up to where everything is visible in the star.
    pub star_position: Position,
}

impl Report {
    /// Every target that is kept up to date, with the transform that fills it.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &TransformReport)> {
        // Another may have taken over the targets of a retired one.
        let kept = self.transforms.iter().filter(|transform| transform.state != TransformState::Retired);
        kept.flat_map(|transform| transform.targets.iter().map(move |table| (table.as_str(), transform)))
    }
}

impl Status {
    /// What is going on now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.lock().clone()
    }

    /// Names what is being done.
    pub fn phase(&self, phase: &str) {
        let mut report = self.lock();
        phase.clone_into(&mut report.phase);
        report.ready = phase == "running" && report.waiting.is_empty();
    }

    /// `neighbour` is waited for.
    pub fn waiting(&self, neighbour: &str, reason: String) {
        let mut report = self.lock();
        report.waiting.insert(neighbour.to_owned(), reason);
        report.ready = false;
    }

    /// `neighbour` answers again.
    pub fn arrived(&self, neighbour: &str) {
        let mut report = self.lock();
        report.waiting.remove(neighbour);
        report.ready = report.phase == "running" && report.waiting.is_empty();
    }

    /// Something is new about the transform of `entry`.
    pub(super) fn transform(&self, entry: &str, change: impl FnOnce(&mut TransformReport)) {
        let mut report = self.lock();
        let place = report.transforms.binary_search_by(|known| known.entry.as_str().cmp(entry));
        let place = place.unwrap_or_else(|place| {
            report.transforms.insert(place, TransformReport::new(entry));
            place
        });
        let transform = &mut report.transforms[place];
        change(transform);
        transform.settle();
        report.reloads = report.transforms.iter().map(|transform| transform.reloads).sum();
    }

    /// The source or module of `entry` was taken away before it ever was live.
    pub(super) fn forget_transform(&self, entry: &str) {
        self.lock().transforms.retain(|transform| transform.entry != entry);
    }

    /// What transforms that keep row state have still to do.
    pub(super) fn work(&self, progress: Progress) {
        self.lock().work = Work {
            jobs: progress.jobs,
            sweeps: progress.sweeps.into_iter().collect(),
            held: progress.held,
            letters: progress.letters,
        };
    }

    /// So many offsets wait for the star, and for the lake.
    pub fn behind(&self, star: u64, lake: u64) {
        let mut report = self.lock();
        (report.star_lag, report.lake_lag) = (star, lake);
    }

    /// The lake is durable up to `position`.
    pub fn lake(&self, position: &Position) {
        self.lock().lake_position.merge(position);
    }

    /// The lake has just committed.
    pub fn lake_committed(&self) {
        self.lock().lake_committed_ms = Some(now_ms());
    }

    /// The star is visible up to `position`.
    pub fn star(&self, position: &Position) {
        self.lock().star_position.merge(position);
    }

    /// Where lake and star stand.
    pub(super) fn positions(&self) -> (Position, Position) {
        let report = self.lock();
        (report.lake_position.clone(), report.star_position.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        // A report is plain data: whole after every statement, even if its writer panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time as reports tell it: ms since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    u64::try_from(now).unwrap_or(u64::MAX)
}
