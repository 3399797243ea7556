//! What the oracle expects of targets that keep every change: the database's log.

use xxhash_rust::xxh3::xxh3_64;

use crate::database::{Act, Change, Database, Key, Row};
use crate::expected::{Expected, Stop, given, values};
use crate::transforms::{Transform, Version};

/// What is known of a row once it is gone, but for its key.
const GONE: Row = Row { v: None, big: None, at_us: None, references: Vec::new() };

/// Adds the rows and dead letters of `transform`.
pub(crate) fn expected(database: &Database, transform: &Transform, module: Version, expected: &mut Expected) {
    let view = expected.views.entry(transform.spec.targets[0].table.clone()).or_default();
    for change in database.log.iter().filter(|change| change.table == transform.steps[0]) {
        let (op, key, row) = match &change.act {
            Act::Create(key, row) | Act::Arrive { key, row, .. } => ("c", key, row),
            Act::Update { key, row, .. } => ("u", key, row),
            Act::Delete(key) | Act::Leave { key, .. } => ("d", key, &GONE),
            Act::Truncate => continue,
        };
        let change_key = change_key(change, op, key);
        let given = values(&transform.spec.columns, Some((key, row)))
            .and_then(|inputs| given(transform, module, 0, row.v, &inputs));
        match given {
            Ok(rows) => view.extend(rows.into_iter().map(|mut row| {
                row.push(change_key.clone());
                row
            })),
            Err(Stop::Refused | Stop::Held) => {
                let letter = format!("{} change {change_key}", key.shown());
                expected.letters.insert((transform.spec.name.clone(), letter));
            }
        }
    }
}

/// By its definition (`dabi_core::star::change_keys` says it in words).
fn change_key(change: &Change, op: &str, key: &Key) -> String {
    let Change { ts_us, lsn, tx, .. } = change;
    let sub = key.sub.as_ref().map(|sub| format!("\0{sub}")).unwrap_or_default();
    xxh3_64(format!("{ts_us}\0{lsn}\0{tx}\0{op}\0{}{sub}\0{}", key.id, 0).as_bytes()).to_string()
}
