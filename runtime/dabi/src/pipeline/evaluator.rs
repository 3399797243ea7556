//! From an epoch's events to everything that the star is told of it.
//!
//! Owns which events each transform gets, the number of each epoch of the star,
//! and the star's position. Does not own how rows are made (`evaluate`,
//! `stateful`) or sent (`star_lane`).
//!
//! Invariant: epochs are numbered without a gap within a term.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use dabi_core::calendar;
use dabi_core::change::{ChangeBatch, Op};
use dabi_core::engine::stateful::{Commands, Letter, Outbox};
use dabi_core::fold::Truncate;
use dabi_core::position::Position;
use dabi_core::resume;
use dabi_core::star::TargetTable;
use dabi_core::version::{Epoch, Term, Version};
use tokio::time::Instant;

use super::PipelineError;
use super::epoch::SealedEpoch;
use super::evaluate::{EvaluateError, Failure, LiveTransform, Output};
use super::samples::Samples;
use super::stateful::{Stateful, StatefulError, Stored};
use super::status::{Status, now_ms};
use super::swap::Coverage;
use super::transforms::FIRST_GENERATION;
use crate::warehouse::{ClearedLetterRow, DeadLetterRow, EpochRecord};

/// Of how many events of a batch latency is measured.
const LATENCY_SAMPLES_MAX: usize = 64;

/// The rows of one epoch.
pub(super) struct StarEpoch {
    pub(super) number: Epoch,
    pub(super) position: Position,
    pub(super) inserts: Vec<Insert>,
    pub(super) truncates: Vec<(TargetTable, Truncate)>,
    pub(super) dead_letters: Vec<DeadLetterRow>,
    /// Dead letters that are no more.
    pub(super) cleared: Vec<ClearedLetterRow>,
    pub(super) record: EpochRecord,
    /// Tells its inserts from others of the same version.
    pub(super) part: String,
    pub(super) rows: usize,
    pub(super) closed_at: Instant,
    pub(super) times: Vec<EventTimes>,
    /// To be told once everything is stored.
    pub(super) stored: Option<Stored>,
    /// Keeps the epoch's share of memory until its rows are stored.
    _epoch: Option<Arc<SealedEpoch>>,
}

/// When an event, and the next few after it, happened.
pub(super) struct EventTimes {
    /// How many events it stands for.
    pub(super) events: u64,
    /// None for the read of a snapshot, which was committed at some time before.
    pub(super) commit_us: Option<i64>,
    pub(super) kafka_ms: Option<i64>,
}

pub(super) struct Insert {
    pub(super) target: String,
    pub(super) table: String,
    pub(super) batches: Vec<RecordBatch>,
}

impl StarEpoch {
    /// An epoch of which nothing is stored but its record.
    fn new(record: EpochRecord) -> Self {
        Self {
            number: record.epoch,
            position: record.position.clone(),
            inserts: Vec::new(),
            truncates: Vec::new(),
            dead_letters: Vec::new(),
            cleared: Vec::new(),
            record,
            part: String::new(),
            rows: 0,
            closed_at: Instant::now(),
            times: Vec::new(),
            stored: None,
            _epoch: None,
        }
    }

    /// Page `page` of fill `number`: it has the version of an epoch whose rows
    /// are stored already.
    pub(super) fn filling(mut self, number: u64, page: u64) -> Self {
        self.part = format!("-fill{number}-{page}");
        self
    }

    /// Adds what the transforms that need row state made of the epoch.
    fn add(&mut self, commands: Commands, stateful: &Stateful) {
        let Commands { outbox, report, .. } = commands;
        self.rows += usize::try_from(report.events + report.evaluated).unwrap_or(usize::MAX);
        self.send(outbox, stateful);
        self.stored = Some(stateful.stored());
    }

