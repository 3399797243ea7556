//! Random transforms, and a native function that answers for all of them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType as Arrow, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::super::{Applied, AppliedError, AppliedRows, StatefulTransform, Transforms};
use super::world::{Schema, table};
use crate::data_type::DataType;
use crate::spec::{
    AsOf, ColumnSource, InputColumn, Lookup, MissingPolicy, Options, Spec, Target, TargetColumn, TargetKind,
};
use crate::star::TargetTable;

/// Numbers that a transform is made from, whatever the schema is.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    source: usize,
    lookups: Vec<DraftLookup>,
    needs_v: bool,
    asks_big: bool,
    targets: Vec<usize>,
    /// Does a change of `n` begin a version?
    tracks: bool,
    refers_to: usize,
    no_version: MissingPolicy,
}

#[derive(Clone, Debug)]
struct DraftLookup {
    from: usize,
    reference: usize,
    missing: MissingPolicy,
    needs_v: bool,
    asks_big: bool,
    turned: bool,
}

pub(super) fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let missing =
        || prop::sample::select(vec![MissingPolicy::Nulls, MissingPolicy::Hold, MissingPolicy::Reject]);
    let lookup = (0..4_usize, 0..2_usize, missing(), prop::bool::weighted(0.2), any::<bool>(), any::<bool>())
        .prop_map(|(from, reference, missing, needs_v, asks_big, turned)| DraftLookup {
            from,
            reference,
            missing,
            needs_v,
            asks_big,
            turned,
        });
    let targets = prop::sample::subsequence((0..TARGETS).collect::<Vec<_>>(), 1..=TARGETS);
    let history = (prop::bool::weighted(0.8), 0..3_usize, missing());
    let draft = (
        0..4_usize,
        prop::collection::vec(lookup, 0..4),
        prop::bool::weighted(0.2),
        any::<bool>(),
        targets,
        history,
    )
        .prop_map(|(source, lookups, needs_v, asks_big, targets, (tracks, refers_to, no_version))| Draft {
            source,
            lookups,
            needs_v,
            asks_big,
            targets,
            tracks,
            refers_to,
            no_version,
        });
    prop::collection::vec(draft, 1..4)
}

fn input(name: &str, data_type: DataType, nullable: bool) -> InputColumn {
    InputColumn { name: name.into(), data_type, nullable, read: true, options: Options::new() }
}

fn columns(needs_v: bool, asks_big: bool) -> Vec<InputColumn> {
    let mut columns = vec![input("v", DataType::Int64, !needs_v)];
    if asks_big {
        columns.push(input("big", DataType::Text, true));
    }
    columns
}

/// The transforms that `drafts` come to over `schema`.
pub(super) fn transforms(schema: &Schema, drafts: &[Draft]) -> Vec<StatefulTransform> {
    let dimensions: Vec<Dimension> = drafts
        .iter()
        .enumerate()
        .filter(|(_, draft)| draft.targets.contains(&VERSIONS))
        .map(|(number, draft)| Dimension {
            name: format!("d{number}_{VERSIONS}"),
            composite: schema.tables[draft.source % schema.tables.len()].composite,
        })
        .collect();
    let transforms = drafts.iter().enumerate();
    transforms.map(|(number, draft)| transform(schema, number, draft, &dimensions)).collect()
}

/// A target that keeps versions.
struct Dimension {
    name: String,
    composite: bool,
}

