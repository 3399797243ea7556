//! Tables and views of the star: created, extended, or refused.

use std::time::Duration;

use dabi_core::fold::Truncate;
use dabi_core::star::{
    Alteration, DELETED, ExistingColumn, ExistingTable, LSN, TS, TargetTable, VERSION, quote,
};
use dabi_core::version::Version;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::client::Warehouse;
use super::error::WarehouseError;
use super::literal;

#[derive(Deserialize)]
struct TableRow {
    engine_full: String,
    sorting_key: String,
    partition_key: String,
}

#[derive(Deserialize)]
struct ViewRow {
    engine: String,
    as_select: String,
}

#[derive(Deserialize)]
struct ColumnRow {
    name: String,
    r#type: String,
}

#[derive(Deserialize)]
struct CountRow {
    rows: u64,
}

#[derive(Deserialize)]
struct NamedRow {
    name: String,
    as_select: String,
}

/// The generations of one or more targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// The one that readers see.
    pub shown: Option<u32>,
    /// The highest number that is taken.
    pub highest: Option<u32>,
    /// Every table.
    pub tables: Vec<String>,
}

/// The generation that a physical table is of.
fn generation_of(table: &str) -> Option<u32> {
    table.rsplit_once("__g").and_then(|(_, number)| number.parse().ok())
}

impl Generations {
    /// The tables of all generations but `kept`.
    pub fn others(&self, kept: &[u32]) -> impl Iterator<Item = &str> {
        let is_other = |table: &&String| !generation_of(table).is_some_and(|number| kept.contains(&number));
        self.tables.iter().filter(is_other).map(String::as_str)
    }

    /// Takes over those of another target. Targets that were not always together
    /// may show different ones: the highest is the one to go on from.
    pub fn merge(&mut self, other: Self) {
        self.shown = self.shown.max(other.shown);
        self.highest = self.highest.max(other.highest);
        self.tables.extend(other.tables);
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok()
}

impl Warehouse {
    /// How many rows a reader of `view` finds, without tombstones.
    ///
    /// # Errors
    /// If there is no answer within `patience`.
    pub async fn count_rows(&self, view: &str, patience: Duration) -> Result<u64, WarehouseError> {
        self.count(&format!("{}.{}", quote(&self.database), quote(view)), patience).await
    }

    pub(super) async fn count(&self, from: &str, patience: Duration) -> Result<u64, WarehouseError> {
        let rows: Vec<CountRow> =
            self.glance(&format!("SELECT count() AS rows FROM {from}"), "count rows", patience).await?;
        Ok(rows.first().map_or(0, |row| row.rows))
    }

    /// Creates or switches the view of each target: readers see its table.
    /// ClickHouse refuses a view of a table that is not there.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn show_tables(
        &self,
        tables: &[TargetTable],
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        for table in tables {
            let view = table.view_name();
            self.execute(&table.create_view_sql(&self.database), &format!("create view {view}"), stop)
                .await?;
        }
        Ok(())
    }

    /// Creates the table of each target, or adds the columns it lacks; nothing of
    /// it if one of them is refused. Readers see nothing of it.
    ///
    /// # Errors
    /// If a table is there that does not fit, with every difference.
    pub async fn ensure_tables(
        &self,
        tables: &[TargetTable],
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let mut statements = Vec::new();
        for table in tables {
            self.check_view_is_free(table.view_name(), stop).await?;
            let name = table.physical_name();
            match self.existing_table(&name, stop).await? {
                None => {
                    statements.push((table.create_table_sql(&self.database), format!("create table {name}")));
                }
                Some(existing) => {
                    for Alteration(sql) in table.alterations(&self.database, &existing)? {
                        tracing::info!(table = name, statement = sql, "extending the star");
                        statements.push((sql, format!("extend table {name}")));
                    }
                }
            }
        }
        for (sql, doing) in statements {
            self.execute(&sql, &doing, stop).await?;
        }
        Ok(())
    }

