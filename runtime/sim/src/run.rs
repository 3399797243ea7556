//! One run: a seed, a world, processes that come and go, and the oracle.
//!
//! Owns the schedule: which task takes the next step, who dies, who is paused
//! and wakes up again. After each phase of trouble everything is given time; it
//! must come to rest within a bounded number of steps, and then be right.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::check;
use crate::disk::Disk;
use crate::process::{Halt, Process};
use crate::tasks::{ProcessId, Tasks};
use crate::world::{Life, Shared, World};

/// Steps of trouble in a phase, at most.
const TROUBLE_STEPS_MAX: usize = 1_500;
/// Steps within which everything has come to rest.
const REST_STEPS_MAX: usize = 60_000;
/// Old processes that are kept paused.
const OLD_MAX: usize = 3;

/// What a run that passed has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps taken.
    pub steps: u64,
    /// Entries of the database's log.
    pub changes: u64,
    /// Processes started.
    pub processes: u64,
    /// Crashes.
    pub crashes: u64,
    /// Processes that slept while another took over.
    pub pauses: u64,
    /// Manifests in the lake.
    pub manifests: u64,
    /// Epochs recorded in the warehouse.
    pub epochs: u64,
}

/// A run that found something.
#[derive(Debug, thiserror::Error)]
#[error("seed {seed}: {reason}\n  replay: SIM_SEED={seed} cargo nextest run -p dabi-sim --no-capture seeds")]
pub struct Failure {
    /// The seed, by which it happens again.
    pub seed: u64,
    /// What is wrong.
    pub reason: String,
    /// What happened before it, where a trace was asked for.
    pub trace: Vec<String>,
}

/// Runs the world of `seed`; with a trace of every request if `traced`.
///
/// # Errors
/// The first thing that must not be.
pub fn run(seed: u64, traced: bool) -> Result<Report, Failure> {
    let world = Rc::new(RefCell::new(World::new(seed, traced)));
    let mut run = Run {
        world: Rc::clone(&world),
        tasks: Tasks::default(),
        lives: BTreeMap::new(),
        paused: Vec::new(),
        report: Report::default(),
    };
    let ended = catch_unwind(AssertUnwindSafe(|| run.phases()));
    let report = run.report;
    drop(run);
    let ended = ended.unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("of an unknown kind")))
    });
    let trace =
        world.try_borrow_mut().map(|mut world| std::mem::take(&mut world.trace.lines)).unwrap_or_default();
    ended.map(|()| report).map_err(|reason| Failure { seed, reason, trace })
}

struct Run {
    world: Shared,
    tasks: Tasks,
    lives: BTreeMap<ProcessId, Rc<Life>>,
    paused: Vec<ProcessId>,
    report: Report,
}

impl Run {
    fn phases(&mut self) -> Result<(), String> {
        let phases = self.world.borrow_mut().rng.usize(1..=3);
        for phase in 1..=phases {
            self.note(|| format!("phase {phase}"));
            self.trouble()?;
            self.rest()?;
            self.check()?;
        }
        let world = self.world.borrow();
        self.report.changes = world.database.log.len() as u64;
        self.report.manifests = world.objects.manifests().len() as u64;
        self.report.epochs = world.warehouse.epochs.len() as u64;
        Ok(())
    }

    /// Everything that can go wrong, while changes come in.
    fn trouble(&mut self) -> Result<(), String> {
        let steps = {
            let world = &mut *self.world.borrow_mut();
            world.calm = false;
            for _ in 0..world.rng.usize(5..60) {
                world.database.transact(&mut world.rng);
            }
            world.rng.usize(200..TROUBLE_STEPS_MAX)
        };
        for _ in 0..steps {
            self.send();
            self.strike();
            if self.newest().is_none() && self.world.borrow_mut().strikes(5) {
                self.start();
            }
            self.step()?;
        }
        Ok(())
    }

