//! Statements that create, extend and show a target; nothing here runs them.

use std::fmt::Write;

use super::{DELETED, LSN, TS, TargetTable, VERSION};

/// How many inserts a replay can repeat and still be recognised by its token.
const DEDUPLICATION_WINDOW: u32 = 1000;

/// A column that a table has, as `system.columns` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingColumn {
    /// Its name.
    pub name: String,
    /// Its type in ClickHouse's words.
    pub sql_type: String,
}

/// A table that is there, as `system.tables` and `system.columns` tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingTable {
    /// `engine_full`: the engine with its arguments and settings.
    pub engine: String,
    /// `sorting_key`, as ClickHouse prints it.
    pub sorting_key: String,
    /// `partition_key`, as ClickHouse prints it; empty if there is none.
    pub partition_key: String,
    /// Its columns in order.
    pub columns: Vec<ExistingColumn>,
}

/// A statement that brings an existing table to what its target declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration(pub String);

/// Why an existing table cannot be brought there in place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "table {table} does not fit target {target} of transform {transform}: {}. dabi changes no column in place but \
     to add one; rename the target, or drop {table} and let dabi fill it again from the lake",
    faults.join("; ")
)]
pub struct Refusal {
    /// The physical table.
    pub table: String,
    /// The target.
    pub target: String,
    /// Its transform.
    pub transform: String,
    /// Each difference.
    pub faults: Vec<String>,
}

impl TargetTable {
    /// `CREATE TABLE IF NOT EXISTS` of the physical table.
    #[must_use]
    pub fn create_table_sql(&self, database: &str) -> String {
        let mut sql = format!("CREATE TABLE IF NOT EXISTS {}\n(\n", self.qualified(database));
        for column in &self.columns {
            let _ = writeln!(sql, "    {},", column_sql(column));
        }
        let _ = write!(
            sql,
            "    {VERSION} UInt64 CODEC(Delta, ZSTD(1)),\n    {DELETED} UInt8,\n    {LSN} Nullable(Int64),\n    \
             {TS} Nullable(DateTime64(6, 'UTC'))\n)\nENGINE = ReplacingMergeTree({VERSION}, {DELETED})\n"
        );
        if let Some(partition) = self.options.get("partition") {
            let _ = writeln!(sql, "PARTITION BY {partition}");
        }
        let _ = write!(sql, "ORDER BY {}", self.sorting_key());
        if let Some(ttl) = self.options.get("ttl") {
            let _ = write!(sql, "\nTTL {ttl}");
        }
        let _ = write!(sql, "\nSETTINGS non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}");
        let comment = self
            .options
            .get("comment")
            .map_or_else(|| format!("target {} of transform {}", self.view, self.transform), Clone::clone);
        let _ = write!(sql, "\nCOMMENT {}", text(&comment));
        sql
    }

