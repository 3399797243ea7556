//! Random transforms: declarations over a schema, and the one function that
//! stands for all their modules.
//!
//! Owns the function by its definition ([`outputs`]), from which the oracle
//! computes too, and its columnar form, which the pipeline runs in the place of a
//! module ([`Transform::module`]).

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dabi::transform::{
    Applied, ApplyFailure, InputBatch, Module, ModuleHash, Program, RowError, Running, Settings, TargetRows,
};
use dabi_core::data_type::DataType;
use dabi_core::spec::{
    ColumnSource, InputColumn, Lookup, MissingPolicy, Options, Spec, Target, TargetColumn, TargetKind,
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
}

/// The number of a module: another one is another function.
pub(crate) type Version = u32;

/// A row that a target gets: `n`, and what is computed.
pub(crate) type Computed = (i64, String);

/// The value that every transform refuses.
const POISON: i64 = 7;

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
        Kind::Own | Kind::Sorted if n == 2 => Vec::new(),
        Kind::Own | Kind::Sorted => vec![(n, own)],
        Kind::Several => (0..n).map(|each| (each, own.clone())).collect(),
        // The same for some source rows, and for others not.
        Kind::Shared => vec![(n, format!("m{module}|{}", v / 3 % 2))],
    })
}

impl Transform {
    /// One for each of some tables, in the order of their names.
    pub(crate) fn random(schema: &Schema, rng: &mut Rng) -> Vec<Self> {
        let mut sources: Vec<usize> = (0..schema.tables.len()).collect();
        rng.shuffle(&mut sources);
        sources.truncate(rng.usize(1..=sources.len()));
        sources.iter().enumerate().map(|(number, source)| draft(schema, number, *source, rng)).collect()
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
    let mut this = Transform {
        spec: Spec {
            name: format!("x{number}"),
            version: "1".into(),
            source: table.name(),
            columns: Vec::new(),
            lookups: Vec::new(),
            targets: Vec::new(),
            options: Options::new(),
        },
        kinds: vec![Kind::Own],
        steps: vec![source],
        references: Vec::new(),
        stateful: false,
        traps: rng.bool(),
    };
    if !stateless {
        for _ in 0..rng.usize(0..4) {
            this.add_lookup(schema, rng);
        }
        let mut kinds = vec![Kind::Own, Kind::Several, Kind::Shared, Kind::Sorted];
        rng.shuffle(&mut kinds);
        kinds.truncate(rng.usize(1..=4));
        this.kinds = kinds;
    }
    this.spec.columns = key_columns(table);
    let key = this.spec.columns.len();
    this.spec.columns.extend(random_columns(rng));
    let target = |(place, kind): (usize, &Kind)| target(&format!("d{number}_{place}"), *kind, key);
    this.spec.targets = this.kinds.iter().enumerate().map(target).collect();
    this.spec.validate().expect("a declaration that makes sense");
    this.stateful = !this.spec.stateful_reasons(Some(&table.key())).is_empty();
    if !this.stateful && table.leaves_out {
        // Without row state a value that was not sent is a dead letter.
        this.spec.columns.retain(|column| column.name != "big");
    }
    this
}

impl Transform {
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
    let column = |name: &str, data_type: DataType, source| TargetColumn {
        name: name.into(),
        data_type,
        nullable: false,
        source,
        tracked: false,
        options: Options::new(),
    };
    let n = || column("n", DataType::Int64, ColumnSource::Computed);
    let mut columns = vec![column("id", DataType::Int64, ColumnSource::Input(0))];
    if key > 1 {
        columns.push(column("sub", DataType::Text, ColumnSource::Input(1)));
    }
    match kind {
        Kind::Shared => columns = vec![n()],
        Kind::Several => columns.push(n()),
        Kind::Own | Kind::Sorted => {}
    }
    let key: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut options = Options::new();
    if kind == Kind::Sorted {
        columns.push(n());
        options.insert("order".into(), format!("n, {}", key.join(", ")));
    }
    columns.push(column("digest", DataType::Text, ColumnSource::Computed));
    Target { table: table.into(), kind: TargetKind::Latest, columns, key, as_of: Vec::new(), options }
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
        ArrayFormatter::try_new(column.as_ref(), &options)
            .expect("a type that can be shown")
            .value(row)
            .to_string()
    };
    columns.iter().map(text).collect()
}

/// How a null reads.
pub(crate) const NULL: &str = "∅";

fn number(row: usize) -> u32 {
    u32::try_from(row).expect("few rows")
}