    /// Nothing fails any more, the sleepers wake up, and all comes to rest.
    fn rest(&mut self) -> Result<(), String> {
        self.world.borrow_mut().calm = true;
        self.note(|| "calm".to_owned());
        self.paused.clear();
        for _ in 0..REST_STEPS_MAX {
            self.send();
            match self.owner() {
                None if !self.is_starting() => self.start(),
                Some(life) if life.modules != self.world.borrow().modules => life.stopping.set(true),
                _ => {}
            }
            self.step()?;
            if self.is_at_rest() {
                return Ok(());
            }
        }
        let (owner, world) = (self.owner(), self.world.borrow());
        let (lake, ends) = (world.objects.position(), world.kafka.ends());
        let alive = self.lives.iter().filter(|(id, _)| self.tasks.has(**id));
        let alive: Vec<String> = alive.map(|(id, life)| format!("p{} {life:?}", id.0)).collect();
        let owner = owner.map(|life| life.id);
        Err(format!(
            "no rest within {REST_STEPS_MAX} steps: owner {owner:?} of {alive:?}, lake {lake:?}, ends {ends:?}"
        ))
    }

    fn is_at_rest(&self) -> bool {
        let world = self.world.borrow();
        let Some(life) = self.owner() else { return false };
        let is_idle = !life.stopping.get() && !life.has_work.get() && life.on_the_way.get() == 0;
        if !is_idle || !world.connector.is_done(&world.database.log) || life.modules != world.modules {
            return false;
        }
        let ends = world.kafka.ends();
        life.visible.borrow().covers(&ends) && world.objects.position().covers(&ends)
    }

    fn check(&self) -> Result<(), String> {
        let life = self.owner().ok_or("nobody is left")?;
        let held = life.held.borrow();
        check::star(&self.world.borrow(), &held, self.report.pauses == 0)?;
        check::lake(&self.world.borrow())
    }

    fn send(&mut self) {
        let world = &mut *self.world.borrow_mut();
        if world.rng.u8(0..4) == 0 {
            let restarts = !world.calm;
            let (schema, log) = (&world.schema, &world.database.log);
            if let Some(change) = world.connector.upcoming(log) {
                world.trace.note(|| format!("sent: {change:?}"));
            }
            world.connector.send(schema, log, &mut world.kafka, restarts, &mut world.rng);
        }
    }

    /// The process started last, if it lives and is awake.
    fn newest(&self) -> Option<Rc<Life>> {
        let (id, life) = self.lives.last_key_value()?;
        let is_up = self.tasks.has(*id) && !self.paused.contains(id);
        is_up.then(|| Rc::clone(life))
    }

    /// The process that is up and that nobody has outdone. An older one beside it
    /// that has nothing to write does not know of it.
    fn owner(&self) -> Option<Rc<Life>> {
        let highest = self.world.borrow().objects.highest_term().0;
        let is_owner = |(id, life): &(&ProcessId, &Rc<Life>)| {
            life.is_up.get() && life.term.get() == highest && self.tasks.has(**id)
        };
        self.lives.iter().find(is_owner).map(|(_, life)| Rc::clone(life))
    }

    fn is_starting(&self) -> bool {
        self.lives.iter().any(|(id, life)| !life.is_up.get() && self.tasks.has(*id))
    }

    fn start(&mut self) {
        let id = ProcessId(usize::try_from(self.report.processes).expect("few processes"));
        let disk = self.free_disk();
        let modules = self.world.borrow().modules.clone();
        self.note(|| format!("p{} starts on disk {disk} with modules {modules:?}", id.0));
        let life = Rc::new(Life::new(id, disk, modules));
        let spawner = self.tasks.spawner();
        let process =
            Process { life: Rc::clone(&life), world: Rc::clone(&self.world), spawner: spawner.clone() };
        spawner.spawn(id, process.start());
        self.tasks.take_spawned();
        self.lives.insert(id, life);
        self.report.processes += 1;
    }

