//! The engine against a model that computes everything anew.

use proptest::prelude::*;

use super::*;
use crate::change::ChangeBatch;
use crate::engine::state::State;
use crate::engine::state::testing::MapState;
use crate::fold::Fold;
use crate::version::{Epoch, Term};

mod days;
mod history;
mod model;
mod recomputed;
mod rules;
mod transforms;
mod versions;
mod warehouse;
mod world;

use history::is_settled;
use model::expected;
use recomputed::recomputed;
use transforms::{Native, drafts, transforms as transforms_of};
use warehouse::Warehouse;
use world::{Database, PARTITIONS, Schema, Sent, batch, deliver, schemas, steps, table};

/// How the next epoch comes to be.
#[derive(Clone, Debug)]
struct Cut {
    /// From which partition, how many events, with wide integers.
    takes: Vec<(usize, usize, bool)>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Committed and sent.
    Good,
    /// The process dies before the commit.
    Lost,
    /// It dies after the commit, before the rows are sent.
    Unsent,
    /// It dies after they are sent, before that is noted.
    Unnoted,
}

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    let fate = prop_oneof![
        6 => Just(Fate::Good), 1 => Just(Fate::Lost), 1 => Just(Fate::Unsent), 1 => Just(Fate::Unnoted)
    ];
    let takes = prop::collection::vec((0..8_usize, 1..6_usize, any::<bool>()), 0..5);
    prop::collection::vec((takes, fate).prop_map(|(takes, fate)| Cut { takes, fate }), 0..16)
}

/// A pipeline around an engine, which may die.
struct Pipeline {
    transforms: Vec<StatefulTransform>,
    settings: Settings,
    native: Native,
    engine: Engine,
    state: MapState,
    warehouse: Warehouse,
    term: u32,
    epoch: u64,
}

impl Pipeline {
    fn new(transforms: Vec<StatefulTransform>, settings: Settings) -> Self {
        let native = Native(transforms.iter().map(|transform| transform.spec.clone()).collect());
        let state = MapState::default();
        let engine = ready(&transforms, settings, &state);
        Self {
            transforms,
            settings,
            native,
            engine,
            state,
            warehouse: Warehouse::default(),
            term: 1,
            epoch: 0,
        }
    }

    fn apply(&mut self, batches: &[ChangeBatch], fate: Fate) {
        let mut position = Position::default();
        for batch in batches {
            position.set(batch.topic(), batch.partition(), batch.span().to);
        }
        self.epoch += 1;
        let (term, epoch) = (Term(self.term), Epoch(self.epoch));
        let events = EpochEvents { term, epoch, batches, position: &position };
        let commands = self.engine.apply(&events, &self.state, &self.native).expect("events that fit");
        assert!(commands.stopped.is_empty());
        if fate != Fate::Lost {
            self.state.commit(&commands.commit).expect("a map never fails");
            if fate != Fate::Unsent {
                self.warehouse.store(&self.transforms, &commands.outbox);
            }
        }
        if fate == Fate::Good {
            self.state.sent(epoch).expect("a map never fails");
        } else {
            self.restart();
        }
        if fate == Fate::Lost {
            self.apply(batches, Fate::Good);
        }
    }

    fn restart(&mut self) {
        self.engine = ready(&self.transforms, self.settings, &self.state);
        for unsent in self.state.unsent().expect("a map never fails") {
            let outbox = Outbox::decode(&unsent.outbox).expect("what was encoded");
            self.warehouse.store(&self.transforms, &outbox);
        }
        self.term += 1;
        self.epoch = 0;
    }

    fn finish_work(&mut self) {
        for _ in 0..10_000 {
            if !self.engine.has_work() {
                return;
            }
            self.apply(&[], Fate::Good);
        }
        panic!("work that does not end: {:?}", self.engine.progress());
    }
}

