//! The live loop: something in the transforms' folder is saved, and events go
//! through it.
//!
//! Owns the way from a save to the switch: settle, build, load, check, try,
//! tables, switch; and what is told of it. Does not own the switch itself
//! (`swap`) or older rows (`fill`).
//!
//! Invariants: whatever fails on the way leaves the module before as it was;
//! one build runs at a time, and nothing here runs on the pipeline's own threads.

mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::load::{Prepared, Refused};
use super::evaluate::LiveTransform;
use super::fill::Filler;
use super::samples::Samples;
use super::status::{Status, TransformReport, now_ms};
use super::swap::{Change, Coverage, Switched};
use super::transforms::{self, Found, Loaded, look, needs_row_state};
use crate::build::{BuildError, Built, Language, Project};
use crate::failpoint::{Failpoint, reach};
use crate::telemetry::Metrics;
use crate::transform::{Module, ModuleHash, Runtime, TransformSettings};
use crate::watch::{Changed, Saves, Watcher};

/// A source is built once it has been left alone for so long.
const SOURCE_QUIET: Duration = Duration::from_millis(50);
/// A module that cannot be used may be half written; after so long it is not.
const MODULE_QUIET: Duration = Duration::from_millis(300);
/// What was deleted may return at once: editors and git do that.
const GONE_QUIET: Duration = Duration::from_millis(500);

/// The task.
pub(super) struct Reload {
    pub(super) settings: TransformSettings,
    pub(super) runtime: Runtime,
    pub(super) watcher: Watcher,
    pub(super) changes: mpsc::Sender<Change>,
    pub(super) samples: Samples,
    pub(super) filler: Filler,
    pub(super) status: Status,
    pub(super) metrics: Metrics,
    pub(super) stop: CancellationToken,
}

/// What is known of an entry of the folder.
#[derive(Default)]
struct Known {
    /// What events go through.
    module: Option<Module>,
    /// The last one that could not be used.
    refused: Option<ModuleHash>,
    fill: Option<Fill>,
}

/// What goes on beside the live events after a switch.
struct Fill {
    cancel: CancellationToken,
    /// One; it ends with the task that has begun it.
    task: JoinSet<()>,
}

/// A finished build, and what was saved when.
struct Build {
    project: Project,
    outcome: Result<Built, BuildError>,
}

/// A module on its way to the switch.
struct Candidate<'a> {
    entry: &'a str,
    file: &'a Path,
    /// When dabi was told of it.
    noticed: Instant,
    /// How long it was built; `None` for a finished .wasm.
    build: Option<Duration>,
}

/// The pipeline is ending.
struct Ending;

impl Reload {
    /// Runs until the pipeline stops or its star lane is done. `loaded` are the
    /// transforms that run from the start.
    pub(super) async fn run(self, loaded: Vec<Loaded>) {
        let known =
            |loaded: Loaded| (loaded.entry, Known { module: Some(loaded.module), ..Known::default() });
        let mut run = Run {
            known: loaded.into_iter().map(known).collect(),
            saves: Saves::default(),
            builds: JoinSet::new(),
            building: None,
            fills: 0,
            compiler: compiler(),
            reload: self,
        };
        let (stop, changes) = (run.reload.stop.clone(), run.reload.changes.clone());
        tokio::select! {
            Ending = run.go_on() => {}
            () = stop.cancelled() => {}
            () = changes.closed() => {}
        }
        for fill in run.known.into_values().filter_map(|known| known.fill) {
            fill.end().await;
        }
    }
}

/// Modules are compiled on threads of their own: those of the pipeline's CPU
/// pool have events to evaluate.
fn compiler() -> Arc<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().thread_name(|index| format!("compile-{index}")).build();
    Arc::new(pool.expect("the system gives threads"))
}

impl Fill {
    fn begin(cancel: CancellationToken, work: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut task = JoinSet::new();
        task.spawn(work);
        Self { cancel, task }
    }

    async fn end(mut self) {
        self.cancel.cancel();
        // A fill has nothing to say here; its panic has ended the process.
        let _ = self.task.join_next().await;
    }
}

struct Run {
    reload: Reload,
    known: BTreeMap<String, Known>,
    saves: Saves,
    /// At most one.
    builds: JoinSet<Build>,
    building: Option<String>,
    fills: u64,
    compiler: Arc<rayon::ThreadPool>,
}

impl Run {
    async fn go_on(&mut self) -> Ending {
        loop {
            let dir = &self.reload.settings.dir;
            let may = |entry: &str| self.building.is_none() || matches!(look(dir, entry), Found::Module(_));
            let due = self.saves.next_due(may);
            let done = tokio::select! {
                changed = self.reload.watcher.changed() => {
                    self.note(changed);
                    Ok(())
                }
                Some(build) = self.builds.join_next() => {
                    self.built(build.expect("a build does not panic")).await
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    match self.saves.take(Instant::now(), may) {
                        Some((entry, noticed)) => self.act(&entry, noticed).await,
                        None => Ok(()),
                    }
                }
            };
            if let Err(ending) = done {
                return ending;
            }
        }
    }

