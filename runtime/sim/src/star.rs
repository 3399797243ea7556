//! The warehouse as one process reaches it: each statement a request.
//!
//! Mirrors which statements a method of the real one sends, since anything may
//! happen between two of them.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use dabi::pipeline::StarWarehouse;
use dabi::warehouse::{
    ClearedLetterRow, DeadLetterRow, EpochRecord, Generations, LetterScope, OpenLetter, WarehouseError,
};
use dabi_core::fold::Truncate;
use dabi_core::star::TargetTable;
use dabi_core::version::Version;
use tokio_util::sync::CancellationToken;

use crate::network::{Lateness, Line};
use crate::process::PIPELINE;
use crate::warehouse::{Letter, UnknownTable};
use crate::world::World;

/// See the module.
pub(crate) struct Star(pub(crate) Line);

impl Star {
    async fn ask<T: Send + 'static>(
        &self,
        what: &str,
        stop: &CancellationToken,
        request: impl Fn(&mut World) -> T + Clone + Send + 'static,
    ) -> Result<T, WarehouseError> {
        self.ask_within(Lateness::Possible, what, stop, request).await
    }

    /// As [`Star::ask`], for what makes, shows and takes away tables: `rebuild`, in
    /// the pipeline, says why it must not be late.
    async fn change<T: Send + 'static>(
        &self,
        what: &str,
        stop: &CancellationToken,
        request: impl Fn(&mut World) -> T + Clone + Send + 'static,
    ) -> Result<T, WarehouseError> {
        self.ask_within(Lateness::Never, what, stop, request).await
    }

    async fn ask_within<T: Send + 'static>(
        &self,
        lateness: Lateness,
        what: &str,
        stop: &CancellationToken,
        request: impl Fn(&mut World) -> T + Clone + Send + 'static,
    ) -> Result<T, WarehouseError> {
        let asked = self.0.ask(what, lateness, stop, request).await;
        asked.map_err(|_| WarehouseError::Stopped(what.to_owned()))
    }

    /// As [`Star::ask`], where there may be no such table.
    async fn ask_table<T: Send + 'static>(
        &self,
        what: &str,
        stop: &CancellationToken,
        request: impl Fn(&mut World) -> Result<T, UnknownTable> + Clone + Send + 'static,
    ) -> Result<T, WarehouseError> {
        self.ask(what, stop, request).await?.map_err(|unknown| refused(what, &unknown))
    }
}

#[async_trait]
impl StarWarehouse for Star {
    async fn show_tables(
        &self,
        tables: &[TargetTable],
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        for table in tables {
            let table = table.clone();
            let what = format!("show {}", table.physical_name());
            let shown = self.change(&what, stop, move |world| world.warehouse.show(&table)).await?;
            shown.map_err(|unknown| refused(&what, &unknown))?;
        }
        Ok(())
    }

    async fn ensure_tables(
        &self,
        tables: &[TargetTable],
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        for table in tables {
            let table = table.clone();
            let what = format!("create {}", table.physical_name());
            self.change(&what, stop, move |world| world.warehouse.create(&table)).await?;
        }
        Ok(())
    }

    async fn generations(&self, view: &str, stop: &CancellationToken) -> Result<Generations, WarehouseError> {
        let name = view.to_owned();
        self.ask(&format!("list {view}"), stop, move |world| world.warehouse.generations(&name)).await
    }

    async fn highest_version(
        &self,
        table: &TargetTable,
        stop: &CancellationToken,
    ) -> Result<Version, WarehouseError> {
        let (name, what) = (table.physical_name(), format!("look at versions of {}", table.physical_name()));
        self.ask_table(&what, stop, move |world| world.warehouse.highest_version(&name)).await
    }

    async fn drop_generation(&self, table: &str, stop: &CancellationToken) -> Result<(), WarehouseError> {
        let name = table.to_owned();
        self.change(&format!("drop {table}"), stop, move |world| world.warehouse.drop_table(&name)).await
    }