    /// `CREATE OR REPLACE VIEW` of the readers' view.
    ///
    /// FINAL must see tombstones before the filter takes them away; moved to
    /// PREWHERE, the filter would run first and deleted rows would return.
    #[must_use]
    pub fn create_view_sql(&self, database: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| quote(&column.name)).collect();
        format!(
            "CREATE OR REPLACE VIEW {}.{} AS\nSELECT {}\nFROM {} FINAL\nWHERE {DELETED} = 0\n\
             SETTINGS optimize_move_to_prewhere_if_final = 0",
            quote(database),
            quote(&self.view),
            columns.join(", "),
            self.qualified(database),
        )
    }

    /// What brings `existing` to this target: columns to add, or a refusal.
    ///
    /// # Errors
    /// With every difference that cannot be added in place.
    pub fn alterations(&self, database: &str, existing: &ExistingTable) -> Result<Vec<Alteration>, Refusal> {
        let (mut faults, mut alterations) = (Vec::new(), Vec::new());
        // Replicated engines have arguments before these two.
        let arguments = existing.engine.split_once("ReplacingMergeTree(").map(|(_, rest)| rest);
        let arguments = arguments.and_then(|rest| rest.split_once(')')).map(|(arguments, _)| arguments);
        if !arguments.is_some_and(|arguments| arguments.ends_with(&format!("{VERSION}, {DELETED}"))) {
            let clauses = existing.engine.find(" PARTITION BY").or(existing.engine.find(" ORDER BY"));
            let engine = clauses.map_or(existing.engine.as_str(), |at| &existing.engine[..at]);
            faults.push(format!("its engine is {engine}, not ReplacingMergeTree({VERSION}, {DELETED})"));
        }
        let wanted_partition = self.options.get("partition").map(String::as_str).unwrap_or_default();
        if normal(&existing.partition_key) != normal(wanted_partition) {
            let (have, want) = (&existing.partition_key, wanted_partition);
            faults.push(format!("it is partitioned by ({have}), declared is ({want})"));
        }
        for hidden in [VERSION, DELETED, LSN, TS] {
            if !existing.columns.iter().any(|have| have.name == hidden) {
                faults.push(format!("it has no column {hidden}"));
            }
        }
        let wanted_key = self.sorting_key();
        if normal(&existing.sorting_key) != normal(&wanted_key) {
            faults.push(format!("it is sorted by ({}), the key is {wanted_key}", existing.sorting_key));
        }
        for column in &self.columns {
            let wanted = column.sql_type.to_string();
            match existing.columns.iter().find(|have| have.name == column.name) {
                None => alterations.push(Alteration(format!(
                    "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}",
                    self.qualified(database),
                    column_sql(column)
                ))),
                Some(have) if normal(&have.sql_type) != normal(&wanted) => {
                    faults.push(format!("column {} is {}, declared {wanted}", column.name, have.sql_type));
                }
                Some(_) => {}
            }
        }
        let known = |name: &str| self.columns.iter().any(|column| column.name == name);
        for extra in existing.columns.iter().filter(|have| !known(&have.name) && !have.name.starts_with('_'))
        {
            faults.push(format!("column {} is no longer declared", extra.name));
        }
        if faults.is_empty() {
            return Ok(alterations);
        }
        Err(Refusal {
            table: self.physical_name(),
            target: self.view.clone(),
            transform: self.transform.clone(),
            faults,
        })
    }

    /// The physical table with its database, quoted.
    #[must_use]
    pub fn qualified(&self, database: &str) -> String {
        format!("{}.{}", quote(database), quote(&self.physical_name()))
    }

    /// The columns that rows are sorted by: those that were asked for, or the
    /// key's; what identifies a row is always among them.
    #[must_use]
    pub fn sorted_by(&self) -> Vec<&str> {
        let asked = self.options.get("order").map(String::as_str).unwrap_or_default();
        let asked: Vec<&str> = asked.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let rest = self.key.iter().map(String::as_str).filter(|name| !asked.contains(name));
        asked.iter().copied().chain(rest).collect()
    }

    fn sorting_key(&self) -> String {
        let columns: Vec<String> = self.sorted_by().into_iter().map(quote).collect();
        format!("({})", columns.join(", "))
    }
}

fn column_sql(column: &super::StarColumn) -> String {
    let mut sql = format!("{} {}", quote(&column.name), column.sql_type);
    if let Some(comment) = column.options.get("comment") {
        let _ = write!(sql, " COMMENT {}", text(comment));
    }
    if let Some(codec) = column.options.get("codec") {
        let _ = write!(sql, " CODEC({codec})");
    }
    sql
}

/// An identifier in backquotes.
#[must_use]
pub fn quote(identifier: &str) -> String {
    format!("`{}`", identifier.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A string literal.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Without blanks, quotes and an outer pair of parentheses: ClickHouse prints
/// types and keys its own way.
fn normal(sql: &str) -> String {
    let plain: String = sql.chars().filter(|c| !c.is_whitespace() && *c != '`').collect();
    plain.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).map_or(plain.clone(), str::to_owned)
}
