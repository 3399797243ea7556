//! What differs from before, for one transform in one epoch.
//!
//! Owns the comparison of outcomes, and the rows, tombstones and dead letters
//! that follow. Which of several source rows has a star key is `claims`.
//!
//! Invariant: exactly one row or tombstone leaves for each star key that differs
//! from what the warehouse has been given, and none for others.

use std::collections::HashMap;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
    new_empty_array,
};
use arrow::compute::take;
use arrow::error::ArrowError;
use xxhash_rust::xxh3::xxh3_64;

use super::EngineError;
use super::as_of::{ChangedTimelines, Readers, Timelines};
use super::claims::Claims;
use super::evaluate::{PAGE_ROWS, Page, PageError, Transforms, VERSIONED_PAGE_ROWS, evaluate};
use super::join::{Failure, Stop, Tables};
use super::meta::TableMeta;
use super::outbox::{ClearedLetter, Letter};
use super::outcome::{Entry, Kept, push_entry, push_held, push_letter};
use super::plan::TransformPlan;
use super::record::Head;
use super::target::TargetPlan;
use super::versions::add_timelines;
use crate::engine::rows::{LiveAndDead, insert_rows};
use crate::engine::state::{Puts, Regroupings, StateError};
use crate::fold::key::shown;
use crate::position::Offset;
use crate::version::Version;

/// The work of one transform in one epoch.
pub(super) struct Emission<'a> {
    pub(super) number: usize,
    pub(super) plan: &'a TransformPlan,
    pub(super) tables: &'a Tables<'a>,
    timelines: &'a Timelines<'a>,
    pub(super) transforms: &'a dyn Transforms,
    source: &'a TableMeta,
    pub(super) pages: Vec<Page>,
    /// Page and row of each source key that was evaluated; kept only where claims
    /// ask for it.
    pub(super) evaluated: HashMap<Box<[u8]>, (usize, usize)>,
    /// By target.
    rows: Vec<TargetDifference>,
    /// By target; `None` where a star key belongs to one source row.
    claims: Vec<Option<Claims>>,
    kept: (BinaryBuilder, BinaryBuilder),
    letters: (BinaryBuilder, BinaryBuilder),
    readers: Readers,
    /// Of targets that others refer to, by target.
    changed_timelines: Vec<ChangedTimelines>,
    pub(super) report: TransformDifference,
}

/// What is to be sent for one target.
#[derive(Default)]
pub(super) struct TargetDifference {
    /// Page and row.
    pub(super) live: Vec<(usize, u32)>,
    pub(super) dead: Vec<Tombstone>,
}

/// A star row that goes: its key, and the columns that rows are sorted by beside
/// it.
pub(super) struct Tombstone {
    pub(super) key: Box<[u8]>,
    pub(super) beside: Box<[u8]>,
}

/// Counts and letters of one transform in one epoch.
#[derive(Default)]
pub(super) struct TransformDifference {
    pub(super) evaluated: u64,
    pub(super) raised: Vec<Letter>,
    pub(super) cleared: Vec<ClearedLetter>,
    pub(super) held: i64,
    pub(super) letters: i64,
    pub(super) conflicts: u64,
}

/// What the epoch has to write and send of one transform.
pub(super) struct Emitted {
    pub(super) puts: Vec<Puts>,
    pub(super) regroupings: Vec<Regroupings>,
    /// By target.
    pub(super) batches: Vec<Vec<RecordBatch>>,
    /// By target; those that may have changed.
    pub(super) timelines: Vec<ChangedTimelines>,
    pub(super) report: TransformDifference,
}

impl<'a> Emission<'a> {
    /// `source` is what is known of the source table.
    pub(super) fn new(
        number: usize,
        plan: &'a TransformPlan,
        (tables, timelines): (&'a Tables<'a>, &'a Timelines<'a>),
        transforms: &'a dyn Transforms,
        source: &'a TableMeta,
    ) -> Self {
        let claims = plan
            .targets
            .iter()
            .map(|target| (!target.is_exclusive(&source.key)).then(|| Claims::new(source.order())));
        Self {
            number,
            plan,
            tables,
            timelines,
            transforms,
            source,
            pages: Vec::new(),
            evaluated: HashMap::new(),
            rows: plan.targets.iter().map(|_| TargetDifference::default()).collect(),
            claims: claims.collect(),
            kept: Default::default(),
            letters: Default::default(),
            readers: Readers::default(),
            changed_timelines: plan.targets.iter().map(|_| ChangedTimelines::new()).collect(),
            report: TransformDifference::default(),
        }
    }

