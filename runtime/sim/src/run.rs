//! One run: a seed, a world, processes that come and go, and the oracle.
//!
//! Owns the schedule: when changes are made and sent, who starts, dies, falls
//! asleep and wakes up. After each phase of trouble nothing fails any more; then a
//! process that is to end once everything is read must do so within a bounded
//! time, and what it leaves must be right.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use dabi::lake::LakeErrorKind;
use dabi::pipeline::{PipelineError, Status};
use dabi::warehouse::WarehouseError;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep, timeout};

use crate::check;
use crate::disk::Disk;
use crate::network::Life;
use crate::process;
use crate::world::Shared;

/// Trouble of a phase lasts so long, at most.
const TROUBLE_MS_MAX: u64 = 20_000;
/// Within so long everything has come to rest.
const REST: Duration = Duration::from_secs(600);
/// Within so long a process that was told to stop has stopped: it may drain first.
const STOP: Duration = Duration::from_secs(60);
/// Processes beside the newest.
const OLD_MAX: usize = 3;
/// Within so many turns of the scheduler everything of a process that died is gone.
const TURNS_MAX: usize = 100;

/// What a run that passed has been through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests made.
    pub requests: u64,
    /// Time that passed in the simulation, ms.
    pub ms: u64,
    /// Entries of the database's log.
    pub changes: u64,
    /// Processes started.
    pub processes: u64,
    /// Crashes.
    pub crashes: u64,
    /// Processes that slept.
    pub pauses: u64,
    /// Epochs recorded in the warehouse.
    pub epochs: u64,
    /// What happened, where that was asked for.
    pub trace: Vec<String>,
}

/// A run that found something.
#[derive(Debug)]
pub struct Failure {
    /// The seed, by which it happens again.
    pub seed: u64,
    /// What is wrong.
    pub reason: String,
    /// What happened before it, where that was asked for.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, reason, .. } = self;
        write!(
            f,
            "seed {seed}: {reason}\n  replay: SIM_SEED={seed} cargo nextest run -p dabi-sim --no-capture seeds"
        )
    }
}

impl std::error::Error for Failure {}

/// Runs the world of `seed`; with a trace of every request if `traced`.
///
/// # Errors
/// The first thing that must not be.
pub fn run(seed: u64, traced: bool) -> Result<Report, Failure> {
    // On one thread, and the clock stands still while there is work.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("the system gives a thread");
    pool.install(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime needs nothing of the system");
        let world = runtime.block_on(async { Shared::new(seed, traced) });
        let mut run = Run { world: world.clone(), processes: Vec::new(), report: Report::default() };
        let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run.phases())));
        let ended = ended.unwrap_or_else(|panic| Err(format!("panic: {}", words(panic.as_ref()))));
        let trace = world.with(|world| std::mem::take(&mut world.trace.lines));
        match ended {
            Ok(()) => Ok(Report { trace, ..run.report }),
            Err(reason) => Err(Failure { seed, reason, trace }),
        }
    })
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("of an unknown kind")
}

struct Run {
    world: Shared,
    /// Those that have not ended, in the order of their start.
    processes: Vec<Process>,
    report: Report,
}

struct Process {
    life: Arc<Life>,
    status: Status,
    ended: JoinHandle<Result<(), PipelineError>>,
}

impl Process {
    fn is_awake(&self) -> bool {
        *self.life.awake.borrow()
    }
}

impl Run {
    async fn phases(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let phases = self.world.with(|world| world.rng.usize(1..=3));
        for phase in 1..=phases {
            self.world.note(|| format!("phase {phase}"));
            self.trouble().await?;
            self.rest().await?;
        }
        self.world.with(|world| {
            self.report.requests = world.requests;
            self.report.changes = world.database.log.len() as u64;
            self.report.epochs = world.warehouse.epochs.len() as u64;
        });
        self.report.ms = u64::try_from(began.elapsed().as_millis()).expect("minutes");
        Ok(())
    }

    /// Everything that can go wrong, while changes come in.
    async fn trouble(&mut self) -> Result<(), String> {
        let lasts_ms = self.world.with(|world| {
            world.calm = false;
            for _ in 0..world.rng.usize(5..60) {
                world.database.transact(&mut world.rng);
            }
            world.rng.u64(500..TROUBLE_MS_MAX)
        });
        let until = Instant::now() + Duration::from_millis(lasts_ms);
        while Instant::now() < until {
            let wait_ms = self.world.with(|world| world.rng.u64(1..100));
            sleep(Duration::from_millis(wait_ms)).await;
            self.reap().await?;
            self.send();
            self.strike().await?;
            let has_owner = self.processes.last().is_some_and(Process::is_awake);
            if !has_owner && self.world.with(|world| world.strikes(5)) {
                self.start();
            }
        }
        Ok(())
    }