fn ready(transforms: &[StatefulTransform], settings: Settings, state: &MapState) -> Engine {
    match Engine::open(transforms, settings, state.committed().as_ref()).expect("declarations that fit") {
        Opened::Ready(engine) => engine,
        Opened::Rebuild { reason } => panic!("a store that the same transforms wrote: {reason}"),
    }
}

/// Compares the star, the dead letters and what is held with the model.
fn check(
    schema: &Schema,
    (folds, events): (&[Fold], &[Vec<ChangeBatch>]),
    delivered: &[&Sent],
    pipeline: &Pipeline,
) -> Result<(), TestCaseError> {
    let expected = expected(schema, folds, delivered, &pipeline.transforms, &pipeline.native);
    for transform in &pipeline.transforms {
        for table in &transform.tables {
            let name = table.physical_name();
            let want = expected.views.get(&name).cloned().unwrap_or_default();
            prop_assert_eq!(pipeline.warehouse.view(&name), want, "{}", name);
        }
    }
    let progress = pipeline.engine.progress();
    prop_assert_eq!(&pipeline.warehouse.letters, &expected.letters);
    prop_assert_eq!(progress.letters.values().sum::<u64>(), expected.letters.len() as u64);
    prop_assert_eq!(&progress.held, &expected.held);
    // What `dabi verify` holds the star against.
    for (name, recomputed) in recomputed(events, &pipeline.transforms, &pipeline.native) {
        prop_assert_eq!(recomputed, expected.of(&pipeline.transforms, &name));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However partitions interleave, epochs are cut, connectors restart and
    /// processes die: when no work is open, the star is the transforms over the
    /// fold, and over the log where they keep versions.
    #[test]
    fn the_star_equals_the_transforms_over_the_fold(
        schema in schemas(),
        drafts in drafts(),
        steps in steps(),
        with_lsn in any::<bool>(),
        restarts in prop::collection::vec((1..80_usize, 1..10_usize), 0..5),
        cuts in cuts(),
        page_rows in 1..5_usize,
    ) {
        let database = Database::run(&schema, &steps, with_lsn);
        let mut restarts = restarts;
        restarts.sort_unstable();
        let partitions = deliver(&database.log, schema.tables.len(), &restarts);
        let mut rest: Vec<&[Sent]> = partitions.iter().map(Vec::as_slice).collect();
        let mut folds: Vec<Fold> = (0..schema.tables.len()).map(|number| Fold::new(table(number))).collect();
        let mut events: Vec<Vec<ChangeBatch>> = vec![Vec::new(); schema.tables.len()];
        let mut delivered: Vec<&Sent> = Vec::new();
        let mut pipeline = Pipeline::new(transforms_of(&schema, &drafts), Settings { page_rows, ..Settings::default() });
        let all = (0..partitions.len()).map(|partition| (partition, usize::MAX, true)).collect();
        for cut in cuts.into_iter().chain([Cut { takes: all, fate: Fate::Good }]) {
            let mut batches = Vec::new();
            for (partition, len, wide) in cut.takes {
                let partition = partition % partitions.len();
                let (now, later) = rest[partition].split_at(len.min(rest[partition].len()));
                rest[partition] = later;
                delivered.extend(now.iter().map(|sent| &database.log[sent.number]));
                if !now.is_empty() {
                    batches.push(batch(&schema, partition, wide, now));
                }
            }
            for batch in &batches {
                let number: usize = batch.table().table()[1..].parse().expect("t and a number");
                folds[number].apply(batch).expect("in order");
                events[number].push(batch.clone());
            }
            pipeline.apply(&batches, cut.fate);
            delivered.sort_unstable_by_key(|sent| sent.number);
            delivered.dedup_by_key(|sent| sent.number);
            if !pipeline.engine.has_work() && is_settled(&database.log, &delivered) {
                check(&schema, (&folds, &events), &delivered, &pipeline)?;
            }
        }
        pipeline.finish_work();
        check(&schema, (&folds, &events), &delivered, &pipeline)?;
        prop_assert!(rest.iter().all(|rest| rest.is_empty()) && partitions.len() == schema.tables.len() * PARTITIONS);
    }
}