fn transform(schema: &Schema, number: usize, draft: &Draft, dimensions: &[Dimension]) -> StatefulTransform {
    let mut targets = draft.targets.clone();
    targets.retain(|kind| *kind != REFERRING || !dimensions.is_empty());
    if targets.is_empty() {
        targets.push(OWN);
    }
    let source = draft.source % schema.tables.len();
    let mut of_step = vec![source];
    let mut lookups: Vec<Lookup> = Vec::new();
    for lookup in &draft.lookups {
        let from = lookup.from % of_step.len();
        let references = &schema.tables[of_step[from]].references;
        let reference = lookup.reference % references.len();
        let to = references[reference];
        let prefix = if from == 0 { String::new() } else { format!("{}.", lookups[from - 1].name) };
        let mut key = vec!["id".to_owned()];
        let mut on = vec![format!("{prefix}r{reference}")];
        if schema.tables[to].composite {
            key.push("sub".into());
            on.push(format!("{prefix}r{reference}_sub"));
        }
        if lookup.turned {
            key.reverse();
            on.reverse();
        }
        lookups.push(Lookup {
            name: format!("l{}", lookups.len()),
            table: table(to),
            key,
            on,
            columns: columns(lookup.needs_v, lookup.asks_big),
            missing: lookup.missing,
        });
        of_step.push(to);
    }
    let mut own = vec![input("id", DataType::Int64, false)];
    if schema.tables[source].composite {
        own.push(input("sub", DataType::Text, false));
    }
    let key = own.len();
    own.extend(columns(draft.needs_v, draft.asks_big));
    let spec = Spec {
        name: format!("x{number}"),
        version: "1".into(),
        source: table(source),
        columns: own,
        lookups,
        targets: targets
            .iter()
            .map(|kind| match *kind {
                REFERRING => referring(number, key, draft, &dimensions[draft.refers_to % dimensions.len()]),
                kind => target(number, kind, key, draft.tracks),
            })
            .collect(),
        options: Options::new(),
    };
    let tables = spec.targets.iter().map(|target| TargetTable::new(&spec, target, 1)).collect();
    StatefulTransform { spec, module: "m1".into(), tables }
}

const TARGETS: usize = 6;
/// One row per source row, under its key.
const OWN: usize = 0;
/// None to two, told apart by `n`.
const SEVERAL: usize = 1;
/// One, shared with other source rows.
const SHARED: usize = 2;
/// One, sorted by something that changes.
const SORTED: usize = 3;

/// A version of each row, with what lookups find now.
const VERSIONS: usize = 4;
/// One, with the version of some row at some time.
const REFERRING: usize = 5;

fn column(name: &str, data_type: DataType, source: ColumnSource) -> TargetColumn {
    TargetColumn {
        name: name.into(),
        data_type,
        nullable: false,
        source,
        tracked: false,
        options: Options::new(),
    }
}

/// The source's key, of so many columns.
fn key_columns(key: usize) -> Vec<TargetColumn> {
    let mut columns = vec![column("id", DataType::Int64, ColumnSource::Input(0))];
    if key > 1 {
        columns.push(column("sub", DataType::Text, ColumnSource::Input(1)));
    }
    columns
}

fn referring(transform: usize, key: usize, draft: &Draft, dimension: &Dimension) -> Target {
    let mut columns = key_columns(key);
    let names = columns.iter().map(|column| column.name.clone()).collect();
    let computed = |name: &str, data_type: DataType| TargetColumn {
        nullable: true,
        ..column(name, data_type, ColumnSource::Computed)
    };
    let mut key = vec!["ref".to_owned()];
    columns.push(computed("ref", DataType::Int64));
    if dimension.composite {
        columns.push(computed("ref_sub", DataType::Text));
        key.push("ref_sub".into());
    }
    columns.push(computed("at", DataType::TimestampTz));
    // A row that keeps versions cannot be rejected for want of others'.
    let missing = match draft.no_version {
        MissingPolicy::Reject if draft.targets.contains(&VERSIONS) => MissingPolicy::Hold,
        missing => missing,
    };
    columns.push(TargetColumn {
        nullable: missing == MissingPolicy::Nulls,
        ..column("version", DataType::Uint64, ColumnSource::AsOf(0))
    });
    columns.push(column("digest", DataType::Text, ColumnSource::Computed));
    let as_of = AsOf { dimension: dimension.name.clone(), key, at: "at".into(), missing };
    Target {
        table: format!("d{transform}_{REFERRING}"),
        kind: TargetKind::Latest,
        columns,
        key: names,
        as_of: vec![as_of],
        options: Options::new(),
    }
}

