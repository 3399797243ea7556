//! The first events of each table, held against what the transforms ask for.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};

use super::Finding;
use crate::change::{CONNECT_NAME_KEY, ChangeBatch, Op, meta};
use crate::reading::read_columns;
use crate::spec::{BEFORE_PREFIX, Spec};
use crate::star::has_changes_known_by_place;
use crate::table::SourceTable;

/// Kafka Connect's own types of times, which count milliseconds.
const MILLISECONDS: [&str; 2] =
    ["org.apache.kafka.connect.data.Timestamp", "org.apache.kafka.connect.data.Time"];

/// Judges events of any tables, for `specs`.
#[must_use]
pub fn judge_events(specs: &[&Spec], batches: &[ChangeBatch]) -> Vec<Finding> {
    let mut by_table: BTreeMap<&SourceTable, Vec<&ChangeBatch>> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| !batch.row_fields().is_empty()) {
        by_table.entry(batch.table()).or_default().push(batch);
    }
    let mut findings = Vec::new();
    for (table, batches) in by_table {
        let sources: Vec<&&Spec> = specs.iter().filter(|spec| spec.source == *table).collect();
        let is_looked_up = specs.iter().any(|spec| spec.lookups.iter().any(|lookup| lookup.table == *table));
        if sources.is_empty() && !is_looked_up {
            continue;
        }
        let needs_key = is_looked_up || sources.iter().any(|spec| !spec.keeps_changes());
        if needs_key && batches.iter().any(|batch| batch.key().is_empty()) {
            findings.push(no_primary_key(table));
            continue;
        }
        findings.extend(lossy_times(table, &batches));
        findings.extend(no_order(table, &batches));
        for spec in sources {
            findings.extend(of_transform(spec, table, &batches));
        }
    }
    findings
}

/// What to do about a table without a primary key.
pub const NO_KEY_REMEDY: &str = "give it a primary key, or name key columns in the connector's message.key.columns \
                                 and set REPLICA IDENTITY FULL on it, or keep its changes alone, with append targets";

fn no_primary_key(table: &SourceTable) -> Finding {
    Finding::refused(
        format!("table {table}"),
        "its events have no key, so no update or delete can be matched with its row",
        NO_KEY_REMEDY,
    )
}

fn lossy_times(table: &SourceTable, batches: &[&ChangeBatch]) -> Option<Finding> {
    let mut columns = BTreeSet::new();
    for field in batches.iter().flat_map(|batch| batch.row_fields()) {
        let name = field.metadata().get(CONNECT_NAME_KEY);
        if name.is_some_and(|name| MILLISECONDS.contains(&name.as_str())) {
            columns.insert(field.name().as_str());
        }
    }
    (!columns.is_empty()).then(|| {
        Finding::refused(
            format!("table {table}, {}", columns.into_iter().collect::<Vec<_>>().join(", ")),
            "times are sent in milliseconds, and microseconds are lost",
            "set the connector's time.precision.mode to adaptive, and take a new snapshot",
        )
    })
}

fn no_order(table: &SourceTable, batches: &[&ChangeBatch]) -> Option<Finding> {
    let none = |of: fn(&ChangeBatch) -> &dyn Array| {
        batches.iter().all(|batch| of(batch).null_count() == batch.num_rows())
    };
    let missing: Vec<&str> =
        [("commit times", none(|batch| batch.commit_ts())), ("LSNs", none(|batch| batch.lsns()))]
            .into_iter()
            .filter_map(|(what, is_missing)| is_missing.then_some(what))
            .collect();
    (!missing.is_empty()).then(|| {
        Finding::warning(
            format!("table {table}"),
            format!(
                "its events carry no {}: a truncate cannot be held against rows that were sent around it",
                missing.join(" and no ")
            ),
            "where they are flattened, set add.fields to op,source.ts_ms,lsn (snapshot reads may lack an LSN)",
        )
    })
}

