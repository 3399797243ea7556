//! `dabi explain`: where a star row comes from.

use std::io::{self, Write};

use clap::Args;
use serde_json::Value;

use super::audited::Audited;
use crate::audit::{Cause, ChangeRow, EventPlace, Explain, Explained, Moment, SourceRow, StarRow};
use crate::config::Settings;

/// Show where a star row comes from, and what it was before
///
/// The row in ClickHouse with the epoch that wrote it; the source row with what it
/// looked up, and the event that each comes from; and the row after every event, or
/// snapshot that was taken again, that changed it. Of a target that keeps changes,
/// every change of the key with its row. All is computed from the lake with the live
/// module. The lake's files of the tables concerned are read once or more, so a large
/// table takes a while. A key with a computed part and no part that is passed through
/// is found only while its source row is there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dabi explain f_orders 17
  dabi explain f_order_lines 17,3            the key's values, in its order
  dabi explain dim_users 7                   every version of a row
  dabi explain order_changes 17              every change that is kept of a row
  dabi explain dim_places '\"Paris, France\"'  a comma in a value
  dabi explain f_orders 17 --json | jq .history")]
pub(super) struct ExplainCommand {
    /// The target
    target: String,
    /// The values of its key, with commas between them
    key: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: ExplainCommand, settings: &Settings) -> anyhow::Result<()> {
    let Audited { lake, warehouse, loaded } = Audited::open(settings).await?;
    let ExplainCommand { target, key, json } = command;
    let (pipeline, calendar) = (settings.pipeline.clone(), settings.calendar);
    let explain = Explain { pipeline, lake, warehouse, loaded, calendar, target, key };
    let explained = explain.run().await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, &explained)?;
        writeln!(out)?;
    } else {
        print(&mut out, &explained)?;
    }
    Ok(out.flush()?)
}

fn print(out: &mut impl Write, explained: &Explained) -> io::Result<()> {
    writeln!(out, "{} {}", explained.target, explained.key)?;
    let sdk = explained.sdk.as_ref().map(|sdk| format!(", made with {sdk}")).unwrap_or_default();
    let (transform, version, module) = (&explained.transform, &explained.version, &explained.module);
    writeln!(out, "transform {transform} {version}{sdk}\n  module {module}")?;
    if let Some(other) = &explained.star_is_of {
        writeln!(out, "  the star is still of module {other}; what follows is computed with the one above")?;
    }
    if let Some(changes) = &explained.changes {
        return print_changes(out, changes);
    }
    for version in &explained.older_versions {
        writeln!(out, "in ClickHouse, an older version\n  {}", version.row)?;
    }
    match &explained.star {
        None => writeln!(out, "in ClickHouse: no row")?,
        Some(star) => print_star(out, star)?,
    }
    if explained.sources.is_empty() {
        writeln!(out, "there is no source row")?;
    }
    for source in &explained.sources {
        print_source(out, source)?;
    }
    if explained.older_events > 0 {
        writeln!(out, "history, without its {} oldest events", explained.older_events)?;
    } else {
        writeln!(out, "history")?;
    }
    explained.history.iter().try_for_each(|moment| print_moment(out, moment))
}

fn print_star(out: &mut impl Write, star: &StarRow) -> io::Result<()> {
    let StarRow { version, term, epoch, row } = star;
    writeln!(out, "in ClickHouse: version {version} (term {term}, epoch {epoch})\n  {row}")
}

fn print_changes(out: &mut impl Write, changes: &[ChangeRow]) -> io::Result<()> {
    if changes.is_empty() {
        return writeln!(out, "there is no change of it");
    }
    for change in changes {
        writeln!(out, "change {}", change.change_key)?;
        for event in &change.events {
            writeln!(out, "  {}", shown(event))?;
        }
        let row = change.row.as_ref().map(Value::to_string);
        let row = row.or_else(|| change.stopped.as_ref().map(|reason| format!("no row: {reason}")));
        writeln!(out, "  {}", row.as_deref().unwrap_or("no event gives it"))?;
        match &change.star {
            None => writeln!(out, "in ClickHouse: no row")?,
            Some(star) => print_star(out, star)?,
        }
    }
    Ok(())
}

fn print_source(out: &mut impl Write, source: &SourceRow) -> io::Result<()> {
    writeln!(out, "source row {} ({})", source.key, shown(&source.event))?;
    writeln!(out, "  {}", source.row)?;
    for lookup in &source.lookups {
        match (&lookup.event, &lookup.row) {
            (Some(event), Some(row)) => {
                writeln!(out, "  lookup {} ({})\n    {row}", lookup.name, shown(event))?;
            }
            _ => writeln!(out, "  lookup {}: no row of {}", lookup.name, lookup.table)?,
        }
    }
    match &source.stopped {
        Some(reason) => writeln!(out, "  gives no star row: {reason}"),
        None => Ok(()),
    }
}

fn print_moment(out: &mut impl Write, moment: &Moment) -> io::Result<()> {
    let row = moment.row.as_ref().map(Value::to_string);
    let row = row.or_else(|| moment.stopped.as_ref().map(|reason| format!("no row: {reason}")));
    let cause = match &moment.cause {
        Cause::Event(event) => shown(event),
        Cause::Snapshot(snapshot) => {
            let at = snapshot.taken.as_ref().map(|at| format!(" at {at} UTC")).unwrap_or_default();
            format!("a snapshot of {} was taken again{at}, without what it was made of", snapshot.table)
        }
    };
    writeln!(out, "  {cause}\n    {}", row.as_deref().unwrap_or("no row"))
}

fn shown(event: &EventPlace) -> String {
    let EventPlace { table, op, topic, partition, offset, committed, .. } = event;
    let at = committed.as_ref().map(|at| format!(" committed {at} UTC")).unwrap_or_default();
    format!("{op} of {table} at {topic}[{partition}]@{offset}{at}")
}
