//! Reading as a list of scalars: from Connect arrays and from JSON arrays.
//!
//! Invariant: an element that cannot be read makes its whole row a fault.

use std::sync::Arc;

use arrow::array::{Array, ArrayBuilder, ArrayRef, AsArray, ListArray, NullBufferBuilder, StringBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType as Arrow, Field};
use serde_json::value::RawValue;

use super::sent::{Faults, Sent, Source};
use super::{Fault, convert};
use crate::change::{CONNECT_NAME_KEY, Wire};
use crate::data_type::DataType;

/// `None`: such elements can never be read as `item`.
pub(super) fn lists(source: &Source<'_>, item: &DataType, faults: &mut Faults) -> Option<ListArray> {
    match source.array.data_type() {
        Arrow::List(field) => typed(source, field, item, faults),
        _ => from_json(source, item, faults),
    }
}

fn typed(source: &Source<'_>, field: &Field, item: &DataType, faults: &mut Faults) -> Option<ListArray> {
    let list = source.array.as_list::<i32>();
    let (first, last) = (list.offsets()[0], list.offsets()[source.array.len()]);
    let start = usize::try_from(first).ok()?;
    let elements = list.values().slice(start, usize::try_from(last - first).ok()?);
    let offsets: Vec<i32> = list.offsets().iter().map(|offset| offset - first).collect();
    let name = field.metadata().get(CONNECT_NAME_KEY).map(String::as_str);
    let wire = Wire::of(field).unwrap_or(Wire::Typed);
    let elements = Source { array: &elements, wire, name, hints: source.hints };
    assemble(&elements, item, offsets, list.nulls(), faults)
}

fn from_json(source: &Source<'_>, item: &DataType, faults: &mut Faults) -> Option<ListArray> {
    let rows = source.array.len();
    let mut elements = StringBuilder::new();
    let mut offsets = Vec::with_capacity(rows + 1);
    let mut nulls = NullBufferBuilder::new(rows);
    offsets.push(0);
    source.visit(|sent| {
        let row = offsets.len() - 1;
        let list: Option<Vec<&RawValue>> = match sent {
            Some(Sent::Document(text)) => serde_json::from_str(text).ok(),
            _ => None,
        };
        if let (Some(sent), None) = (sent, &list) {
            faults.push((row, Fault::unreadable(sent, "it is not an array")));
        }
        nulls.append(list.is_some());
        list.iter().flatten().for_each(|element| elements.append_value(element.get()));
        offsets.push(i32::try_from(elements.len()).unwrap_or(i32::MAX));
    });
    let elements: ArrayRef = Arc::new(elements.finish());
    let elements = Source { array: &elements, wire: Wire::Json, name: None, hints: source.hints };
    assemble(&elements, item, offsets, nulls.finish().as_ref(), faults)
}

fn assemble(
    elements: &Source<'_>,
    item: &DataType,
    offsets: Vec<i32>,
    nulls: Option<&NullBuffer>,
    faults: &mut Faults,
) -> Option<ListArray> {
    let (values, element_faults) = convert(elements, item)?;
    let rows = offsets.len() - 1;
    let mut valid: Vec<bool> = (0..rows).map(|row| nulls.is_none_or(|nulls| nulls.is_valid(row))).collect();
    for (element, fault) in element_faults {
        // the row is the last one that begins at or before the element
        let row = offsets.partition_point(|offset| usize::try_from(*offset).is_ok_and(|o| o <= element)) - 1;
        if std::mem::take(&mut valid[row]) {
            faults.push((row, fault));
        }
    }
    let field = Arc::new(Field::new_list_field(item.arrow(), true));
    Some(ListArray::new(field, OffsetBuffer::new(offsets.into()), values, Some(NullBuffer::from(valid))))
}