fn of_transform(spec: &Spec, table: &SourceTable, batches: &[&ChangeBatch]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place = format!("transform {}, table {table}", spec.name);
    let fields = batches[0].row_fields();
    let key: Vec<&str> = batches[0].key().iter().map(|column| fields[*column].name().as_str()).collect();
    let declared = spec.stateful_reasons(None);
    let reasons = spec.stateful_reasons(Some(&key));
    if declared.is_empty() && !reasons.is_empty() {
        findings.push(Finding::refused(
            &place,
            format!("it would run without row state, and cannot: {}", reasons.join("; ")),
            "pass the whole primary key through as the target's key",
        ));
    }
    let is_stateless = declared.is_empty();
    findings.extend(unread(spec, &place, batches));
    findings.extend(unsent(spec, &place, batches, is_stateless));
    findings.extend(no_before(spec, &place, batches));
    findings.extend(no_identity(spec, &place, batches));
    findings
}

/// Columns that cannot be read as declared, and values that cannot.
fn unread(spec: &Spec, place: &str, batches: &[&ChangeBatch]) -> Option<Finding> {
    let (mut first, mut rows) = (None, 0);
    for batch in batches {
        match read_columns(batch, spec) {
            Err(error) => {
                let remedy = "nothing can be evaluated until declaration and source agree";
                return Some(Finding::refused(place, error.to_string(), remedy));
            }
            Ok((_, faults)) => {
                let mut faults: Vec<_> = faults.into_iter().filter(|f| f.code != "unavailable").collect();
                faults.dedup_by_key(|fault| fault.row);
                rows += faults.len();
                first = first.or(faults.into_iter().next());
            }
        }
    }
    first.map(|fault| {
        let fault = format!("{rows} of the first rows are dead letters; the first: {}", fault.message);
        Finding::warning(place, fault, "mend the source or the declaration")
    })
}

/// Columns asked for that come as placeholders.
fn unsent(spec: &Spec, place: &str, batches: &[&ChangeBatch], is_stateless: bool) -> Option<Finding> {
    if !is_stateless {
        // Row state has the values.
        return None;
    }
    let mut columns = BTreeSet::new();
    for batch in batches {
        let lists = batch.meta(meta::UNAVAILABLE).as_list::<i32>();
        let names = lists.values().as_string::<i32>().iter().flatten();
        columns.extend(names.filter(|name| spec.columns.iter().any(|column| column.name == *name)));
    }
    (!columns.is_empty()).then(|| {
        Finding::warning(
            place,
            format!(
                "{}: updates that do not change such a value (TOAST) come without it, and become dead letters",
                columns.into_iter().collect::<Vec<_>>().join(", ")
            ),
            format!("ALTER TABLE {} REPLICA IDENTITY FULL", spec.source),
        )
    })
}

/// Before-images that are needed and not sent.
fn no_before(spec: &Spec, place: &str, batches: &[&ChangeBatch]) -> Option<Finding> {
    let lacks = |batch: &&ChangeBatch| {
        let before = batch.before();
        batch
            .ops()
            .enumerate()
            .any(|(row, op)| op == Op::Update && before.is_none_or(|before| before.is_null(row)))
    };
    if !batches.iter().any(lacks) {
        return None;
    }
    let full = format!("ALTER TABLE {} REPLICA IDENTITY FULL", spec.source);
    if spec.columns.iter().any(|column| column.name.starts_with(BEFORE_PREFIX)) {
        return Some(Finding::warning(
            place,
            "it asks for before-images, and updates come without them",
            full,
        ));
    }
    (spec.keeps_changes() && spec.is_called_for(Op::Delete)).then(|| {
        Finding::warning(
            place,
            "it keeps deletes, and these may come with the row's key alone, the rest null, 0 or empty: updates come \
             without before-images",
            format!("{full}, or leave d out of the ops of its targets"),
        )
    })
}

/// Changes that are kept, and cannot be told from one another.
fn no_identity(spec: &Spec, place: &str, batches: &[&ChangeBatch]) -> Option<Finding> {
    let lack = batches.iter().any(|batch| has_changes_known_by_place(batch));
    (spec.keeps_changes() && lack).then(|| {
        Finding::warning(
            place,
            "it keeps changes, and these have no LSN or no key: one that is sent again stands twice",
            "give the table a primary key; where events are flattened, set add.fields to op,source.ts_ms,lsn",
        )
    })
}
