//! Rows in the order of their primary key.
//!
//! Owns the way between two orders of a key's columns. The bytes of a key have
//! them in the order of their names, which a declared lookup knows before any
//! event has come. The primary key lists them in another, as the Kafka key does in
//! every form of the wire, and that is the order in which SQL compares rows.
//!
//! Invariant: the bytes of ranked keys are in the order of the primary key.

use std::borrow::Cow;

use super::key::values;

/// The order of a table's primary key.
#[derive(Clone, Debug, Default)]
pub(crate) struct PrimaryOrder {
    /// For each column of the primary key its place among the names; empty where
    /// both orders are the same.
    places: Vec<usize>,
}

impl PrimaryOrder {
    /// `named` are the key's columns in the order of their names, `primary` the
    /// same in the order of the primary key.
    pub(crate) fn new(named: &[String], primary: &[String]) -> Self {
        let place = |column: &String| named.iter().position(|name| name == column);
        let places: Option<Vec<usize>> = primary.iter().map(place).collect();
        let differs = |places: &Vec<usize>| places.len() == named.len() && !places.is_sorted();
        Self { places: places.filter(differs).unwrap_or_default() }
    }

    /// The bytes by which the row of a key is compared with others.
    pub(crate) fn ranked<'a>(&self, key: &'a [u8]) -> Cow<'a, [u8]> {
        self.reordered(key, |to, place| (to, place))
    }

    /// The key of a row, from the bytes by which it is compared.
    pub(crate) fn named<'a>(&self, ranked: &'a [u8]) -> Cow<'a, [u8]> {
        self.reordered(ranked, |to, place| (place, to))
    }

    fn reordered<'a>(&self, key: &'a [u8], way: impl Fn(usize, usize) -> (usize, usize)) -> Cow<'a, [u8]> {
        let values = values(key);
        if self.places.is_empty() || values.len() != self.places.len() {
            return Cow::Borrowed(key);
        }
        let mut ordered = vec![&[][..]; values.len()];
        for (to, place) in self.places.iter().enumerate() {
            let (to, from) = way(to, *place);
            ordered[to] = values[from];
        }
        Cow::Owned(ordered.concat())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Int64Array, StringArray};

    use super::*;
    use crate::change::testing::{Event, change_batch};
    use crate::change::{Op, Wire, row_field};
    use crate::fold::key::{keys_of, shown};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn keys_are_ranked_in_the_order_of_the_primary_key_and_back() {
        let decimals = Decimal128Array::from(vec![-150, 1, 7_00]).with_precision_and_scale(10, 2).unwrap();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(StringArray::from(vec!["z\0", "y", ""]))),
            ("b", Arc::new(Int64Array::from(vec![1, 2, 3]))),
            ("c", Arc::new(decimals)),
        ];
        let columns = columns
            .into_iter()
            .map(|(name, array)| (row_field(name, array.data_type().clone(), Wire::Typed, None), array));
        let events: Vec<Event> = (0..3).map(|offset| Event::new(Op::Create, offset)).collect();
        let table = "shop.t".parse().unwrap();
        let batch = change_batch(&table, &["b", "c", "a"], columns.collect(), ("t", 0), &events);
        let (named, primary) = (keys_of(&batch, &[0, 1, 2]), keys_of(&batch, &[1, 2, 0]));
        let order = PrimaryOrder::new(&names(&["a", "b", "c"]), &names(&["b", "c", "a"]));
        for row in 0..3 {
            assert_eq!(*order.ranked(named.value(row)), *primary.value(row), "{}", shown(named.value(row)));
            assert_eq!(*order.named(primary.value(row)), *named.value(row));
        }
        let same = PrimaryOrder::new(&names(&["a", "b"]), &names(&["a", "b"]));
        assert!(matches!(same.ranked(named.value(0)), Cow::Borrowed(_)));
    }
}
