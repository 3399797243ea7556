//! Decoding whole captures.

use dabi_core::change::ChangeBatch;

/// The change events of a table, partition by partition.
pub(crate) fn change_batches(variant: &str, table: &str) -> Vec<ChangeBatch> {
    let decoded = dabi_fixtures::decode(variant, &format!("cdc_{variant}.shop.{table}"), 1000);
    let dead = decoded.iter().flat_map(|decoded| &decoded.dead_letters).next();
    assert!(dead.is_none(), "{variant} {table}: {dead:?}");
    decoded.into_iter().flat_map(|decoded| decoded.batches).collect()
}
