//! Random transforms: declarations over a schema, and the one function that
//! stands for all their modules.
//!
//! Owns the function by its definition ([`outputs`]), from which the oracle
//! computes too, and its columnar form, which the pipeline runs in the place of a
//! module ([`Transform::module`]).

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType as Arrow, Int64Type, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dabi::transform::{
    Applied, ApplyFailure, InputBatch, Module, ModuleHash, Program, RowError, Running, Settings, TargetRows,
};
use dabi_core::data_type::DataType;
use dabi_core::spec::{
    AsOf, ColumnSource, InputColumn, Lookup, MissingPolicy, Options, Spec, Target, TargetColumn, TargetKind,
};
use fastrand::Rng;

use crate::schema::{Schema, Table, source_table};

/// A transform, and which table each of its steps reads.
#[derive(Clone, Debug)]
pub(crate) struct Transform {
    pub(crate) spec: Spec,
    /// What each target gives.
    pub(crate) kinds: Vec<Kind>,
    /// The source table, then the table of each lookup.
    pub(crate) steps: Vec<usize>,
    /// For each lookup the step that has the foreign key, and its place there.
    pub(crate) references: Vec<(usize, usize)>,
    pub(crate) stateful: bool,
    /// Does it trap where it could say which row it refuses?
    pub(crate) traps: bool,
}

/// What a target gets of a source row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One row or none, under the source's key.
    Own,
    /// None to two, told apart by `n`.
    Several,
    /// One or none, under a key that other source rows give too.
    Shared,
    /// One or none, sorted by something that changes.
    Sorted,
    /// As `Own`, and each version is kept.
    Versions,
    /// As `Own`, with the version of another row that was valid `at` a time.
    Refers,
    /// As `Own`, of each change.
    Changes,
}

/// The number of a module: another one is another function.
pub(crate) type Version = u32;

/// A row that a target gets: `n`, and what is computed.
pub(crate) type Computed = (i64, String);

/// The value that every transform refuses.
pub(crate) const POISON: i64 = 7;

/// What a module gives a target for a source row with `v`, whose inputs read
/// `digest`; `None` if it refuses the row.
pub(crate) fn outputs(module: Version, kind: Kind, v: Option<i64>, digest: &str) -> Option<Vec<Computed>> {
    if v == Some(POISON) {
        return None;
    }
    let v = v.unwrap_or(-1) + i64::from(module);
    let n = v.rem_euclid(3);
    let own = format!("m{module}|{digest}");
    Some(match kind {
        Kind::Several => (0..n).map(|each| (each, own.clone())).collect(),
        // The same for some source rows, and for others not.
        Kind::Shared => vec![(n, format!("m{module}|{}", v / 3 % 2))],
        Kind::Own | Kind::Sorted | Kind::Versions | Kind::Refers | Kind::Changes if n == 2 => Vec::new(),
        Kind::Own | Kind::Sorted | Kind::Versions | Kind::Refers | Kind::Changes => vec![(n, own)],
    })
}

impl Transform {
    /// One for each of some tables, and one more for some of them that keeps their
    /// changes.
    pub(crate) fn random(schema: &Schema, rng: &mut Rng) -> Vec<Self> {
        let mut sources: Vec<usize> = (0..schema.tables.len()).collect();
        rng.shuffle(&mut sources);
        sources.truncate(rng.usize(1..=sources.len()));
        let mut all = Vec::new();
        for source in sources {
            all.push(draft(schema, all.len(), source, rng));
            // Without LSNs a change that is sent again is another one.
            if schema.has_lsn && rng.u8(0..10) < 3 {
                all.push(keeping_changes(schema, all.len(), source, rng));
            }
        }
        refer(schema, &mut all, rng);
        for transform in &all {
            transform.spec.validate().expect("a declaration that makes sense");
        }
        all
    }

