//! Random transforms, and a native function that answers for all of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::super::{Applied, AppliedError, AppliedRows, StatefulTransform, Transforms};
use super::world::{Schema, table};
use crate::data_type::DataType;
use crate::spec::{
    ColumnSource, InputColumn, Lookup, MissingPolicy, Options, Spec, Target, TargetColumn, TargetKind,
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
        prop::sample::select(vec![MissingPolicy::Nulls, MissingPolicy::Hold, MissingPolicy::Reject]);
    let lookup = (0..4_usize, 0..2_usize, missing, prop::bool::weighted(0.2), any::<bool>(), any::<bool>())
        .prop_map(|(from, reference, missing, needs_v, asks_big, turned)| DraftLookup {
            from,
            reference,
            missing,
            needs_v,
            asks_big,
            turned,
        });
    let targets = prop::sample::subsequence((0..TARGETS).collect::<Vec<_>>(), 1..=TARGETS);
    let draft =
        (0..4_usize, prop::collection::vec(lookup, 0..4), prop::bool::weighted(0.2), any::<bool>(), targets)
            .prop_map(|(source, lookups, needs_v, asks_big, targets)| Draft {
                source,
                lookups,
                needs_v,
                asks_big,
                targets,
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
    drafts.iter().enumerate().map(|(number, draft)| transform(schema, number, draft)).collect()
}

fn transform(schema: &Schema, number: usize, draft: &Draft) -> StatefulTransform {
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
        targets: draft.targets.iter().map(|kind| target(number, *kind, key)).collect(),
        options: Options::new(),
    };
    let tables = spec.targets.iter().map(|target| TargetTable::new(&spec, target, 1)).collect();
    StatefulTransform { spec, module: "m1".into(), tables }
}

const TARGETS: usize = 4;
/// One row per source row, under its key.
const OWN: usize = 0;
/// None to two, told apart by `n`.
const SEVERAL: usize = 1;
/// One, shared with other source rows.
const SHARED: usize = 2;
/// One, sorted by something that changes.
const SORTED: usize = 3;

fn target(transform: usize, kind: usize, key: usize) -> Target {
    let column = |name: &str, data_type: DataType, source| TargetColumn {
        name: name.into(),
        data_type,
        nullable: false,
        source,
        tracked: false,
        options: Options::new(),
    };
    let computed = |name: &str| column(name, DataType::Int64, ColumnSource::Computed);
    let mut columns = vec![column("id", DataType::Int64, ColumnSource::Input(0))];
    if key > 1 {
        columns.push(column("sub", DataType::Text, ColumnSource::Input(1)));
    }
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
    columns.push(column("digest", DataType::Text, ColumnSource::Computed));
    Target {
        table: format!("d{transform}_{kind}"),
        kind: TargetKind::Latest,
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
                }
            }
            let (ns, texts) = (Int64Array::from(ns), StringArray::from(texts));
            let indices = UInt32Array::from(origin.clone());
            let columns = target.columns.iter().map(|column| -> ArrayRef {
                match (column.source, column.name.as_str()) {
                    (ColumnSource::Input(input), _) => {
                        take(&inputs[input], &indices, None).expect("in range")
                    }
                    (_, "n") => Arc::new(ns.clone()),
                    _ => Arc::new(texts.clone()),
                }
            });
            applied.outputs.push(AppliedRows { target: number, origin, columns: columns.collect() });
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