    /// Evaluates source keys, none of which was evaluated in this epoch before.
    ///
    /// # Errors
    /// If the transform is to be stopped, or the store fails.
    pub(super) fn evaluate(&mut self, keys: &arrow::array::BinaryArray) -> Result<(), PageError> {
        let page_rows = if self.plan.keeps_versions() { VERSIONED_PAGE_ROWS } else { PAGE_ROWS };
        for from in (0..keys.len()).step_by(page_rows) {
            let keys = keys.slice(from, page_rows.min(keys.len() - from));
            let page = evaluate(self.number, self.plan, self.tables, self.timelines, self.transforms, keys)?;
            self.report.evaluated += page.keys.len() as u64;
            self.compare(&page)?;
            self.pages.push(page);
        }
        Ok(())
    }

    fn compare(&mut self, page: &Page) -> Result<(), EngineError> {
        let old = self.tables.state.read(self.plan.outputs, &page.keys)?;
        let has_claims = self.claims.iter().any(Option::is_some);
        let (mut buffer, mut number) = (Vec::new(), 0);
        let mut differing = Vec::new();
        for (key, old) in page.keys.iter().flatten().zip(&old) {
            buffer.clear();
            self.outcome(page, number, &mut buffer);
            if has_claims {
                self.evaluated.insert(key.into(), (self.pages.len(), number));
            }
            let new = (!buffer.is_empty()).then_some(buffer.as_slice());
            if old != new {
                let old = old.map(Kept::parse);
                self.differ(page, number, key, old, new.map(Kept::parse));
                self.kept.0.append_value(key);
                self.kept.1.append_option(new);
                differing.push((number, old));
            }
            number += 1;
        }
        self.compare_timelines(page, &differing)
            .map_err(|source| EngineError::Star { transform: self.plan.spec.name.clone(), source })?;
        Ok(self.compare_references(page)?)
    }