    /// Adds what is on its way to the warehouse.
    pub(super) fn send(&mut self, outbox: Outbox, stateful: &Stateful) {
        self.inserts.extend(outbox.inserts.into_iter().map(|insert| Insert {
            target: stateful.view_of(&insert.table),
            table: insert.table,
            batches: insert.batches,
        }));
        let module = |letter: &Letter| stateful.module_of(&letter.transform);
        let generation = stateful.generation();
        self.dead_letters.extend(outbox.raised.into_iter().map(|letter| DeadLetterRow {
            generation,
            module: module(&letter),
            source: letter.table.to_string(),
            key: letter.key,
            topic: letter.topic,
            partition: letter.partition,
            offset: letter.offset.0,
            stage: letter.stage,
            code: letter.code,
            message: letter.message,
            row: letter.row,
            // The engine clears its letters itself.
            lsn: None,
            ts_us: None,
            transform: letter.transform,
        }));
        let cleared = outbox.cleared.into_iter();
        self.cleared.extend(cleared.map(|letter| ClearedLetterRow {
            transform: letter.transform,
            generation,
            key: letter.key,
        }));
    }
}

/// What turns epochs into rows.
pub(super) struct Evaluator {
    /// Names the pipeline in `_dabi_epochs`.
    pub(super) pipeline: String,
    /// The fence of every version.
    pub(super) term: Term,
    /// The transforms that need no row state.
    pub(super) transforms: Vec<LiveTransform>,
    /// Those that do, if there are any.
    pub(super) stateful: Option<Stateful>,
    /// Events below it are in the star already, but for those that need row
    /// state: the engine knows its own position.
    pub(super) start: Position,
    /// Where the star stands after the last epoch that was evaluated.
    pub(super) position: Position,
    /// The last epoch that was evaluated.
    pub(super) last: Epoch,
    /// Events that a transform, by its name, is given once more.
    pub(super) retried: BTreeMap<String, Vec<ChangeBatch>>,
    /// Of the newest events.
    pub(super) samples: Samples,
    /// Shown to whoever asks.
    pub(super) status: Status,
}

impl Evaluator {
    /// An evaluator of `transforms` for a star that has nothing yet.
    pub(super) fn new(pipeline: String, term: Term, transforms: Vec<LiveTransform>, status: Status) -> Self {
        Self {
            pipeline,
            term,
            transforms,
            stateful: None,
            start: Position::default(),
            position: Position::default(),
            last: Epoch(0),
            retried: BTreeMap::new(),
            samples: Samples::default(),
            status,
        }
    }

    /// Evaluates one epoch; blocks, so call it on a CPU thread.
    ///
    /// # Errors
    /// If a transform can never run on its source, or the state store fails.
    pub(super) fn evaluate(&mut self, epoch: &Arc<SealedEpoch>) -> Result<StarEpoch, PipelineError> {
        let all: Vec<ChangeBatch> =
            epoch.decoded.iter().flat_map(|decoded| &decoded.batches).cloned().collect();
        let batches: Vec<ChangeBatch> = all
            .iter()
            .filter_map(|batch| match self.start.get(batch.topic(), batch.partition()) {
                Some(start) => batch.after(start),
                None => Some(batch.clone()),
            })
            .collect();
        // While the lake catches up, events come again that the star has.
        self.position.advance(&epoch.position);
        self.last = self.last.next();
        let mut star = self.evaluate_batches(&batches, self.last)?;
        self.evaluate_stateful(&mut star, &all, &epoch.position)?;
        for batch in &batches {
            self.samples.offer(batch, epoch.closed_at);
        }
        for transform in self.transforms.iter_mut().filter(|transform| transform.stopped.is_none()) {
            if !transform.is_tried && batches.iter().any(|batch| *batch.table() == transform.spec().source) {
                transform.is_tried = true;
                self.status.transform(&transform.entry, |report| report.first_batch_ms = Some(now_ms()));
            }
            if std::mem::take(&mut transform.holds_truncates_again) {
                let again = transform.truncates.iter();
                let of_tables = again
                    .flat_map(|truncate| transform.tables.iter().map(move |table| (table.clone(), truncate)));
                star.truncates.extend(of_tables);
            }
        }
        star.closed_at = epoch.closed_at;
        // Not those of a replay: its events were visible long ago.
        star.times = batches.iter().flat_map(sample_times).collect();
        star._epoch = Some(Arc::clone(epoch));
        Ok(star)
    }