    /// Its module number `version`.
    pub(crate) fn module(&self, version: Version) -> Module {
        let hash = ModuleHash::of(format!("{} {version}", self.spec.name).as_bytes());
        let program = Native { transform: self.clone(), version };
        Module::running(Box::new(program), self.spec.clone(), hash, Settings::default())
    }
}

fn draft(schema: &Schema, number: usize, source: usize, rng: &mut Rng) -> Transform {
    let stateless = rng.u8(0..10) < 4;
    let table = &schema.tables[source];
    let mut this = empty(schema, number, source, Kind::Own, rng);
    if !stateless {
        for _ in 0..rng.usize(0..4) {
            this.add_lookup(schema, rng);
        }
        let mut kinds = vec![Kind::Own, Kind::Several, Kind::Shared, Kind::Sorted, Kind::Versions];
        rng.shuffle(&mut kinds);
        kinds.truncate(rng.usize(1..=4));
        this.kinds = kinds;
    }
    this.spec.columns = key_columns(table);
    let key = this.spec.columns.len();
    this.spec.columns.extend(random_columns(rng));
    let target = |(place, kind): (usize, &Kind)| target(&format!("d{number}_{place}"), *kind, key);
    this.spec.targets = this.kinds.iter().enumerate().map(target).collect();
    this.stateful = !this.spec.stateful_reasons(Some(&table.key())).is_empty();
    if !this.stateful && table.leaves_out {
        // Without row state a value that was not sent is a dead letter.
        this.spec.columns.retain(|column| column.name != "big");
    }
    this
}

fn empty(schema: &Schema, number: usize, source: usize, kind: Kind, rng: &mut Rng) -> Transform {
    Transform {
        spec: Spec {
            name: format!("x{number}"),
            version: "1".into(),
            source: schema.tables[source].name(),
            columns: Vec::new(),
            lookups: Vec::new(),
            targets: Vec::new(),
            options: Options::new(),
        },
        kinds: vec![kind],
        steps: vec![source],
        references: Vec::new(),
        stateful: false,
        traps: rng.bool(),
    }
}

/// What is deleted has its key, and no more.
fn keeping_changes(schema: &Schema, number: usize, source: usize, rng: &mut Rng) -> Transform {
    let mut this = empty(schema, number, source, Kind::Changes, rng);
    let table = &schema.tables[source];
    this.spec.columns = key_columns(table);
    let key = this.spec.columns.len();
    this.spec.columns.push(input("v", DataType::Int64, true));
    if !table.leaves_out && rng.bool() {
        this.spec.columns.push(input("big", DataType::Text, true));
    }
    this.spec.targets = vec![target(&format!("d{number}_0"), Kind::Changes, key)];
    this
}

/// Lets some rows refer to versions of the rows that their foreign keys name.
fn refer(schema: &Schema, all: &mut [Transform], rng: &mut Rng) {
    let dimension_of = |all: &[Transform], own: usize, table: usize| {
        let others = all.iter().enumerate().filter(|(number, one)| *number != own && one.steps[0] == table);
        let versions = others.flat_map(|(_, one)| one.kinds.iter().zip(&one.spec.targets));
        let versions = versions.filter(|(kind, _)| **kind == Kind::Versions);
        versions.map(|(_, target)| target.table.clone()).next()
    };
    for number in 0..all.len() {
        let references = &schema.tables[all[number].steps[0]].references;
        let place = (0..references.len())
            .find_map(|place| Some((place, dimension_of(all, number, references[place])?)));
        let Some((place, dimension)) = place.filter(|_| rng.u8(0..10) < 7) else { continue };
        if all[number].kinds == [Kind::Changes] {
            continue;
        }
        // What is rejected would take back versions that others refer to.
        let policies = if all[number].kinds.contains(&Kind::Versions) { 2 } else { 3 };
        let missing =
            [MissingPolicy::Nulls, MissingPolicy::Hold, MissingPolicy::Reject][rng.usize(0..policies)];
        let is_composite = schema.tables[references[place]].composite;
        all[number].add_reference(place, is_composite, dimension, missing);
    }
}