    /// Something has happened; waits for it to be over.
    fn note(&mut self, changed: Changed) {
        let dir = &self.reload.settings.dir;
        let mut entries = changed.entries;
        if changed.everything {
            // A folder that cannot be read is away: so is everything in it.
            entries.extend(transforms::entries(dir).unwrap_or_default());
            entries.extend(self.known.keys().cloned());
        }
        for entry in entries {
            let quiet = match look(dir, &entry) {
                Found::Project(_) => SOURCE_QUIET,
                Found::Module(_) => Duration::ZERO,
                Found::Nothing if self.known.contains_key(&entry) => GONE_QUIET,
                Found::Nothing => continue,
            };
            self.saves.saved(&entry, Instant::now(), quiet);
        }
    }

    /// `entry` has come to rest.
    async fn act(&mut self, entry: &str, noticed: Instant) -> Result<(), Ending> {
        match look(&self.reload.settings.dir, entry) {
            Found::Project(project) => {
                self.build(entry, project);
                Ok(())
            }
            Found::Module(file) => {
                self.bring_in(Candidate { entry, file: &file, noticed, build: None }).await
            }
            Found::Nothing => self.retire(entry).await,
        }
    }

    fn build(&mut self, entry: &str, project: Project) {
        let language: Language = project.language();
        self.reload.status.transform(entry, |report| report.building(language));
        self.building = Some(entry.to_owned());
        self.known.entry(entry.to_owned()).or_default();
        let modules = self.reload.settings.build_dir.clone();
        self.builds.spawn(async move {
            let outcome = project.build(&modules).await;
            Build { project, outcome }
        });
    }

    async fn built(&mut self, build: Build) -> Result<(), Ending> {
        let Some(entry) = self.building.take() else { return Ok(()) };
        self.reload.metrics.built(&build.outcome);
        self.reload.status.transform(&entry, |report| report.built(&build.outcome, now_ms()));
        match build.outcome {
            Ok(built) => {
                let file = build.project.module(&self.reload.settings.build_dir);
                let noticed = Instant::now();
                self.bring_in(Candidate { entry: &entry, file: &file, noticed, build: Some(built.took) })
                    .await
            }
            Err(error) => {
                tracing::error!("{error}");
                Ok(())
            }
        }
    }

    async fn bring_in(&mut self, candidate: Candidate<'_>) -> Result<(), Ending> {
        let entry = candidate.entry;
        match self.prepare(&candidate).await {
            Ok(Some(transform)) => self.switch(&candidate, transform).await,
            Ok(None) => {
                self.reload.status.transform(entry, TransformReport::unchanged);
                Ok(())
            }
            Err(Refused::Incomplete) => {
                self.saves.saved(entry, Instant::now(), MODULE_QUIET);
                Ok(())
            }
            Err(Refused::For(reason)) => {
                self.refuse(entry, reason);
                Ok(())
            }
            Err(Refused::Ending) => Err(Ending),
        }
    }

    fn refuse(&self, entry: &str, reason: String) {
        tracing::error!("{entry} is not taken up: {reason}");
        self.reload.status.transform(entry, |report| report.refused(reason));
    }

    /// Hands the transform to the star lane.
    async fn switch(&mut self, candidate: &Candidate<'_>, prepared: Prepared) -> Result<(), Ending> {
        let Candidate { entry, noticed, build, .. } = *candidate;
        let module = prepared.module().clone();
        let known = self.known.entry(entry.to_owned()).or_default();
        if let Some(fill) = known.fill.take() {
            // Before anything newer is filled in: of equal versions the last insert wins.
            fill.end().await;
        }
        reach(Failpoint::SwitchDue);
        let switched = match prepared {
            Prepared::Stateless(transform) => {
                let (switched, answered) = oneshot::channel();
                let change = Change::Replace { transform, switched };
                self.reload.changes.send(change).await.map_err(|_| Ending)?;
                Ok(answered.await.map_err(|_| Ending)?)
            }
            Prepared::Stateful(module, tables) => {
                let (switched, answered) = oneshot::channel();
                let change = Change::ReplaceStateful { entry: entry.to_owned(), module, tables, switched };
                self.reload.changes.send(change).await.map_err(|_| Ending)?;
                answered.await.map_err(|_| Ending)?
            }
        };
        let switched = match switched {
            Ok(switched) => switched,
            Err(reason) => {
                self.refuse(entry, reason);
                return Ok(());
            }
        };
        reach(Failpoint::Switched);
        let known = self.known.entry(entry.to_owned()).or_default();
        let took = noticed.elapsed();
        known.module = Some(module.clone());
        self.reload.tell(entry, &module, &switched, took, build);
        match switched.coverage {
            Coverage::Filling => self.fill(entry, &module, switched),
            Coverage::Later => self.retry_letters(entry, &module, switched),
            Coverage::Whole | Coverage::Reevaluating => {}
        }
        Ok(())
    }