    /// Evaluates `batches`, and what is to be retried, as epoch `number`.
    ///
    /// # Errors
    /// If a transform can never run on its source.
    pub(super) fn evaluate_batches(
        &mut self,
        batches: &[ChangeBatch],
        number: Epoch,
    ) -> Result<StarEpoch, EvaluateError> {
        let version = Version::new(self.term, number);
        let mut retried = std::mem::take(&mut self.retried);
        let (mut inserts, mut truncates, mut dead_letters, mut cleared, mut rows) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0);
        for transform in self.transforms.iter_mut().filter(|transform| transform.stopped.is_none()) {
            // Before the new ones, which may decide their keys.
            let mut own = retried.remove(&transform.spec().name).unwrap_or_default();
            own.extend(batches.iter().filter(|batch| *batch.table() == transform.spec().source).cloned());
            if own.is_empty() {
                continue;
            }
            rows += own.iter().map(ChangeBatch::num_rows).sum::<usize>();
            let output = match transform.evaluate(&own, version) {
                Err(error) if transform.coverage == Coverage::Whole || error.is_defect() => {
                    return Err(error);
                }
                // What came in while running must not end what runs.
                Err(error) => {
                    transform.stopped = Some(error.to_string());
                    Output::default()
                }
                Ok(output) => output,
            };
            if let Some(reason) = &transform.stopped {
                transform.tell_stopped(reason, &self.status);
                continue;
            }
            let Output { rows: by_target, truncates: fresh, failures: failed, repaired } = output;
            for (table, batches) in transform.tables.iter().zip(by_target) {
                truncates.extend(fresh.iter().map(|truncate| (table.clone(), *truncate)));
                if !batches.is_empty() {
                    let (target, table) = (table.view_name().to_owned(), table.physical_name());
                    inserts.push(Insert { target, table, batches });
                }
            }
            dead_letters.extend(failed.iter().map(|failure| dead_letter(transform, failure)));
            let name = &transform.spec().name;
            cleared.extend(repaired.into_iter().map(|key| ClearedLetterRow {
                transform: name.clone(),
                generation: FIRST_GENERATION,
                key,
            }));
        }
        Ok(StarEpoch {
            inserts,
            truncates,
            dead_letters,
            cleared,
            rows,
            ..StarEpoch::new(self.record(number))
        })
    }

    /// Evaluates a page of the lake through the transforms that need no row state.
    ///
    /// # Errors
    /// If a transform can never run on its source.
    pub(super) fn replay(&mut self, batches: &[ChangeBatch]) -> Result<StarEpoch, EvaluateError> {
        self.last = self.last.next();
        self.evaluate_batches(batches, self.last)
    }

    /// One epoch of the transforms that need row state alone: from the lake, or,
    /// without events, of work that is left. Blocks.
    ///
    /// # Errors
    /// If the state store fails, or the events do not fit the declarations.
    pub(super) fn work(
        &mut self,
        batches: &[ChangeBatch],
        position: &Position,
    ) -> Result<StarEpoch, PipelineError> {
        self.last = self.last.next();
        let mut star = self.evaluate_batches(&[], self.last)?;
        self.evaluate_stateful(&mut star, batches, position)?;
        Ok(star)
    }

    /// What an epoch of the store had on its way, as it was.
    pub(super) fn resend(&self, term: Term, epoch: Epoch, outbox: Outbox, stateful: &Stateful) -> StarEpoch {
        let record = EpochRecord { term, ..self.record(epoch) };
        let mut star = StarEpoch::new(record);
        star.send(outbox, stateful);
        star
    }

    /// Is there work that an epoch without events would take up?
    pub(super) fn has_work(&self) -> bool {
        !self.retried.is_empty() || self.stateful.as_ref().is_some_and(|stateful| stateful.engine.has_work())
    }

    fn evaluate_stateful(
        &mut self,
        star: &mut StarEpoch,
        batches: &[ChangeBatch],
        position: &Position,
    ) -> Result<(), PipelineError> {
        let Some(stateful) = &mut self.stateful else { return Ok(()) };
        let had_work = stateful.engine.has_work();
        let commands =
            stateful.apply(self.term, star.number, batches, position).map_err(StatefulError::Engine)?;
        for member in stateful.members.iter_mut().filter(|member| !member.is_tried) {
            let source = &member.module().spec().source;
            // The calendar's events are the engine's own; an epoch has brought them by now.
            if *source == calendar::table() || batches.iter().any(|batch| batch.table() == source) {
                member.is_tried = true;
                self.status.transform(&member.entry, |report| report.first_batch_ms = Some(now_ms()));
            }
        }
        for (name, reason) in &commands.stopped {
            stateful.tell_stopped(name, reason, &self.status);
        }
        stateful.remark(&commands.report, &self.status);
        self.status.work(stateful.engine.progress());
        if had_work && !stateful.engine.has_work() {
            for member in &stateful.members {
                self.status.transform(&member.entry, |report| report.note = None);
            }
        }
        star.add(commands, stateful);
        star.record = self.record(star.number);
        Ok(())
    }

    /// The star stands at `position`, and events below it are skipped.
    pub(super) fn start_at(&mut self, position: Position) {
        self.start.clone_from(&position);
        self.position = position;
    }

    /// Everything is brought up: the star is where all its transforms are. As an
    /// epoch of its own, since nothing else might come for long.
    pub(super) fn brought_up(&mut self) -> EpochRecord {
        if let Some(stateful) = &self.stateful {
            // What waits in the state store waits whether an event comes or not.
            self.status.work(stateful.engine.progress());
        }
        self.position = self.starts();
        self.last = self.last.max(Epoch(1));
        self.record(self.last)
    }

    /// From where on events are needed.
    pub(super) fn starts(&self) -> Position {
        let stateful = self.stateful.as_ref().map(|stateful| stateful.engine.position());
        let stateless = (stateful.is_none() || !self.transforms.is_empty()).then_some(&self.start);
        resume::star_start(stateless, stateful)
    }

    /// What `_dabi_epochs` is told once epoch `number` is stored.
    pub(super) fn record(&self, number: Epoch) -> EpochRecord {
        let running = self.transforms.iter().filter(|transform| transform.stopped.is_none());
        EpochRecord {
            pipeline: self.pipeline.clone(),
            term: self.term,
            epoch: number,
            position: self.position.clone(),
            modules: running
                .clone()
                .filter(|transform| transform.coverage == Coverage::Whole)
                .map(|t| (t.spec().name.clone(), t.module().hash().to_string()))
                .chain(self.stateful.iter().flat_map(Stateful::modules))
                .collect(),
            truncates: running
                .filter(|transform| !transform.spec().keeps_changes())
                .map(|t| (t.spec().source.to_string(), t.truncates.clone()))
                .collect::<BTreeMap<_, _>>(),
            open_work: self.stateful.iter().flat_map(Stateful::open_work).collect(),
        }
    }
}

