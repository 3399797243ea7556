//! The way from a process to its neighbours, and what can go wrong on it.
//!
//! Owns how long a request takes and whether it arrives. A request that is under
//! way belongs to nobody: it arrives although its sender has died meanwhile, or
//! has given up on it and asked again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::transforms::Version;
use crate::world::{Shared, World};

/// How long a sender waits for an answer.
const PATIENCE_MS: u64 = 400;
/// After an attempt without an answer comes a pause, then another.
const PAUSE_MS: u64 = 50;

/// A process as seen from outside.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) id: usize,
    /// The disk of its row state, which no other process has meanwhile.
    pub(crate) disk: usize,
    /// The modules that it runs.
    pub(crate) modules: Vec<Version>,
    /// It is to end once everything is read.
    pub(crate) finish: CancellationToken,
    /// It is to end soon.
    pub(crate) stop: CancellationToken,
    /// Does it run? Else it neither sends nor hears.
    pub(crate) awake: watch::Sender<bool>,
}

/// One process's way to everybody; cheap to clone.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) world: Shared,
    pub(crate) life: Arc<Life>,
}

/// May a request arrive when its sender has asked again?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lateness {
    Possible,
    Never,
}

/// The sender was told to stop before there was an answer.
#[derive(Debug)]
pub(crate) struct Stopped;

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It never arrives, and that is told.
    Refused,
    /// It never arrives.
    Lost,
    /// It is done, and the answer is lost.
    Unanswered,
    /// It arrives when nobody waits for it any more.
    Late,
}

impl Life {
    pub(crate) fn new(id: usize, disk: usize, modules: Vec<Version>) -> Self {
        Self {
            id,
            disk,
            modules,
            finish: CancellationToken::new(),
            stop: CancellationToken::new(),
            awake: watch::Sender::new(true),
        }
    }
}

impl Line {
    /// Waits until the process is awake.
    pub(crate) async fn awake(&self) {
        let mut awake = self.life.awake.subscribe();
        // It lives as long as the line.
        let _ = awake.wait_for(|awake| *awake).await;
    }

    /// Makes a request until it is answered, or `stop`.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        what: &str,
        lateness: Lateness,
        stop: &CancellationToken,
        request: impl Fn(&mut World) -> T + Clone + Send + 'static,
    ) -> Result<T, Stopped> {
        let until_answered = async {
            loop {
                let (world, request) = (self.world.clone(), request.clone());
                if let Some(answer) = self.attempt(what, lateness, async move { world.with(request) }).await {
                    return answer;
                }
                sleep(Duration::from_millis(PAUSE_MS)).await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Stopped),
            answer = until_answered => Ok(answer),
        }
    }

    /// Makes a request once; `None` without an answer, whether it was done or not.
    pub(crate) async fn attempt<T: Send + 'static>(
        &self,
        what: &str,
        lateness: Lateness,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.awake().await;
        let (fate, there_ms, back_ms) = self.world.with(|world| {
            world.requests += 1;
            let fate = fate(world, lateness);
            let (there, back) = (latency_ms(world), latency_ms(world));
            let late = PATIENCE_MS + world.rng.u64(0..2 * PATIENCE_MS);
            (fate, if fate == Fate::Late { late } else { there }, back)
        });
        self.note(|| format!("{what}: {fate:?}"));
        let answer = match fate {
            Fate::Refused => {
                sleep(Duration::from_millis(back_ms)).await;
                None
            }
            Fate::Lost => {
                sleep(Duration::from_millis(PATIENCE_MS)).await;
                None
            }
            Fate::Late | Fate::Unanswered => {
                drop(self.send(there_ms, request));
                sleep(Duration::from_millis(PATIENCE_MS)).await;
                None
            }
            Fate::Answered => {
                let arrived = self.send(there_ms, request);
                let answer = arrived.await.expect("a neighbour does not panic");
                sleep(Duration::from_millis(back_ms)).await;
                Some(answer)
            }
        };
        self.awake().await;
        answer
    }

    /// What is under way arrives, whatever becomes of its sender.
    fn send<T: Send + 'static>(
        &self,
        there_ms: u64,
        request: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        let world = self.world.clone();
        world.with(|world| world.under_way += 1);
        tokio::spawn(async move {
            sleep(Duration::from_millis(there_ms)).await;
            let done = request.await;
            world.with(|world| world.under_way -= 1);
            done
        })
    }

    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        let id = self.life.id;
        self.world.note(|| format!("p{id} {}", line()));
    }
}

fn fate(world: &mut World, lateness: Lateness) -> Fate {
    if world.calm {
        return Fate::Answered;
    }
    match world.rng.u8(0..100) {
        0..3 => Fate::Refused,
        3..6 => Fate::Unanswered,
        6 => Fate::Lost,
        7 if lateness == Lateness::Possible => Fate::Late,
        _ => Fate::Answered,
    }
}

/// Most requests take a moment; some are held up.
fn latency_ms(world: &mut World) -> u64 {
    match world.rng.u8(0..40) {
        _ if world.calm => 1,
        0 => world.rng.u64(100..1_000),
        1..4 => world.rng.u64(10..100),
        _ => world.rng.u64(1..10),
    }
}