    /// Versions that others refer to, of source keys whose outcome differs.
    fn compare_timelines(
        &mut self,
        page: &Page,
        differing: &[(usize, Option<Kept<'_>>)],
    ) -> Result<(), ArrowError> {
        for (number, target) in self.plan.targets.iter().enumerate() {
            let Some(dimension) = target.dimension else { continue };
            let stood = differing.iter().filter_map(|(_, old)| *old).flat_map(Kept::entries);
            let stood: Vec<&[u8]> =
                stood.filter(|entry| entry.target == number).map(|entry| entry.key).collect();
            let stand = differing.iter().flat_map(|(key, _)| page.entries(*key));
            let stand: Vec<u32> =
                stand.filter(|(_, entry)| entry.target == number).map(|(row, _)| row).collect();
            let dimension = &self.timelines.dimensions[dimension];
            let changed = &mut self.changed_timelines[number];
            add_timelines(target, dimension, &stood, (&page.rows[number], &stand), changed)?;
        }
        Ok(())
    }

    /// Who refers to which versions now.
    fn compare_references(&mut self, page: &Page) -> Result<(), StateError> {
        if self.plan.references.is_empty() {
            return Ok(());
        }
        let old = self.tables.state.read(self.plan.reads, &page.keys)?;
        for ((number, key), old) in (0_u32..).zip(page.keys.iter().flatten()).zip(&old) {
            self.readers.change(key, old, page.reads.get(&number));
        }
        Ok(())
    }

    /// The bytes of what became of a key; none if it has no star rows.
    fn outcome(&self, page: &Page, number: usize, buffer: &mut Vec<u8>) {
        match page.stops.get(&row_number(number)) {
            Some(Stop::Held) => push_held(buffer),
            Some(Stop::Failed(failure)) => push_letter(buffer, xxh3_64(&letter_bytes(failure))),
            None => page.entries(number).for_each(|(_, entry)| push_entry(buffer, entry)),
        }
    }

    fn differ(
        &mut self,
        page: &Page,
        number: usize,
        key: &[u8],
        old: Option<Kept<'_>>,
        new: Option<Kept<'_>>,
    ) {
        let is = |kept: Option<Kept<'_>>, what: Kept<'_>| i64::from(kept == Some(what));
        self.report.held += is(new, Kept::Held) - is(old, Kept::Held);
        self.report.letters += is(new, Kept::Letter) - is(old, Kept::Letter);
        if let Some(Stop::Failed(failure)) = page.stops.get(&row_number(number)) {
            self.letters.0.append_value(key);
            self.letters.1.append_value(letter_bytes(failure));
            let row = page.failed.get(&row_number(number)).cloned().unwrap_or_default();
            self.report.raised.push(self.letter(key, &page.heads[number], failure, row));
        } else if old == Some(Kept::Letter) {
            self.letters.0.append_value(key);
            self.letters.1.append_null();
            self.report
                .cleared
                .push(ClearedLetter { transform: self.plan.spec.name.clone(), key: shown(key) });
        }
        let mut olds = old.into_iter().flat_map(Kept::entries).peekable();
        let mut news = page.entries(number).peekable();
        // Both are in the order of target and key.
        loop {
            let order = match (olds.peek(), news.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some((_, new))) => (old.target, old.key).cmp(&(new.target, new.key)),
            };
            let old = if order.is_le() { olds.next() } else { None };
            let new = if order.is_ge() { news.next() } else { None };
            self.entry_differs(key, old, new);
        }
    }

    fn letter(&self, key: &[u8], head: &Head, failure: &Failure, row: String) -> Letter {
        let topic = usize::try_from(head.topic).ok().and_then(|topic| self.source.topics.get(topic));
        Letter {
            transform: self.plan.spec.name.clone(),
            table: self.plan.spec.source.clone(),
            key: shown(key),
            topic: topic.cloned().unwrap_or_default(),
            partition: head.partition,
            offset: Offset(head.offset),
            stage: failure.stage,
            code: failure.code.clone(),
            message: failure.message.clone(),
            row,
        }
    }

    /// One star key that the source row had, or has.
    fn entry_differs(&mut self, source: &[u8], old: Option<Entry<'_>>, new: Option<(u32, Entry<'_>)>) {
        let page = self.pages.len();
        let same_place = |old: Entry<'_>, new: Entry<'_>| old.beside == new.beside;
        if let (Some(old), Some((_, new))) = (old, new)
            && old == new
        {
            return;
        }
        let Some(target) = old.or(new.map(|(_, new)| new)).map(|entry| entry.target) else { return };
        if let Some(claims) = &mut self.claims[target] {
            claims.change(source, old, new.map(|(row, entry)| (page, row, entry)));
            return;
        }
        let rows = &mut self.rows[target];
        if let Some((row, _)) = new {
            rows.live.push((page, row));
        }
        if let Some(old) = old.filter(|old| !new.is_some_and(|(_, new)| same_place(*old, new))) {
            rows.dead.push(Tombstone { key: old.key.into(), beside: old.beside.into() });
        }
    }

    /// Settles who has which star key, and puts together what is to be written
    /// and sent.
    ///
    /// # Errors
    /// As [`Emission::evaluate`].
    pub(super) fn finish(mut self, version: Version) -> Result<Emitted, PageError> {
        let mut regroupings = Vec::new();
        let is_open = |claims: &Option<Claims>| claims.as_ref().is_some_and(|claims| !claims.is_settled());
        while let Some(target) = self.claims.iter().position(is_open) {
            // Taken out, because settling evaluates more rows, which may claim again.
            let Some(mut claims) = self.claims[target].take() else { break };
            let wanted = claims.settle(target, &self)?;
            self.claims[target] = Some(claims);
            self.evaluate(&wanted)?;
        }
        for target in 0..self.plan.targets.len() {
            if let Some(claims) = self.claims[target].take() {
                let (difference, conflicts) = claims.difference();
                self.rows[target] = difference;
                self.report.conflicts += conflicts;
                regroupings.extend(claims.regroupings(self.plan.targets[target].claims));
            }
        }
        let mut batches = Vec::with_capacity(self.plan.targets.len());
        for (number, (target, rows)) in self.plan.targets.iter().zip(&self.rows).enumerate() {
            let built = batches_of(&self, number, target, rows, version)
                .map_err(|source| EngineError::Star { transform: self.plan.spec.name.clone(), source })?;
            batches.push(built);
        }
        let put = |space, (mut keys, mut values): (BinaryBuilder, BinaryBuilder)| {
            let keys = keys.finish();
            (!keys.is_empty()).then(|| Puts { space, keys, values: values.finish() })
        };
        let (reads, readers) = self.readers.finish(self.plan.reads, &self.plan.references);
        regroupings.extend(readers);
        let puts = [put(self.plan.outputs, self.kept), put(self.plan.letters, self.letters), reads];
        Ok(Emitted {
            puts: puts.into_iter().flatten().collect(),
            regroupings,
            batches,
            timelines: self.changed_timelines,
            report: self.report,
        })
    }
}

