//! Star against shop, value by value.
//!
//! Invariant: what is compared was computed twice: by the transforms, and by
//! the shop from its own rows.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use dabi_core::star::quote;
use dabi_shop::{Shop, Target};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::warehouse::Warehouse;

/// Differences of a target that are told.
const TOLD: usize = 3;

/// What became of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TargetVerdict {
    /// Rows that a reader of the star finds.
    pub rows: usize,
    /// Rows that it should find.
    pub expected: usize,
    /// The first differences; empty if every value of every row is equal.
    #[serde(skip)]
    pub differences: Vec<String>,
}

#[derive(Deserialize)]
struct RowOf {
    row: Vec<String>,
}

/// Compares every target with the shop's own rows. A target that cannot be read
/// has differences too.
pub async fn judge(shop: &Shop, warehouse: &Warehouse) -> BTreeMap<&'static str, TargetVerdict> {
    let never = CancellationToken::new();
    let mut verdicts = BTreeMap::new();
    for target in Target::ALL {
        let expected = shop.expected(target);
        let (select, database) = (target.select(), quote(warehouse.database()));
        let sql = format!("SELECT {select} AS row FROM {database}.{}", quote(target.name()));
        let found = warehouse.rows::<RowOf>(&sql, &format!("read {}", target.name()), &never).await;
        let verdict = match found {
            Ok(found) => compare(found.into_iter().map(|found| found.row).collect(), &expected),
            Err(error) => TargetVerdict {
                rows: 0,
                expected: expected.len(),
                differences: vec![format!("it cannot be read: {error}")],
            },
        };
        verdicts.insert(target.name(), verdict);
    }
    verdicts
}

/// Compares rows in any order with sorted ones.
fn compare(mut found: Vec<Vec<String>>, expected: &[Vec<String>]) -> TargetVerdict {
    found.sort_unstable();
    let mut verdict = TargetVerdict { rows: found.len(), expected: expected.len(), differences: Vec::new() };
    let (mut found, mut expected) = (found.iter().peekable(), expected.iter().peekable());
    while verdict.differences.len() < TOLD {
        let order = match (found.peek(), expected.peek()) {
            (Some(found), Some(expected)) => found.cmp(expected),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let difference = match order {
            Ordering::Less => found.next().map(|row| format!("the star alone has {}", row.join(", "))),
            Ordering::Greater => expected.next().map(|row| format!("the shop alone has {}", row.join(", "))),
            Ordering::Equal => found.next().and(expected.next()).and(None),
        };
        verdict.differences.extend(difference);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&str]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.split(' ').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn equal_rows_in_any_order_have_no_difference() {
        let verdict = compare(rows(&["2 b", "1 a"]), &rows(&["1 a", "2 b"]));
        assert_eq!(verdict, TargetVerdict { rows: 2, expected: 2, differences: Vec::new() });
    }

    #[test]
    fn a_changed_a_missing_and_a_doubled_row_are_told() {
        let told = |found: &[&str], expected: &[&str]| compare(rows(found), &rows(expected)).differences;
        assert_eq!(told(&["1 x"], &["1 a"]), ["the shop alone has 1, a", "the star alone has 1, x"]);
        assert_eq!(told(&[], &["1 a"]), ["the shop alone has 1, a"]);
        assert_eq!(told(&["1 a", "1 a"], &["1 a"]), ["the star alone has 1, a"]);
        assert_eq!(told(&["1 a", "2 b", "3 c", "4 d"], &[]).len(), TOLD);
    }
}