    async fn last_epoch(
        &self,
        pipeline: &str,
        stop: &CancellationToken,
    ) -> Result<Option<EpochRecord>, WarehouseError> {
        assert_eq!(pipeline, PIPELINE, "there is one");
        self.ask("tell the last epoch", stop, |world| world.warehouse.last_epoch()).await
    }

    async fn record_epoch(
        &self,
        record: &EpochRecord,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let (term, epoch, position) = (record.term, record.epoch, &record.position);
        let what = format!("record epoch {epoch} of term {term} at {position:?}");
        let record = record.clone();
        self.ask(&what, stop, move |world| world.warehouse.epochs.push(record.clone())).await
    }

    async fn insert_truncate_tombstones(
        &self,
        table: &TargetTable,
        truncate: Truncate,
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let name = table.physical_name();
        let what = format!("truncate {name} at {truncate:?}");
        self.ask_table(&what, stop, move |world| world.warehouse.truncate(&name, truncate, version)).await
    }

    async fn insert(
        &self,
        table: &str,
        rows: &[RecordBatch],
        token: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let what = format!("insert {token}");
        let (table, rows, token) = (table.to_owned(), rows.to_vec(), token.to_owned());
        self.ask_table(&what, stop, move |world| {
            let newest = world.highest_term();
            let stored = world.warehouse.insert(&table, &rows, &token, newest)?;
            if let Err(broken) = stored {
                world.broken.get_or_insert(format!("{table}: {broken}"));
            }
            Ok(())
        })
        .await
    }

    async fn insert_dead_letters(
        &self,
        raised: &[DeadLetterRow],
        cleared: &[ClearedLetterRow],
        version: Version,
        _token: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let open = raised
            .iter()
            .map(|row| (Letter::of(&row.transform, row.generation, &row.id()), Some(open_letter(row))));
        let gone = cleared
            .iter()
            .map(|letter| (Letter::of(&letter.transform, letter.generation, &letter.key), None));
        let letters: Vec<(Letter, Option<OpenLetter>)> = open.chain(gone).collect();
        let what = format!("store dead letters of {version:?}: {letters:?}");
        self.ask(&what, stop, move |world| world.warehouse.letters.insert(&letters, version)).await
    }

    async fn carry_letters(
        &self,
        transforms: &[&str],
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let names: Vec<String> = transforms.iter().map(|&name| name.to_owned()).collect();
        let what = format!("carry letters of {names:?} over to {version:?}");
        self.ask(&what, stop, move |world| world.warehouse.letters.carry(&names, version)).await
    }

    async fn scope_letters(
        &self,
        transforms: &[&str],
        scope: LetterScope,
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let names: Vec<String> = transforms.iter().map(|&name| name.to_owned()).collect();
        let what = format!("of the letters of {names:?} count {scope:?}, says {version:?}");
        self.ask(&what, stop, move |world| world.warehouse.letters.scope(&names, scope, version)).await
    }

    async fn open_letters(
        &self,
        transform: &str,
        stop: &CancellationToken,
    ) -> Result<Vec<OpenLetter>, WarehouseError> {
        let (name, what) = (transform.to_owned(), format!("list letters of {transform}"));
        self.ask(&what, stop, move |world| world.warehouse.letters.open(&name)).await
    }

    async fn refused_transforms(&self) -> Result<Vec<String>, WarehouseError> {
        unreachable!("nobody asks for letters to be tried again")
    }

    async fn close(&self) {}
}

fn refused(doing: &str, UnknownTable(table): &UnknownTable) -> WarehouseError {
    let message = format!("there is no table {table}");
    WarehouseError::Refused { doing: doing.to_owned(), message, remedy: "" }
}

fn open_letter(row: &DeadLetterRow) -> OpenLetter {
    OpenLetter {
        key: row.key.clone(),
        topic: row.topic.clone(),
        partition: row.partition,
        offset: row.offset,
        lsn: row.lsn,
        ts_us: row.ts_us,
    }
}