    /// Mostly the disk used last, of those that no living process has.
    fn free_disk(&self) -> usize {
        let world = &mut *self.world.borrow_mut();
        let taken: Vec<usize> =
            self.lives.iter().filter(|(id, _)| self.tasks.has(**id)).map(|(_, life)| life.disk).collect();
        let free: Vec<usize> = (0..world.disks.len()).filter(|disk| !taken.contains(disk)).collect();
        let last = self.lives.values().next_back().map_or(0, |life| life.disk);
        if free.contains(&last) && world.rng.u8(0..8) > 0 {
            return last;
        }
        if !free.is_empty() && world.rng.bool() {
            return free[world.rng.usize(0..free.len())];
        }
        world.disks.push(Disk::default());
        world.disks.len() - 1
    }

    fn strike(&mut self) {
        let strikes = |one_in| self.world.borrow_mut().strikes(one_in);
        let (crash, stop, pause, wake, deploy) =
            (strikes(200), strikes(500), strikes(300), strikes(150), strikes(600));
        if crash {
            self.crash();
        }
        if stop && let Some(life) = self.newest() {
            self.note(|| format!("p{} is told to stop", life.id.0));
            life.stopping.set(true);
        }
        if pause
            && self.paused.len() < OLD_MAX
            && let Some(life) = self.newest()
        {
            self.note(|| format!("p{} is paused", life.id.0));
            self.paused.push(life.id);
            self.report.pauses += 1;
        }
        if wake && !self.paused.is_empty() {
            let old = self.paused.remove(0);
            self.note(|| format!("p{} wakes up", old.0));
        }
        if deploy {
            let world = &mut *self.world.borrow_mut();
            let which = world.rng.usize(0..world.modules.len());
            world.modules[which] += 1;
        }
    }

    /// Some process dies, and now and then its disk with it.
    fn crash(&mut self) {
        let alive: Vec<ProcessId> = self.lives.keys().copied().filter(|id| self.tasks.has(*id)).collect();
        if alive.is_empty() {
            return;
        }
        let (id, loses_disk) = {
            let rng = &mut self.world.borrow_mut().rng;
            (alive[rng.usize(0..alive.len())], rng.u8(0..8) == 0)
        };
        self.note(|| format!("p{} crashes{}", id.0, if loses_disk { ", and its disk is lost" } else { "" }));
        self.end(id);
        self.report.crashes += 1;
        if loses_disk {
            self.world.borrow().disks[self.lives[&id].disk].lose();
        }
    }

    fn end(&mut self, id: ProcessId) {
        self.tasks.end(id);
        self.paused.retain(|paused| *paused != id);
    }

    /// Some task of a process that is awake takes a step.
    fn step(&mut self) -> Result<(), String> {
        let awake: Vec<usize> = (0..self.tasks.len())
            .filter(|task| !self.paused.contains(&self.tasks.process_of(*task)))
            .collect();
        if awake.is_empty() {
            return Ok(());
        }
        let task = awake[self.world.borrow_mut().rng.usize(0..awake.len())];
        let id = self.tasks.process_of(task);
        self.report.steps += 1;
        if let Some(Err(halt)) = self.tasks.poll(task) {
            self.halted(id, &halt)?;
        }
        match self.world.borrow_mut().warehouse.broken.take() {
            Some(broken) => Err(broken),
            None => Ok(()),
        }
    }

    /// A task has failed, so its process ends. Only an old owner may meet
    /// another's traces.
    fn halted(&mut self, id: ProcessId, halt: &Halt) -> Result<(), String> {
        self.note(|| format!("p{} halts: {halt}", id.0));
        let is_outdone = self.world.borrow().objects.highest_term().0 > self.lives[&id].term.get();
        let is_due = match halt {
            Halt::Failed(_) => true,
            Halt::Fenced(_) | Halt::Table(_) => is_outdone,
            Halt::Manifest(_) | Halt::Engine(_) => false,
        };
        self.end(id);
        if is_due { Ok(()) } else { Err(format!("p{} halts: {halt}", id.0)) }
    }

    fn note(&self, line: impl FnOnce() -> String) {
        self.world.borrow_mut().trace.note(line);
    }
}
