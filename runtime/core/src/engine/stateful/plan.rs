//! What the transforms' declarations come to: which tables are kept, which of
//! their columns, and who is to be told when one of them changes.
//!
//! Owns the resolution of names: lookups, chains, passed keys. Does not own the
//! rules of a declaration by itself (`spec`).
//!
//! Invariant: the plan, and so the number of every space, follows from the
//! declarations alone. What only events tell (a table's key) is checked against
//! it when the first one comes.

use std::collections::BTreeMap;

use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::relation::{Consumer, Consumption, Relation};
use crate::data_type::DataType;
use crate::engine::state::Space;
use crate::spec::{InputColumn, Lookup, MissingPolicy, Spec, Target, TargetKind};
use crate::star::TargetTable;
use crate::table::SourceTable;

/// Bytes in the store mean what this version of the engine means by them, and
/// arrow-row bytes what this version of Arrow does; raise it when either changes.
const FORMAT: u32 = 1;

/// A transform that needs row state.
#[derive(Clone, Debug)]
pub struct StatefulTransform {
    /// What it declares; it has passed [`Spec::validate`].
    pub spec: Spec,
    /// Identity of its module: another one may answer otherwise.
    pub module: String,
    /// The table of each target.
    pub tables: Vec<TargetTable>,
}

/// Declarations that do not fit together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("transform {transform}: {fault}")]
pub struct InvalidPlan {
    /// Name of the transform.
    pub transform: String,
    /// What is wrong, and what to write instead.
    pub fault: String,
}

/// All transforms and the tables that they need.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) relations: Vec<Relation>,
    pub(super) transforms: Vec<TransformPlan>,
    /// What each space holds, by its number.
    pub(super) catalogue: Vec<String>,
    /// Fan-outs that are not done.
    pub(super) jobs: Space,
}

/// One transform.
#[derive(Debug)]
pub(super) struct TransformPlan {
    pub(super) spec: Spec,
    pub(super) module: String,
    /// Of the source table.
    pub(super) relation: usize,
    /// The cell of each of `spec.columns`.
    pub(super) cells: Vec<usize>,
    pub(super) lookups: Vec<LookupPlan>,
    pub(super) targets: Vec<TargetPlan>,
    pub(super) outputs: Space,
    pub(super) letters: Space,
}

/// One lookup.
#[derive(Debug)]
pub(super) struct LookupPlan {
    pub(super) relation: usize,
    pub(super) from: Step,
    /// Which of the references of the relation that it comes from.
    pub(super) reference: usize,
    /// The cell of each of its columns.
    pub(super) cells: Vec<usize>,
    pub(super) missing: MissingPolicy,
    /// Names of the key's columns, in their order.
    pub(super) key: Vec<String>,
}

/// A row that takes part in the evaluation of a source row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The source row.
    Source,
    /// The row that this lookup has found.
    Lookup(usize),
}

/// One target.
#[derive(Debug)]
pub(super) struct TargetPlan {
    pub(super) table: TargetTable,
    /// Positions of the key's columns.
    pub(super) key: Vec<usize>,
    /// Positions of columns that rows are sorted by beside the key: a row that
    /// changes them leaves the old one behind.
    pub(super) beside: Vec<usize>,
    pub(super) key_rows: RowConverter,
    /// `None`: there are no such columns.
    pub(super) beside_rows: Option<RowConverter>,
    pub(super) all_rows: RowConverter,
    /// Source columns that the key holds, each unchanged.
    passed_key: Vec<String>,
    pub(super) claims: Space,
}

impl TargetPlan {
    /// Does a star key belong to one source row, whose key is `source_key`?
    pub(super) fn is_exclusive(&self, source_key: &[String]) -> bool {
        source_key.iter().all(|column| self.passed_key.contains(column))
    }
}

#[derive(Default)]
struct Spaces(Vec<String>);

impl Spaces {
    fn add(&mut self, holds: String) -> Space {
        self.0.push(holds);
        Space(u16::try_from(self.0.len() - 1).expect("fewer than 65,536 spaces"))
    }
}

