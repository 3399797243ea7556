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

use super::as_of::{self, DimensionPlan, ReferencePlan};
use super::join::Failure;
use super::relation::{Consumer, Consumption, Relation};
use super::target::TargetPlan;
use crate::dead_letter::Stage;
use crate::engine::state::Space;
use crate::spec::{InputColumn, Lookup, MissingPolicy, Spec, TargetKind};
use crate::star::TargetTable;
use crate::table::SourceTable;

/// Bytes in the store mean what this version of the engine means by them, and
/// arrow-row bytes what this version of Arrow does; raise it when either changes.
const FORMAT: u32 = 2;

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
    /// Targets whose versions others refer to.
    pub(super) dimensions: Vec<DimensionPlan>,
    /// Positions of the transforms, those that keep versions first: who refers to
    /// them is evaluated once they are known.
    pub(super) order: Vec<usize>,
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
    /// References to versions, of all targets.
    pub(super) references: Vec<ReferencePlan>,
    pub(super) outputs: Space,
    pub(super) letters: Space,
    /// What the rows of each source row refer to.
    pub(super) reads: Space,
}

impl TransformPlan {
    /// Is the current row of a key evaluated?
    pub(super) fn keeps_current(&self) -> bool {
        self.targets.iter().any(|target| target.versions.is_none())
    }

    /// Are all rows that a key ever had?
    pub(super) fn keeps_versions(&self) -> bool {
        self.targets.iter().any(|target| target.versions.is_some())
    }

    /// A source row gave two rows of one key, of which only one could stand.
    pub(super) fn duplicate_key(&self, target: usize) -> Failure {
        Failure {
            stage: Stage::Transform,
            code: "duplicate-key".into(),
            message: format!(
                "it gave two rows of {} with the same key for one source row; a key column must tell them apart",
                self.spec.targets[target].table
            ),
        }
    }
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

/// What each space holds, by its number.
#[derive(Default)]
pub(super) struct Spaces(Vec<String>);

impl Spaces {
    pub(super) fn add(&mut self, holds: String) -> Space {
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
        let keeps_versions = |spec: &Spec| spec.targets.iter().any(|target| target.kind == TargetKind::Scd2);
        for relation in &mut relations.list {
            let mut sources = transforms.iter().filter(|transform| transform.spec.source == relation.table);
            let has_history = sources.any(|transform| keeps_versions(&transform.spec));
            allot(relation, has_history, &mut spaces).map_err(|error| InvalidPlan {
                transform: transforms.first().map_or_else(String::new, |t| t.spec.name.clone()),
                fault: format!("keep rows of {}: {error}", relation.table),
            })?;
        }
        let mut dimensions = as_of::dimensions(transforms, &mut spaces)
            .map_err(|(transform, fault)| InvalidPlan { transform, fault })?;
        let mut plans = Vec::with_capacity(transforms.len());
        for (number, (transform, resolved)) in transforms.iter().zip(resolved).enumerate() {
            let plan = transform_plan(number, transform, resolved, &mut dimensions, &mut spaces);
            let invalid = |fault| InvalidPlan { transform: transform.spec.name.clone(), fault };
            plans.push(plan.map_err(invalid)?);
        }
        let mut order: Vec<usize> = (0..plans.len()).collect();
        order.sort_by_key(|number| !plans[*number].keeps_versions());
        Ok(Self {
            relations: relations.list,
            transforms: plans,
            dimensions,
            order,
            catalogue: spaces.0,
            jobs,
        })
    }
}

/// Gives a relation its spaces.
fn allot(relation: &mut Relation, has_history: bool, spaces: &mut Spaces) -> Result<(), ArrowError> {
    let layout = relation.layout();
    relation.rows = spaces.add(format!("rows of {layout}"));
    relation.links = spaces.add(format!("key changes of {}", relation.table));
    relation.pending = spaces.add(format!("rows of {} that wait for a key change", relation.table));
    for reference in &relation.references {
        let holds = format!("rows of {} by {}", relation.table, reference.join(", "));
        relation.indexes.push(spaces.add(holds));
    }
    if has_history {
        relation.history = Some(spaces.add(format!("history of {}", relation.table)));
    }
    relation.prepare()
}

fn transform_plan(
    number: usize,
    transform: &StatefulTransform,
    (relation, cells, lookups): Resolved,
    dimensions: &mut [DimensionPlan],
    spaces: &mut Spaces,
) -> Result<TransformPlan, String> {
    let spec = &transform.spec;
    let outputs = spaces.add(format!("outputs of {}: {:?}", spec.name, spec.targets));
    let letters = spaces.add(format!("dead letters of {}", spec.name));
    let reads = spaces.add(format!("what rows of {} refer to", spec.name));
    let mut targets = Vec::with_capacity(spec.targets.len());
    for (target, table) in spec.targets.iter().zip(&transform.tables) {
        let dimension = dimensions.iter().position(|dimension| dimension.name == target.table);
        targets.push(TargetPlan::new(spec, target, table, dimension, spaces)?);
    }
    Ok(TransformPlan {
        spec: spec.clone(),
        module: transform.module.clone(),
        relation,
        cells,
        lookups,
        targets,
        references: as_of::references(number, spec, dimensions, spaces)?,
        outputs,
        letters,
        reads,
    })
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