impl Transform {
    /// A target whose rows refer to a version of `dimension`.
    fn add_reference(&mut self, place: usize, is_composite: bool, dimension: String, missing: MissingPolicy) {
        let key =
            self.spec.columns.iter().take_while(|column| ["id", "sub"].contains(&&*column.name)).count();
        let mut own = target(&format!("{}_r", self.spec.targets[0].table), Kind::Refers, key);
        let mut reference = vec![(format!("r{place}"), DataType::Int64)];
        if is_composite {
            reference.push((format!("r{place}_sub"), DataType::Text));
        }
        let named: Vec<String> = reference.iter().map(|(name, _)| name.clone()).collect();
        for (name, data_type) in reference.into_iter().chain([("at".to_owned(), DataType::TimestampTz)]) {
            let source = ColumnSource::Input(self.spec.columns.len());
            self.spec.columns.push(input(&name, data_type.clone(), true));
            own.columns.push(TargetColumn { nullable: true, ..star_column(&name, data_type, source) });
        }
        own.columns.push(TargetColumn {
            nullable: missing == MissingPolicy::Nulls,
            ..star_column("version", DataType::Uint64, ColumnSource::AsOf(0))
        });
        own.as_of = vec![AsOf { dimension, key: named, at: "at".into(), missing }];
        self.spec.targets.push(own);
        self.kinds.push(Kind::Refers);
        self.stateful = true;
    }

    fn add_lookup(&mut self, schema: &Schema, rng: &mut Rng) {
        let from = rng.usize(0..self.steps.len());
        let references = &schema.tables[self.steps[from]].references;
        if references.is_empty() {
            return;
        }
        let place = rng.usize(0..references.len());
        let to = references[place];
        let prefix = if from == 0 { String::new() } else { format!("{}.", self.spec.lookups[from - 1].name) };
        let mut pairs = vec![("id".to_owned(), format!("{prefix}r{place}"))];
        if schema.tables[to].composite {
            pairs.push(("sub".to_owned(), format!("{prefix}r{place}_sub")));
        }
        if rng.bool() {
            pairs.reverse();
        }
        let (key, on) = pairs.into_iter().unzip();
        let missing = [MissingPolicy::Nulls, MissingPolicy::Hold, MissingPolicy::Reject][rng.usize(0..3)];
        self.spec.lookups.push(Lookup {
            name: format!("l{}", self.spec.lookups.len()),
            table: source_table(to),
            key,
            on,
            columns: random_columns(rng),
            missing,
        });
        self.steps.push(to);
        self.references.push((from, place));
    }
}

fn input(name: &str, data_type: DataType, nullable: bool) -> InputColumn {
    InputColumn { name: name.into(), data_type, nullable, read: true, options: Options::new() }
}

fn key_columns(table: &Table) -> Vec<InputColumn> {
    let mut columns = vec![input("id", DataType::Int64, false)];
    if table.composite {
        columns.push(input("sub", DataType::Text, false));
    }
    columns
}

fn random_columns(rng: &mut Rng) -> Vec<InputColumn> {
    let mut columns = vec![input("v", DataType::Int64, rng.u8(0..10) > 1)];
    if rng.bool() {
        columns.push(input("big", DataType::Text, true));
    }
    columns
}

fn target(table: &str, kind: Kind, key: usize) -> Target {
    let n = || star_column("n", DataType::Int64, ColumnSource::Computed);
    let mut columns = vec![star_column("id", DataType::Int64, ColumnSource::Input(0))];
    if key > 1 {
        columns.push(star_column("sub", DataType::Text, ColumnSource::Input(1)));
    }
    match kind {
        Kind::Shared => columns = vec![n()],
        Kind::Several => columns.push(n()),
        Kind::Own | Kind::Sorted | Kind::Versions | Kind::Refers | Kind::Changes => {}
    }
    let key: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut options = Options::new();
    if kind == Kind::Sorted {
        columns.push(n());
        options.insert("order".into(), format!("n, {}", key.join(", ")));
    }
    let digest = star_column("digest", DataType::Text, ColumnSource::Computed);
    columns.push(TargetColumn { tracked: kind == Kind::Versions, ..digest });
    let kind = match kind {
        Kind::Versions => {
            columns.push(n());
            TargetKind::Scd2
        }
        Kind::Changes => TargetKind::Append,
        _ => TargetKind::Latest,
    };
    Target { table: table.into(), kind, columns, key, as_of: Vec::new(), options }
}