    /// Nothing fails any more, sleepers wake up, everything is sent and read; then
    /// what is left must be right.
    async fn rest(&mut self) -> Result<(), String> {
        self.world.note(|| "calm".to_owned());
        self.world.with(|world| world.calm = true);
        while !self.world.with(|world| world.connector.is_done(&world.database.log)) {
            self.send();
        }
        for process in &self.processes {
            process.life.awake.send_replace(true);
        }
        let moment_ms = self.world.with(|world| world.rng.u64(0..5_000));
        sleep(Duration::from_millis(moment_ms)).await;
        self.reap().await?;
        let mut owner = self.end_well().await?;
        // One that began before it may have become the owner since.
        while self.world.with(|world| world.is_outdone(owner.life.id)) {
            owner = self.end_well().await?;
        }
        let held = owner.status.report().work.held;
        self.world.with(|world| check::star(world, &held))?;
        check::lake(&self.world).await
    }

    /// Has one process finish, and then the others stop, until all is quiet.
    async fn end_well(&mut self) -> Result<Process, String> {
        let finished = timeout(REST, self.finish()).await.map_err(|_| self.stuck())??;
        for process in &self.processes {
            process.life.stop.cancel();
        }
        let stopped = timeout(STOP, async {
            while self.world.with(|world| world.under_way > 0) || !self.processes.is_empty() {
                sleep(Duration::from_millis(10)).await;
                self.reap().await?;
            }
            Ok::<_, String>(())
        });
        stopped.await.map_err(|_| "an old process does not stop".to_owned())??;
        Ok(finished)
    }

    /// A process that is up to date, the one that runs or another, is told to end
    /// once everything is read, and does. Gives it.
    async fn finish(&mut self) -> Result<Process, String> {
        loop {
            let (modules, goes_on) = self.world.with(|world| (world.modules.clone(), world.rng.bool()));
            let newest = self.processes.last();
            let is_fit = newest.is_some_and(|newest| {
                newest.life.modules == modules && !newest.life.stop.is_cancelled() && goes_on
            });
            if !is_fit {
                self.start();
            }
            let last = self.processes.last().expect("one was started");
            let id = last.life.id;
            self.world.note(|| format!("p{id} is to finish"));
            last.life.finish.cancel();
            let is_running = |process: &&Process| process.life.id == id && !process.ended.is_finished();
            while self.processes.iter().any(|process| is_running(&process)) {
                sleep(Duration::from_millis(10)).await;
            }
            // What had failed before may still end a process that went on.
            if let Some(well) = self.reap().await?.into_iter().find(|process| process.life.id == id) {
                return Ok(well);
            }
        }
    }

    fn stuck(&self) -> String {
        let waiting = |process: &Process| (process.life.id, process.status.report().waiting);
        let waiting: Vec<_> = self.processes.iter().map(waiting).collect();
        format!("no rest within {REST:?}: {waiting:?}")
    }

    fn send(&mut self) {
        self.world.with(|world| {
            if world.calm || world.rng.u8(0..4) > 0 {
                let restarts = !world.calm;
                if let Some(change) = world.connector.upcoming(&world.database.log) {
                    world.trace.note(|| format!("sent: {change:?}"));
                }
                let (schema, log) = (&world.schema, &world.database.log);
                world.connector.send(schema, log, &mut world.kafka, restarts, &mut world.rng);
            }
        });
    }

    fn start(&mut self) {
        let id = usize::try_from(self.report.processes).expect("few processes");
        let disk = self.free_disk();
        let modules = self.world.with(|world| world.modules.clone());
        self.world.note(|| format!("p{id} starts on disk {disk} with modules {modules:?}"));
        let life = Arc::new(Life::new(id, disk, modules));
        let (pipeline, status) = process::pipeline(&self.world, &life);
        let ended = tokio::spawn(pipeline.run());
        self.processes.push(Process { life, status, ended });
        self.report.processes += 1;
    }

    /// Mostly the disk used last, of those that no living process has.
    fn free_disk(&self) -> usize {
        self.world.with(|world| {
            let taken = |disk: &usize| self.processes.iter().any(|process| process.life.disk == *disk);
            let free: Vec<usize> = (0..world.disks.len()).filter(|disk| !taken(disk)).collect();
            match free.last() {
                Some(last) if world.rng.u8(0..8) > 0 => *last,
                Some(_) if world.rng.bool() => free[world.rng.usize(0..free.len())],
                _ => {
                    world.disks.push(Disk::default());
                    world.disks.len() - 1
                }
            }
        })
    }