fn dead_letter(transform: &LiveTransform, failure: &Failure) -> DeadLetterRow {
    let (event, spec) = (&failure.event, transform.spec());
    tracing::debug!(transform = spec.name, code = failure.code, failure.message, "dead letter");
    let at = Truncate::at(event, 0);
    DeadLetterRow {
        transform: spec.name.clone(),
        generation: FIRST_GENERATION,
        module: transform.module().hash().to_string(),
        source: spec.source.to_string(),
        topic: event.topic().to_string(),
        key: failure.key.clone().unwrap_or_default(),
        partition: event.partition(),
        offset: event.span().from.0,
        stage: failure.stage,
        code: failure.code.clone(),
        message: failure.message.clone(),
        row: event.row_json(0).to_string(),
        lsn: at.lsn,
        ts_us: at.ts_us,
    }
}

/// Times of events spread evenly over a batch.
fn sample_times(batch: &ChangeBatch) -> Vec<EventTimes> {
    let (commits, kafka) = (batch.commit_ts(), batch.kafka_ts());
    let step = batch.num_rows().div_ceil(LATENCY_SAMPLES_MAX);
    let sampled = batch.ops().enumerate().step_by(step);
    let times = sampled.map(|(row, op)| EventTimes {
        events: step.min(batch.num_rows() - row) as u64,
        commit_us: (op != Op::Read && commits.is_valid(row)).then(|| commits.value(row)),
        kafka_ms: kafka.is_valid(row).then(|| kafka.value(row)),
    });
    times.collect()
}