impl Plan {
    /// # Errors
    /// If the declarations do not fit together.
    pub(super) fn new(transforms: &[StatefulTransform]) -> Result<Self, InvalidPlan> {
        if let Some(pair) = transforms.windows(2).find(|pair| pair[0].spec.name >= pair[1].spec.name) {
            return Err(InvalidPlan {
                transform: pair[1].spec.name.clone(),
                fault: format!("it comes after {}; names differ, and are in order", pair[0].spec.name),
            });
        }
        let mut spaces = Spaces::default();
        let jobs = spaces.add(format!("jobs, format {FORMAT}"));
        let mut relations = Relations::default();
        let resolved = transforms
            .iter()
            .enumerate()
            .map(|(number, transform)| relations.resolve(number, &transform.spec))
            .collect::<Result<Vec<_>, _>>()?;
        for relation in &mut relations.list {
            let layout = relation.layout();
            relation.rows = spaces.add(format!("rows of {layout}"));
            relation.links = spaces.add(format!("key changes of {}", relation.table));
            relation.pending = spaces.add(format!("rows of {} that wait for a key change", relation.table));
            for reference in &relation.references {
                let holds = format!("rows of {} by {}", relation.table, reference.join(", "));
                relation.indexes.push(spaces.add(holds));
            }
            relation.prepare().map_err(|error| InvalidPlan {
                transform: transforms.first().map_or_else(String::new, |t| t.spec.name.clone()),
                fault: format!("keep rows of {}: {error}", relation.table),
            })?;
        }
        let mut plans = Vec::with_capacity(transforms.len());
        for (transform, (relation, cells, lookups)) in transforms.iter().zip(resolved) {
            let spec = &transform.spec;
            let outputs = spaces.add(format!("outputs of {}: {:?}", spec.name, spec.targets));
            let letters = spaces.add(format!("dead letters of {}", spec.name));
            let targets = spec
                .targets
                .iter()
                .zip(&transform.tables)
                .map(|(target, table)| target_plan(spec, target, table, &mut spaces))
                .collect::<Result<_, _>>()?;
            plans.push(TransformPlan {
                spec: spec.clone(),
                module: transform.module.clone(),
                relation,
                cells,
                lookups,
                targets,
                outputs,
                letters,
            });
        }
        Ok(Self { relations: relations.list, transforms: plans, catalogue: spaces.0, jobs })
    }
}

fn target_plan(
    spec: &Spec,
    target: &Target,
    table: &TargetTable,
    spaces: &mut Spaces,
) -> Result<TargetPlan, InvalidPlan> {
    let invalid = |fault: String| InvalidPlan { transform: spec.name.clone(), fault };
    if target.kind != TargetKind::Latest || !target.as_of.is_empty() {
        return Err(invalid(format!("target {} keeps or refers to history", target.table)));
    }
    let position = |name: &String| {
        let place = target.columns.iter().position(|column| column.name == *name);
        place.ok_or_else(|| invalid(format!("target {}: key column {name} is no column", target.table)))
    };
    let key = target.key.iter().map(position).collect::<Result<Vec<_>, _>>()?;
    let beside = target
        .order_columns()
        .map(|name| position(&name.to_owned()))
        .filter(|place| place.as_ref().map_or(true, |place| !key.contains(place)))
        .collect::<Result<Vec<_>, _>>()?;
    let rows = |columns: &[usize]| -> Result<RowConverter, ArrowError> {
        let types = columns.iter().map(|column| target.columns[*column].data_type.arrow());
        RowConverter::new(types.map(SortField::new).collect())
    };
    let failed = |error: ArrowError| invalid(format!("target {}: {error}", target.table));
    let all: Vec<usize> = (0..target.columns.len()).collect();
    Ok(TargetPlan {
        key_rows: rows(&key).map_err(failed)?,
        beside_rows: if beside.is_empty() { None } else { Some(rows(&beside).map_err(failed)?) },
        all_rows: rows(&all).map_err(failed)?,
        passed_key: target.key.iter().filter_map(|name| passed_unchanged(spec, target, name)).collect(),
        claims: spaces.add(format!("claims of {}", target.table)),
        table: table.clone(),
        key,
        beside,
    })
}

/// The source column that a key column is, if two of its values never become
/// one (as decimals may that are read as floats).
fn passed_unchanged(spec: &Spec, target: &Target, name: &str) -> Option<String> {
    let column = target.columns.iter().find(|column| column.name == name)?;
    let exact = !matches!(column.data_type, DataType::Float32 | DataType::Float64);
    exact.then(|| spec.passed_through(target, name).map(str::to_owned)).flatten()
}

