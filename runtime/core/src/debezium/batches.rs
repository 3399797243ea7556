//! The open batches of a topic: one for each partition and layout in use.
//!
//! Owns which batch a row goes to and when one is closed before the others. A
//! batch is closed early where a column's type gives way, where a row cannot
//! follow the last, and where its layout is forgotten.

use super::layout::{Layout, LayoutId, Layouts};
use super::open_batch::{Misfit, OpenBatch, Row};
use super::wire_type::WireType;
use crate::change::ChangeBatch;
use crate::position::Topic;

/// See the module.
pub(super) struct Batches {
    topic: Topic,
    open: Vec<OpenBatch>,
    /// where the last row went
    hint: usize,
    closed: Vec<ChangeBatch>,
    rows: usize,
    bytes: usize,
    /// has the topic ever had a before-image?
    with_before: bool,
}

impl Batches {
    pub(super) fn new(topic: Topic) -> Self {
        Self { topic, open: Vec::new(), hint: 0, closed: Vec::new(), rows: 0, bytes: 0, with_before: false }
    }

    /// Rows not yet drained.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What these rows take in memory; an estimate.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a row.
    ///
    /// # Errors
    /// If a value does not fit its column; nothing is then appended.
    pub(super) fn append<'a>(
        &mut self,
        id: LayoutId,
        layout: &Layout,
        partition: i32,
        row: &Row<'_, 'a>,
    ) -> Result<(), Misfit<'a>> {
        let place = self.place(id, layout, partition, row);
        let batch = &mut self.open[place];
        let before = batch.bytes();
        batch.append(layout, row)?;
        self.bytes += batch.bytes().saturating_sub(before);
        self.rows += 1;
        self.with_before |= row.before.is_some();
        Ok(())
    }

    fn place(&mut self, id: LayoutId, layout: &Layout, partition: i32, row: &Row<'_, '_>) -> usize {
        let is_ours = |batch: &OpenBatch| batch.layout == id && batch.partition == partition;
        let place = match self.open.get(self.hint) {
            Some(batch) if is_ours(batch) => Some(self.hint),
            _ => self.open.iter().position(is_ours),
        };
        let place = match place {
            Some(place) if self.open[place].takes(row) => place,
            Some(place) => {
                let full = std::mem::replace(&mut self.open[place], OpenBatch::new(id, layout, partition));
                self.push_closed(full, layout);
                place
            }
            None => {
                self.open.push(OpenBatch::new(id, layout, partition));
                self.open.len() - 1
            }
        };
        self.hint = place;
        place
    }

    fn push_closed(&mut self, batch: OpenBatch, layout: &Layout) {
        self.closed.extend(batch.finish(&self.topic, layout, self.with_before));
    }

    /// Closes the batches of a layout that is about to change.
    pub(super) fn close(&mut self, id: LayoutId, layout: &Layout) {
        let (closing, open) =
            std::mem::take(&mut self.open).into_iter().partition(|batch| batch.layout == id);
        self.open = open;
        let closing: Vec<OpenBatch> = closing;
        for batch in closing {
            self.push_closed(batch, layout);
        }
    }

    /// Gives a column of nulls a type, in all batches of the layout.
    pub(super) fn retype(&mut self, id: LayoutId, place: usize, ty: &WireType) {
        for batch in self.open.iter_mut().filter(|batch| batch.layout == id) {
            batch.retype(place, ty);
        }
    }

    /// Drains all rows. Those closed before the topic's first before-image
    /// keep their columns: `_before` is there from that image on.
    pub(super) fn finish(&mut self, layouts: &Layouts) -> Vec<ChangeBatch> {
        for batch in std::mem::take(&mut self.open) {
            let layout = layouts.get(batch.layout);
            self.closed.extend(batch.finish(&self.topic, layout, self.with_before));
        }
        (self.rows, self.bytes, self.hint) = (0, 0, 0);
        std::mem::take(&mut self.closed)
    }
}
