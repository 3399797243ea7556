//! Orders and their lines, as a stateful transform of the lines would keep them:
//! rows of both, an index from order to lines, an output for each line.

use std::collections::BTreeMap;

use arrow::array::{Array, BinaryArray, BooleanArray};
use dabi_core::engine::state::{Commit, Puts, Regroupings, Space};
use dabi_core::version::{Epoch, Term};
use fastrand::Rng;

pub(crate) const EPOCH_EVENTS: u32 = 10_000;
const NEW_LINES: u32 = EPOCH_EVENTS / 2;
const ORDERS: Space = Space(0);
const LINES: Space = Space(1);
const OUTPUTS: Space = Space(2);
const LINES_OF_ORDER: Space = Space(3);
const OUTBOX_BYTES: usize = 600_000;

/// What happens, and how far it has come.
pub(crate) struct Workload {
    rng: Rng,
    orders: u32,
    /// How many there are; their numbers go from 0.
    lines: u32,
    loaded: u32,
    epoch: Epoch,
}

/// The keys of an epoch's reads.
pub(crate) struct Reads {
    lines: Vec<u32>,
    line_keys: BinaryArray,
    order_keys: BinaryArray,
}

/// What was read.
pub(crate) struct Read {
    rows: BinaryArray,
    orders: BinaryArray,
    outputs: BinaryArray,
}

impl Reads {
    pub(crate) fn each(&self, mut read: impl FnMut(Space, &BinaryArray) -> BinaryArray) -> Read {
        Read {
            rows: read(LINES, &self.line_keys),
            orders: read(ORDERS, &self.order_keys),
            outputs: read(OUTPUTS, &self.line_keys),
        }
    }
}

impl Workload {
    pub(crate) fn new(orders: u32) -> Self {
        Self { rng: Rng::with_seed(1), orders, lines: 0, loaded: 0, epoch: Epoch(0) }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The next part of what is there at first.
    pub(crate) fn load(&mut self) -> Option<Commit> {
        let from = self.loaded;
        self.loaded = self.orders.min(from + 2 * EPOCH_EVENTS);
        if from == self.loaded {
            return None;
        }
        let numbers = from..self.loaded;
        self.lines = self.loaded;
        let rows = |space| numbers.clone().map(move |number| (space, number)).collect::<Vec<_>>();
        let orders = self.puts(ORDERS, &rows(0_u8));
        let lines = self.puts(LINES, &rows(1));
        let outputs = self.outputs(&numbers.clone().collect::<Vec<_>>());
        let index = self.index(&numbers.collect::<Vec<_>>());
        Some(self.close(vec![orders, lines, outputs], index))
    }

    /// What the next epoch reads: half of the lines are there.
    pub(crate) fn next_epoch(&mut self) -> Reads {
        let known = self.lines;
        let new = (0..NEW_LINES).map(|number| known + number);
        let mut lines: BTreeMap<Vec<u8>, u32> = new.map(|line| (key(1, line), line)).collect();
        while lines.len() < EPOCH_EVENTS as usize {
            let line = self.rng.u32(0..known);
            lines.insert(key(1, line), line);
        }
        self.lines += NEW_LINES;
        let parents = lines.values().map(|line| Some(key(0, self.order_of(*line))));
        let order_keys = parents.collect();
        let line_keys = lines.keys().map(Some).collect();
        Reads { lines: lines.into_values().collect(), line_keys, order_keys }
    }

    /// What it writes.
    pub(crate) fn commit(&mut self, reads: &Reads, read: &Read) -> Commit {
        let new: Vec<u32> = reads
            .lines
            .iter()
            .copied()
            .zip(0..)
            .filter(|(_, at)| read.rows.is_null(*at))
            .map(|(line, _)| line)
            .collect();
        assert_eq!(new.len(), NEW_LINES as usize, "half of them are new");
        assert_eq!(read.orders.null_count(), 0, "every line has its order");
        assert_eq!(read.outputs.null_count(), new.len(), "every old line has an output");
        let lines: Vec<(u8, u32)> = reads.lines.iter().map(|line| (1, *line)).collect();
        let puts = vec![self.puts(LINES, &lines), self.outputs(&reads.lines)];
        let index = self.index(&new);
        self.close(puts, index)
    }

    /// The order of a line: spread over all.
    fn order_of(&self, line: u32) -> u32 {
        let spread = u64::from(line) * 2_654_435_761 % u64::from(self.orders);
        u32::try_from(spread).expect("below the number of orders")
    }

    /// Rows of 80 to 120 bytes.
    fn puts(&mut self, space: Space, rows: &[(u8, u32)]) -> Puts {
        let keys = rows.iter().map(|(kind, number)| Some(key(*kind, *number))).collect();
        let mut row = [0; 120];
        let values = rows.iter().map(|_| {
            self.rng.fill(&mut row);
            Some(row[..self.rng.usize(80..=120)].to_vec())
        });
        Puts { space, keys, values: values.collect() }
    }

    fn outputs(&mut self, lines: &[u32]) -> Puts {
        let keys = lines.iter().map(|line| Some(key(1, *line))).collect();
        let values = lines.iter().map(|_| Some(self.rng.u128(..).to_le_bytes().repeat(2))).collect();
        Puts { space: OUTPUTS, keys, values }
    }

    fn index(&self, lines: &[u32]) -> Regroupings {
        Regroupings {
            space: LINES_OF_ORDER,
            groups: lines.iter().map(|line| Some(key(0, self.order_of(*line)))).collect(),
            members: lines.iter().map(|line| Some(key(1, *line))).collect(),
            joins: BooleanArray::from(vec![true; lines.len()]),
        }
    }

    fn close(&mut self, puts: Vec<Puts>, index: Regroupings) -> Commit {
        self.epoch = self.epoch.next();
        let mut outbox = vec![0; OUTBOX_BYTES];
        self.rng.fill(&mut outbox);
        Commit {
            term: Term(1),
            epoch: self.epoch,
            puts,
            regroupings: vec![index],
            meta: vec![1; 200],
            outbox,
        }
    }
}

/// 16 bytes, in no order.
fn key(kind: u8, number: u32) -> Vec<u8> {
    let spread = number.wrapping_mul(2_654_435_769).to_be_bytes();
    [&[kind; 8], &spread[..], &number.to_be_bytes()].concat()
}