/// A transform's relation, the cells of its columns, and its lookups.
type Resolved = (usize, Vec<usize>, Vec<LookupPlan>);

#[derive(Default)]
struct Relations {
    list: Vec<Relation>,
    by_table: BTreeMap<SourceTable, usize>,
}

impl Relations {
    fn of(&mut self, table: &SourceTable) -> usize {
        *self.by_table.entry(table.clone()).or_insert_with(|| {
            self.list.push(Relation::new(table.clone()));
            self.list.len() - 1
        })
    }

    fn columns(&mut self, relation: usize, columns: &[InputColumn]) -> Vec<usize> {
        columns.iter().map(|column| self.list[relation].column(column)).collect()
    }

    fn resolve(&mut self, transform: usize, spec: &Spec) -> Result<Resolved, InvalidPlan> {
        let relation = self.of(&spec.source);
        let cells = self.columns(relation, &spec.columns);
        let mut lookups: Vec<LookupPlan> = Vec::new();
        for lookup in &spec.lookups {
            let invalid = |fault: String| InvalidPlan { transform: spec.name.clone(), fault };
            let (from, reference) = reference(spec, lookup, lookups.len()).map_err(invalid)?;
            let parent = match from {
                Step::Source => relation,
                Step::Lookup(earlier) => lookups[earlier].relation,
            };
            let mut key = lookup.key.clone();
            key.sort_unstable();
            let found = self.of(&lookup.table);
            lookups.push(LookupPlan {
                relation: found,
                from,
                reference: self.list[parent].reference(reference),
                cells: self.columns(found, &lookup.columns),
                missing: lookup.missing,
                key,
            });
        }
        self.consume(transform, relation, &cells, &lookups);
        Ok((relation, cells, lookups))
    }

    /// Notes who asks for what: the columns, and the references of lookups that
    /// go on from there.
    fn consume(&mut self, transform: usize, relation: usize, cells: &[usize], lookups: &[LookupPlan]) {
        let references = |from: Step| -> Vec<usize> {
            lookups.iter().filter(|l| l.from == from).map(|l| l.reference).collect()
        };
        self.list[relation].consumers.push(Consumer {
            what: Consumption::Source { transform },
            columns: cells.to_vec(),
            references: references(Step::Source),
        });
        for (number, lookup) in lookups.iter().enumerate() {
            self.list[lookup.relation].consumers.push(Consumer {
                what: Consumption::Lookup { transform, lookup: number },
                columns: lookup.cells.clone(),
                references: references(Step::Lookup(number)),
            });
        }
    }
}

/// Where a lookup comes from, and the columns there that hold the key, in the
/// order of the key's names.
fn reference(spec: &Spec, lookup: &Lookup, earlier: usize) -> Result<(Step, Vec<String>), String> {
    let place = format!("lookup {}", lookup.name);
    if lookup.key.is_empty() || lookup.key.len() != lookup.on.len() {
        return Err(format!(
            "{place} compares {} columns with a key of {}; name as many in on as in key",
            lookup.on.len(),
            lookup.key.len()
        ));
    }
    let mut pairs: Vec<(&String, Step, &str)> = Vec::with_capacity(lookup.key.len());
    for (key, on) in lookup.key.iter().zip(&lookup.on) {
        let chained = on.split_once('.').and_then(|(name, column)| {
            let found = spec.lookups[..earlier].iter().position(|other| other.name == name)?;
            Some((Step::Lookup(found), column))
        });
        let (step, column) = chained.unwrap_or((Step::Source, on));
        pairs.push((key, step, column));
    }
    let from = pairs[0].1;
    if pairs.iter().any(|(_, step, _)| *step != from) {
        return Err(format!(
            "{place} takes its key from rows of several tables ({}); take all of it from one, or give the \
             source row the missing column",
            lookup.on.join(", ")
        ));
    }
    pairs.sort_unstable_by_key(|(key, ..)| *key);
    if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("{place} names a key column twice"));
    }
    Ok((from, pairs.into_iter().map(|(_, _, column)| column.to_owned()).collect()))
}