    /// Which generations of `view` there are.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn generations(
        &self,
        view: &str,
        stop: &CancellationToken,
    ) -> Result<Generations, WarehouseError> {
        let sql = format!(
            "SELECT name, as_select FROM system.tables WHERE database = {} AND (name = {view} OR startsWith(name, {}))",
            literal(&self.database),
            literal(&format!("{view}__g")),
            view = literal(view),
        );
        let found: Vec<NamedRow> = self.rows(&sql, &format!("list the tables of {view}"), stop).await?;
        let mut generations = Generations::default();
        for NamedRow { name, as_select } in found {
            if name == view {
                generations.shown = as_select.split(&format!("{view}__g")).nth(1).and_then(leading_number);
            } else if let Some(number) = generation_of(&name) {
                generations.highest = generations.highest.max(Some(number));
                generations.tables.push(name);
            }
        }
        Ok(generations)
    }

    /// Drops the table of a generation.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn drop_generation(&self, table: &str, stop: &CancellationToken) -> Result<(), WarehouseError> {
        let sql = format!("DROP TABLE IF EXISTS {}.{}", quote(&self.database), quote(table));
        self.execute(&sql, &format!("drop {table}"), stop).await
    }

    async fn existing_table(
        &self,
        name: &str,
        stop: &CancellationToken,
    ) -> Result<Option<ExistingTable>, WarehouseError> {
        let of =
            |column: &str| format!("database = {} AND {column} = {}", literal(&self.database), literal(name));
        let doing = format!("describe table {name}");
        let tables =
            format!("SELECT engine_full, sorting_key, partition_key FROM system.tables WHERE {}", of("name"));
        let tables: Vec<TableRow> = self.rows(&tables, &doing, stop).await?;
        let Some(table) = tables.into_iter().next() else { return Ok(None) };
        let columns =
            format!("SELECT name, type FROM system.columns WHERE {} ORDER BY position", of("table"));
        let columns: Vec<ColumnRow> = self.rows(&columns, &doing, stop).await?;
        let columns =
            columns.into_iter().map(|c| ExistingColumn { name: c.name, sql_type: c.r#type }).collect();
        let TableRow { engine_full: engine, sorting_key, partition_key } = table;
        Ok(Some(ExistingTable { engine, sorting_key, partition_key, columns }))
    }

    /// `CREATE OR REPLACE VIEW` would replace a table of that name, too, with
    /// all that is in it.
    pub(super) async fn check_view_is_free(
        &self,
        view: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let sql = format!(
            "SELECT engine, as_select FROM system.tables WHERE database = {} AND name = {}",
            literal(&self.database),
            literal(view)
        );
        let found: Vec<ViewRow> = self.rows(&sql, &format!("describe view {view}"), stop).await?;
        let own = |found: &ViewRow| found.engine == "View" && found.as_select.contains(&format!("{view}__g"));
        match found.into_iter().find(|found| !own(found)) {
            None => Ok(()),
            Some(other) => Err(WarehouseError::Taken {
                database: self.database.clone(),
                name: view.to_owned(),
                engine: other.engine,
            }),
        }
    }

    /// Writes a tombstone of `version` for every live row of `table` that
    /// `truncate` covers. Done again, it finds nothing left.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn insert_truncate_tombstones(
        &self,
        table: &TargetTable,
        truncate: Truncate,
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let name = table.physical_name();
        let key: Vec<String> = table.key().iter().map(|column| quote(column)).collect();
        let key = key.join(", ");
        let Some(covered) = covered_by(truncate) else { return Ok(()) };
        let qualified = table.qualified(&self.database);
        let sql = format!(
            "INSERT INTO {qualified} ({key}, {VERSION}, {DELETED}, {LSN}, {TS}) \
             SELECT {key}, {}, 1, {LSN}, {TS} FROM {qualified} FINAL WHERE {DELETED} = 0 AND {covered} \
             SETTINGS optimize_move_to_prewhere_if_final = 0",
            version.0
        );
        self.execute(&sql, &format!("truncate {name}"), stop).await
    }
}

/// [`Truncate::covers`] in SQL, over the hidden columns; `None`: nothing.
fn covered_by(truncate: Truncate) -> Option<String> {
    let lsn = truncate.lsn.map(|lsn| format!("{LSN} < {lsn}"));
    let ts = truncate.ts_us.map(|ts| format!("{TS} <= fromUnixTimestamp64Micro({ts}, 'UTC')"));
    match (lsn, ts) {
        (Some(lsn), Some(ts)) => Some(format!(
            "({LSN} IS NULL OR {lsn}) AND ({TS} IS NULL OR {ts}) AND NOT ({LSN} IS NULL AND {TS} IS NULL)"
        )),
        (Some(only), None) => Some(format!("{LSN} IS NOT NULL AND {only}")),
        (None, Some(only)) => Some(format!("{TS} IS NOT NULL AND {only}")),
        (None, None) => None,
    }
}
