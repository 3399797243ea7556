//! What is looked at once everything is at rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{DataType, Int64Type};
use dabi::lake::{Lake, LakeError};
use dabi_core::change::ChangeBatch;
use dabi_core::fold::Fold;
use futures::TryStreamExt as _;
use object_store::ObjectStore;

use crate::database::{Key, Row, Rows};
use crate::expected::expected;
use crate::kafka::offset;
use crate::schema::{Schema, Table};
use crate::transforms::texts;
use crate::world::{Shared, World};

/// The star is the transforms over the source tables, and so are its dead
/// letters and what is held.
pub(crate) fn star(world: &World, held: &BTreeMap<String, u64>) -> Result<(), String> {
    let transforms = world.transforms.iter().cloned().zip(world.modules.iter().copied()).collect::<Vec<_>>();
    let expected = expected(&world.database, &transforms);
    for (view, want) in &expected.views {
        let have = world.warehouse.view(view);
        let more: BTreeSet<_> = have.difference(want).collect();
        let less: BTreeSet<_> = want.difference(&have).collect();
        if !more.is_empty() || !less.is_empty() {
            return Err(format!("view {view} has {more:?}, and lacks {less:?}"));
        }
    }
    let letters: BTreeSet<(String, String)> = transforms
        .iter()
        .map(|(transform, _)| &transform.spec.name)
        .flat_map(|name| world.warehouse.letters.open(name).into_iter().map(|open| (name.clone(), open.key)))
        .collect();
    if letters != expected.letters {
        return Err(format!("dead letters are {letters:?}, expected {:?}", expected.letters));
    }
    if *held != expected.held {
        return Err(format!("held are {held:?}, expected {:?}", expected.held));
    }
    Ok(())
}

/// The lake has every change event exactly once, and folds to the source tables.
pub(crate) async fn lake(world: &Shared) -> Result<(), String> {
    let lake = Lake::in_store(Arc::clone(&world.objects) as Arc<dyn ObjectStore>);
    let (schema, tables) = world.with(|world| (world.schema.clone(), world.database.tables.clone()));
    for (table, want) in schema.tables.iter().zip(&tables) {
        let unreadable = |error: LakeError| format!("the lake cannot be read: {error}");
        let events = lake.read_table(&table.name()).await.map_err(unreadable)?;
        let events: Vec<ChangeBatch> = events.try_collect().await.map_err(unreadable)?;
        let mut offsets = BTreeSet::new();
        let mut fold = Fold::new(table.name());
        for batch in &events {
            for offset in batch.offsets().values() {
                if !offsets.insert((batch.partition(), *offset)) {
                    return Err(format!(
                        "the lake has offset {offset} of {}[{}] twice",
                        batch.topic(),
                        batch.partition()
                    ));
                }
            }
            fold.apply(batch).map_err(|error| format!("the lake does not fold: {error}"))?;
        }
        let sent = world.with(|world| sent(world, table));
        if offsets != sent {
            return Err(format!(
                "the lake has of {} the events {offsets:?}, sent were {sent:?}",
                table.name()
            ));
        }
        let have = rows(&schema, table, &fold);
        if have != *want {
            return Err(format!("{} folds to {have:?}, and holds {want:?}", table.name()));
        }
    }
    Ok(())
}

/// Partitions and offsets of the change events that were sent of `table`.
fn sent(world: &World, table: &Table) -> BTreeSet<(i32, i64)> {
    let mut sent = BTreeSet::new();
    for (number, records) in (0_i32..).zip(&world.kafka.topics[&table.topic()]) {
        for (index, record) in records.iter().enumerate() {
            let value = record.as_ref().and_then(|message| message.value.as_ref());
            // What begins so and is none is garbage.
            if value.is_some_and(|value| serde_json::from_slice::<serde_json::Value>(value).is_ok()) {
                sent.insert((number, offset(index)));
            }
        }
    }
    sent
}

/// The rows of a fold as the database has them.
fn rows(schema: &Schema, table: &Table, fold: &Fold) -> Rows {
    let mut rows = Rows::new();
    for batch in fold.rows() {
        let column = |name: &str, data_type: &DataType| -> ArrayRef {
            let place = batch
                .row_fields()
                .iter()
                .position(|field| field.name() == name)
                .expect("every column is sent");
            arrow::compute::cast(&batch.row_columns()[place], data_type).expect("an integer or text")
        };
        let int = |name: &str, row: usize| {
            let array = column(name, &DataType::Int64);
            array.is_valid(row).then(|| array.as_primitive::<Int64Type>().value(row))
        };
        let text = |name: &str, row: usize| {
            let array = column(name, &DataType::Utf8);
            array.is_valid(row).then(|| array.as_string::<i32>().value(row).to_owned())
        };
        let key = |id: &str, sub: &str, composite: bool, row: usize| {
            Some(Key { id: int(id, row)?, sub: if composite { text(sub, row) } else { None } })
        };
        for row in 0..batch.num_rows() {
            let references = table.references.iter().enumerate().map(|(place, to)| {
                key(&format!("r{place}"), &format!("r{place}_sub"), schema.tables[*to].composite, row)
            });
            let references = references.collect();
            let at = batch.row_fields().iter().position(|field| field.name() == "at").expect("it is sent");
            let at = texts(&batch.row_columns()[at..=at], row).remove(0);
            let at_us = string_to_timestamp_nanos(&at).map(|nanos| nanos / 1000).ok();
            let value = Row { v: int("v", row), big: text("big", row), at_us, references };
            rows.insert(key("id", "sub", table.composite, row).expect("a row has a key"), value);
        }
    }
    rows
}