fn star_column(name: &str, data_type: DataType, source: ColumnSource) -> TargetColumn {
    TargetColumn {
        name: name.into(),
        data_type,
        nullable: false,
        source,
        tracked: false,
        options: Options::new(),
    }
}

/// What stands for a module.
#[derive(Clone)]
struct Native {
    transform: Transform,
    version: Version,
}

impl Program for Native {
    fn start(&self, _limit: Duration) -> Result<Box<dyn Running>, ApplyFailure> {
        Ok(Box::new(self.clone()))
    }
}

impl Running for Native {
    /// [`outputs`] of every row of `input`.
    fn apply(&mut self, spec: &Spec, input: &InputBatch, _limit: Duration) -> Result<Applied, ApplyFailure> {
        let v = spec.columns.iter().position(|column| column.name == "v").expect("always asked");
        let v = input.columns[v].as_primitive::<Int64Type>();
        let v = |row: usize| v.is_valid(row).then(|| v.value(row));
        let digests: Vec<String> = (0..input.rows).map(|row| texts(&input.columns, row).join("|")).collect();
        let mut applied = Applied::default();
        for (row, digest) in digests.iter().enumerate() {
            if outputs(self.version, Kind::Own, v(row), "").is_none() {
                if self.transform.traps {
                    return Err(ApplyFailure::Trap { cause: digest.clone() });
                }
                let (code, message) = ("poison".into(), digest.clone());
                applied.errors.push(RowError { row: number(row), code, message });
            }
        }
        for (place, (kind, target)) in self.transform.kinds.iter().zip(&spec.targets).enumerate() {
            let (mut origin, mut ns, mut computed) = (Vec::new(), Vec::new(), Vec::new());
            for (row, digest) in digests.iter().enumerate() {
                for (n, text) in outputs(self.version, *kind, v(row), digest).unwrap_or_default() {
                    origin.push(number(row));
                    ns.push(n);
                    computed.push(text);
                }
            }
            let indices = UInt32Array::from(origin.clone());
            let columns = target.columns.iter().map(|column| -> ArrayRef {
                match (column.source, column.name.as_str()) {
                    (ColumnSource::Input(from), _) => {
                        take(&input.columns[from], &indices, None).expect("in range")
                    }
                    // The engine fills it.
                    (ColumnSource::AsOf(_), _) => new_null_array(&Arrow::UInt64, origin.len()),
                    (_, "n") => Arc::new(Int64Array::from(ns.clone())),
                    _ => Arc::new(StringArray::from(computed.clone())),
                }
            });
            let columns = columns.collect();
            applied.outputs.push(TargetRows { target: place, origin, columns });
        }
        Ok(applied)
    }
}

/// A row as text; `∅` stands for null.
pub(crate) fn texts(columns: &[ArrayRef], row: usize) -> Vec<String> {
    let options = FormatOptions::default().with_null(NULL);
    let text = |column: &ArrayRef| {
        ArrayFormatter::try_new(without_zone(column).as_ref(), &options)
            .expect("a type that can be shown")
            .value(row)
            .to_string()
    };
    columns.iter().map(text).collect()
}

/// All times are in UTC.
fn without_zone(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>)),
        None => Arc::clone(column),
    }
}

/// A time in UTC as text.
pub(crate) fn time_text(at_us: i64) -> String {
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![at_us]));
    texts(&[time], 0).remove(0)
}

/// How a null reads.
pub(crate) const NULL: &str = "∅";

fn number(row: usize) -> u32 {
    u32::try_from(row).expect("few rows")
}