    async fn strike(&mut self) -> Result<(), String> {
        let strikes = |one_in| self.world.with(|world| world.strikes(one_in));
        let (crash, stop, pause, wake, deploy) =
            (strikes(80), strikes(200), strikes(100), strikes(40), strikes(200));
        if crash {
            self.crash().await?;
        }
        let newest = self.processes.last().filter(|newest| newest.is_awake()).map(|newest| &newest.life);
        if stop && let Some(life) = newest {
            self.world.note(|| format!("p{} is told to stop", life.id));
            life.stop.cancel();
        }
        let asleep = self.processes.iter().filter(|process| !process.is_awake());
        if pause
            && asleep.clone().count() < OLD_MAX
            && let Some(life) = newest
        {
            self.world.note(|| format!("p{} falls asleep", life.id));
            life.awake.send_replace(false);
            self.report.pauses += 1;
        }
        if wake && let Some(old) = self.processes.iter().find(|process| !process.is_awake()) {
            self.world.note(|| format!("p{} wakes up", old.life.id));
            old.life.awake.send_replace(true);
        }
        if deploy {
            self.world.with(|world| {
                let which = world.rng.usize(0..world.modules.len());
                world.modules[which] += 1;
            });
        }
        Ok(())
    }

    /// Some process dies; now and then its disk with it, or a copy from before comes
    /// in its place.
    async fn crash(&mut self) -> Result<(), String> {
        if self.processes.is_empty() {
            return Ok(());
        }
        let index = self.world.with(|world| world.rng.usize(0..self.processes.len()));
        let Process { life, ended, .. } = self.processes.remove(index);
        let id = life.id;
        ended.abort();
        // Also if it has ended by itself in this very moment.
        let _ = ended.await;
        self.report.crashes += 1;
        self.world.with(|world| {
            let disk = world.disks[life.disk].clone();
            let of_disk = match world.rng.u8(0..8) {
                0 => {
                    disk.lose();
                    ", and its disk is lost"
                }
                1 => {
                    disk.go_back(world.rng.usize(1..5));
                    ", and its disk is an old one"
                }
                _ => "",
            };
            world.trace.note(|| format!("p{id} crashes{of_disk}"));
        });
        // A task that nobody owned would go on beside the next process.
        for _ in 0..TURNS_MAX {
            if Arc::strong_count(&life) == 1 {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        Err(format!("p{id} has died, and something of it lives on"))
    }

    /// Takes away those that have ended; gives those that ended well.
    async fn reap(&mut self) -> Result<Vec<Process>, String> {
        let mut well = Vec::new();
        while let Some(index) = self.processes.iter().position(|process| process.ended.is_finished()) {
            let mut process = self.processes.remove(index);
            let ended = (&mut process.ended).await;
            if self.ended(&process.life, ended)? {
                well.push(process);
            }
        }
        match self.world.with(|world| world.broken.take()) {
            Some(broken) => Err(broken),
            None => Ok(well),
        }
    }

    /// A process may end for what its neighbours did to it; and an old owner, and
    /// no other, for what a newer one has done.
    fn ended(
        &self,
        life: &Life,
        ended: Result<Result<(), PipelineError>, JoinError>,
    ) -> Result<bool, String> {
        let id = life.id;
        let ended = ended.map_err(|error| match error.try_into_panic() {
            Ok(panic) => format!("p{id} panics: {}", words(panic.as_ref())),
            Err(error) => format!("p{id}: {error}"),
        })?;
        let Err(error) = ended else {
            self.world.note(|| format!("p{id} ends"));
            return Ok(true);
        };
        self.world.note(|| format!("p{id} halts: {error}"));
        let is_outdone = self.world.with(|world| world.is_outdone(id));
        let is_due = match &error {
            PipelineError::Lake(error) => match error.kind() {
                LakeErrorKind::Transient => true,
                LakeErrorKind::Fenced => is_outdone,
                LakeErrorKind::Stopped => life.stop.is_cancelled(),
                LakeErrorKind::Permanent => false,
            },
            PipelineError::Fenced { .. } | PipelineError::Warehouse(WarehouseError::Refused { .. }) => {
                is_outdone
            }
            PipelineError::Warehouse(WarehouseError::Stopped(_)) | PipelineError::NotDrained { .. } => {
                life.stop.is_cancelled()
            }
            _ => false,
        };
        if is_due { Ok(false) } else { Err(format!("p{id} halts: {error}")) }
    }
}