/// A page has few rows.
fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a page of rows")
}

/// A letter as the store keeps it.
fn letter_bytes(failure: &Failure) -> Vec<u8> {
    [failure.stage.as_str(), &failure.code, &failure.message].join("\0").into_bytes()
}

/// Live rows page by page; tombstones go with the last of them.
fn batches_of(
    emission: &Emission<'_>,
    number: usize,
    target: &TargetPlan,
    rows: &TargetDifference,
    version: Version,
) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut live: Vec<Vec<u32>> = vec![Vec::new(); emission.pages.len()];
    for (page, row) in &rows.live {
        live[*page].push(*row);
    }
    let mut pages: Vec<(usize, Vec<u32>)> =
        live.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()).collect();
    if pages.is_empty() && !rows.dead.is_empty() {
        pages.push((0, Vec::new()));
    }
    let last = pages.len().saturating_sub(1);
    let mut batches = Vec::with_capacity(pages.len());
    for (place, (page, picked)) in pages.into_iter().enumerate() {
        let dead: &[_] = if place == last { &rows.dead } else { &[] };
        let page = &emission.pages[page];
        let source = &page.rows[number];
        let heads = picked.iter().map(|row| page.heads[source.origin[*row as usize] as usize]);
        let (lsns, times): (Vec<_>, Vec<_>) = heads.map(|head| (head.lsn, head.ts_us)).unzip();
        let none = std::iter::repeat_n(None, dead.len());
        let lsns: Int64Array = lsns.into_iter().chain(none.clone()).collect();
        let times: TimestampMicrosecondArray = times.into_iter().chain(none).collect();
        let indices = UInt32Array::from(picked);
        let columns = source.columns.iter().map(|column| {
            if indices.is_empty() {
                Ok(new_empty_array(column.data_type()))
            } else {
                take(column, &indices, None)
            }
        });
        let rows = LiveAndDead {
            live: &columns.collect::<Result<Vec<_>, _>>()?,
            live_rows: indices.len(),
            dead: &dead_columns(target, dead)?,
            dead_rows: dead.len(),
            lsns: std::sync::Arc::new(lsns),
            times: std::sync::Arc::new(times.with_timezone("UTC")),
        };
        batches.push(insert_rows(&rows, &target.table.insert_schema(), version)?);
    }
    Ok(batches)
}

/// The columns that tell tombstones apart: those of the key, and those that rows
/// are sorted by beside it.
fn dead_columns(target: &TargetPlan, dead: &[Tombstone]) -> Result<Vec<Option<ArrayRef>>, ArrowError> {
    let mut columns = vec![None; target.width];
    let parser = target.key_rows.parser();
    let keys = target.key_rows.convert_rows(dead.iter().map(|row| parser.parse(&row.key)))?;
    columns_at(&mut columns, &target.key, keys);
    if let Some(rows) = &target.beside_rows {
        let parser = rows.parser();
        let beside = rows.convert_rows(dead.iter().map(|row| parser.parse(&row.beside)))?;
        columns_at(&mut columns, &target.beside, beside);
    }
    Ok(columns)
}

fn columns_at(columns: &mut [Option<ArrayRef>], positions: &[usize], arrays: Vec<ArrayRef>) {
    for (position, array) in positions.iter().zip(arrays) {
        columns[*position] = Some(array);
    }
}