fn target(transform: usize, kind: usize, key: usize, tracks: bool) -> Target {
    let computed = |name: &str| column(name, DataType::Int64, ColumnSource::Computed);
    let mut columns = key_columns(key);
    if kind == SHARED {
        columns = vec![computed("n")];
    } else if kind == SEVERAL {
        columns.push(computed("n"));
    }
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut options = Options::new();
    if kind == SORTED {
        columns.push(computed("n"));
        options.insert("order".into(), format!("n, {}", names.join(", ")));
    }
    if kind == VERSIONS {
        columns.push(TargetColumn { tracked: tracks, ..computed("n") });
    }
    columns.push(column("digest", DataType::Text, ColumnSource::Computed));
    Target {
        table: format!("d{transform}_{kind}"),
        kind: if kind == VERSIONS { TargetKind::Scd2 } else { TargetKind::Latest },
        columns,
        key: names,
        as_of: Vec::new(),
        options,
    }
}

/// All transforms, natively.
pub(super) struct Native(pub(super) Vec<Spec>);

impl Transforms for Native {
    fn apply(&self, transform: usize, rows: usize, inputs: &[ArrayRef]) -> Result<Applied, String> {
        let spec = &self.0[transform];
        assert!(inputs.iter().all(|column| column.len() == rows), "columns of one length");
        let v = spec.columns.iter().position(|column| column.name == "v").expect("always asked");
        let v = inputs[v].as_primitive::<Int64Type>();
        let value = |row: usize| if v.is_valid(row) { v.value(row) } else { -1 };
        let digests = digests(rows, inputs);
        let mut applied = Applied::default();
        let refused = |row: &usize| value(*row) == 7;
        for row in (0..rows).filter(refused) {
            let error = AppliedError {
                row: u32::try_from(row).expect("few rows"),
                code: "seven".into(),
                message: digests[row].clone(),
            };
            applied.errors.push(error);
        }
        for (number, target) in spec.targets.iter().enumerate() {
            let kind: usize = target.table[target.table.len() - 1..].parse().expect("a digit");
            let (mut origin, mut ns, mut texts) = (Vec::new(), Vec::new(), Vec::new());
            let mut values = Vec::new();
            for row in (0..rows).filter(|row| !refused(row)) {
                let n = value(row).rem_euclid(3);
                let count = if kind == SEVERAL { n } else { i64::from(n != 2 || kind == OWN) };
                // A shared row is the same for some, and for others not.
                let text =
                    if kind == SHARED { format!("{}", value(row) / 3 % 2) } else { digests[row].clone() };
                for each in 0..count {
                    origin.push(u32::try_from(row).expect("few rows"));
                    ns.push(if kind == SEVERAL { each } else { n });
                    texts.push(text.clone());
                    values.push(value(row));
                }
            }
            // Of what some row finds nothing is known.
            let known = |of: fn(i64) -> i64| values.iter().map(move |v| (*v != 3).then(|| of(*v)));
            let refs: Int64Array = known(|v| v.rem_euclid(4)).collect();
            let subs: StringArray = known(|v| v % 2).map(|v| Some(if v? == 0 { "a" } else { "b" })).collect();
            let ats: TimestampMicrosecondArray = known(|v| v * 5 - 3).collect();
            let (ns, texts) = (Int64Array::from(ns), StringArray::from(texts));
            let indices = UInt32Array::from(origin.clone());
            let columns = target.columns.iter().map(|column| -> ArrayRef {
                match (column.source, column.name.as_str()) {
                    (ColumnSource::Input(input), _) => {
                        take(&inputs[input], &indices, None).expect("in range")
                    }
                    (ColumnSource::AsOf(_), _) => new_null_array(&Arrow::UInt64, origin.len()),
                    (_, "n") => Arc::new(ns.clone()),
                    (_, "ref") => Arc::new(refs.clone()),
                    (_, "ref_sub") => Arc::new(subs.clone()),
                    (_, "at") => Arc::new(ats.clone().with_timezone("UTC")),
                    _ => Arc::new(texts.clone()),
                }
            });
            let columns = columns.collect();
            applied.outputs.push(AppliedRows { target: number, origin, columns });
        }
        Ok(applied)
    }
}

/// Each row's inputs as text.
fn digests(rows: usize, inputs: &[ArrayRef]) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let columns: Vec<_> = inputs
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("shown"))
        .collect();
    (0..rows)
        .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"))
        .collect()
}