    /// What the module before could not use may be of use to this one.
    fn retry_letters(&mut self, entry: &str, module: &Module, switched: Switched) {
        let (filler, cancel, name) =
            (self.reload.filler.clone(), CancellationToken::new(), module.spec().name.clone());
        let cancelled = cancel.clone();
        let retry = async move {
            filler.until_stored(&switched.position, &cancelled).await;
            match filler.retrier().retry(Some(&name)).await {
                Ok(retried) => {
                    let rows: u64 = retried.values().map(|of| of.retrying).sum();
                    tracing::info!(transform = name, rows, "dead letters are tried again");
                }
                Err(error) => tracing::warn!(
                    transform = name,
                    "dead letters could not be tried again: {error}; `dabi dead-letters retry` does that"
                ),
            }
        };
        let stopped = cancel.clone();
        let fill = Fill::begin(cancel, async move {
            tokio::select! { biased; () = retry => {}, () = stopped.cancelled() => {} }
        });
        self.known.entry(entry.to_owned()).or_default().fill = Some(fill);
    }

    fn fill(&mut self, entry: &str, module: &Module, switched: Switched) {
        self.fills += 1;
        let mut transform = LiveTransform::new(entry.to_owned(), module.clone(), self.reload.metrics.clone());
        transform.coverage = Coverage::Filling;
        let (filler, cancel) = (self.reload.filler.clone(), CancellationToken::new());
        let work = filler.fill(transform, switched, self.fills, cancel.clone());
        self.known.entry(entry.to_owned()).or_default().fill = Some(Fill::begin(cancel, work));
    }

    async fn retire(&mut self, entry: &str) -> Result<(), Ending> {
        let Some(known) = self.known.remove(entry) else { return Ok(()) };
        if known.module.as_ref().is_some_and(needs_row_state) {
            let note = "it is gone from the folder; with its row state it goes on until dabi is restarted";
            tracing::warn!("{entry}: {note}");
            self.reload.status.transform(entry, |report| report.note = Some(note.to_owned()));
            self.known.insert(entry.to_owned(), known);
            return Ok(());
        }
        if let Some(fill) = known.fill {
            fill.end().await;
        }
        let Some(module) = known.module else {
            self.reload.status.forget_transform(entry);
            return Ok(());
        };
        self.reload.changes.send(Change::Retire { entry: entry.to_owned() }).await.map_err(|_| Ending)?;
        tracing::info!(
            "retired {}: {entry} is gone; what is in its tables stays as it is",
            module.spec().name
        );
        self.reload.status.transform(entry, TransformReport::retired);
        Ok(())
    }

    /// Names that are taken by others than `entry`.
    fn others(&self, entry: &str) -> impl Iterator<Item = &Module> {
        let others = self.known.iter().filter(move |(other, _)| *other != entry);
        others.filter_map(|(_, known)| known.module.as_ref())
    }
}

impl Reload {
    /// Says that events go through `module` now.
    fn tell(
        &self,
        entry: &str,
        module: &Module,
        switched: &Switched,
        took: Duration,
        build: Option<Duration>,
    ) {
        let spec = module.spec();
        let targets: BTreeSet<&str> = spec.targets.iter().map(|target| target.table.as_str()).collect();
        let targets = targets.into_iter().collect::<Vec<_>>().join(", ");
        let built = build.map(|build| format!(" (build {:.1} s)", build.as_secs_f64())).unwrap_or_default();
        let (ms, hash) = (took.as_millis(), module.hash().short());
        match switched.replaced {
            Some(old) => tracing::info!("reloaded {targets} in {ms} ms{built}: {} → {hash}", old.short()),
            None => tracing::info!("added {targets} in {ms} ms{built}: {hash}"),
        }
        let note = switched.coverage.note();
        if let Some(note) = &note {
            tracing::info!("{targets}: {note}");
        }
        let is_reload = switched.replaced.is_some();
        self.status.transform(entry, |report| {
            // The star's lane has told that all rows are evaluated once more, and may
            // have told by now that they are.
            if switched.coverage != Coverage::Reevaluating {
                report.note = note;
            }
            report.reloads += u64::from(is_reload);
        });
        self.metrics.reloaded(&spec.name, took);
    }
}
