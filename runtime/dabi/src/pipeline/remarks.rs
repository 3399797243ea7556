//! What people should know of a source or a transform although the star is right
//! by its definition: a commit clock that stepped back, events without a key,
//! source rows that disagree about a star row.
//!
//! Owns the words, and when the log has them again. Does not own what is counted
//! (`dabi_core::engine::stateful`), nor who shows it.
//!
//! Invariant: everything that is counted is in the metrics and in the remarks of
//! the transforms that it concerns, from the epoch on in which it happened.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dabi_core::engine::stateful::{ClockSteps, EpochReport};
use dabi_core::spec::{Spec, TargetKind};

use crate::telemetry::{Metrics, TableLabel, TransformLabel};

/// The log has a remark again only after so long, with all that has come to it.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// What can be remarked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Of a source table.
    Clock,
    /// Of a source table.
    Keyless,
    /// Of a transform.
    Conflicts,
}

/// All that came to a remark since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    count: u64,
    largest_us: u64,
    logged: Option<Instant>,
}

/// All remarks since the start, by what they are about.
#[derive(Debug, Default)]
pub(super) struct Remarks(BTreeMap<(Kind, String), Total>);

/// What an epoch added to them.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Is any remark another than before?
    pub(super) is_any: bool,
    /// Those that the log should have.
    pub(super) to_log: Vec<String>,
}

impl Remarks {
    /// Takes in what an epoch came to at `now`.
    pub(super) fn take(&mut self, report: &EpochReport, now: Instant) -> Fresh {
        let clock = report.clock.iter().map(|(table, steps)| {
            let ClockSteps { events, largest_us } = *steps;
            ((Kind::Clock, table.to_string()), events, largest_us)
        });
        let keyless =
            report.keyless.iter().map(|(table, events)| ((Kind::Keyless, table.to_string()), *events, 0));
        let conflicts =
            report.conflicts.iter().map(|(transform, rows)| ((Kind::Conflicts, transform.clone()), *rows, 0));
        let mut fresh = Fresh::default();
        for (about, count, largest_us) in clock.chain(keyless).chain(conflicts) {
            let total = self.0.entry(about.clone()).or_default();
            total.count += count;
            total.largest_us = total.largest_us.max(largest_us);
            fresh.is_any = true;
            if total.logged.is_none_or(|logged| now.duration_since(logged) >= AGAIN_AFTER) {
                total.logged = Some(now);
                fresh.to_log.push(told(&about, *total));
            }
        }
        fresh
    }

    /// Those that concern a transform.
    pub(super) fn of(&self, spec: &Spec) -> Vec<String> {
        let source = spec.source.to_string();
        let keeps_versions = spec.targets.iter().any(|target| target.kind == TargetKind::Scd2);
        let concerns = |kind: Kind, about: &String| match kind {
            Kind::Clock => keeps_versions && *about == source,
            Kind::Keyless => *about == source,
            Kind::Conflicts => *about == spec.name,
        };
        let own = self.0.iter().filter(|((kind, about), _)| concerns(*kind, about));
        own.map(|(about, total)| told(about, *total)).collect()
    }
}

fn told((kind, about): &(Kind, String), total: Total) -> String {
    let Total { count, largest_us, .. } = total;
    match kind {
        Kind::Clock => format!(
            "{about}: {count} changes have an earlier commit time than a change of the same row before them, by {} \
             at most, and versions go by commit time; let the clocks of the database's servers, and of Kafka Connect \
             where it takes snapshots, be slewed and never set back",
            span(largest_us)
        ),
        Kind::Keyless => format!(
            "{about}: {count} events have a null in their key, so they belong to no row; set REPLICA IDENTITY FULL \
             on the table, or leave what may be null out of message.key.columns"
        ),
        Kind::Conflicts => format!(
            "{about}: {count} source rows gave another star row than the one that stands under the same key, which \
             is that of the smallest source key; let them give the same, or add to the key what tells them apart"
        ),
    }
}

fn span(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// Adds what an epoch came to to the metrics.
pub(super) fn count(report: &EpochReport, metrics: &Metrics) {
    for (table, events) in &report.keyless {
        metrics.keyless.get_or_create(&TableLabel { table: table.to_string() }).inc_by(*events);
    }
    for (table, steps) in &report.clock {
        let label = TableLabel { table: table.to_string() };
        metrics.clock_steps.get_or_create(&label).inc_by(steps.events);
        let largest = metrics.clock_step_largest.get_or_create(&label);
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a step")]
        largest.set((steps.largest_us as f64 / 1e6).max(largest.get()));
    }
    for (transform, rows) in &report.conflicts {
        metrics.conflicts.get_or_create(&TransformLabel { transform: transform.clone() }).inc_by(*rows);
    }
}

#[cfg(test)]
mod tests {
    use dabi_core::spec::{Options, Target};
    use dabi_core::table::SourceTable;

    use super::*;

    fn spec(name: &str, kind: TargetKind) -> Spec {
        let target = Target {
            table: name.into(),
            kind,
            columns: Vec::new(),
            key: Vec::new(),
            as_of: Vec::new(),
            options: Options::new(),
        };
        Spec {
            name: name.into(),
            version: "1".into(),
            source: SourceTable::new("shop", "users"),
            columns: Vec::new(),
            lookups: Vec::new(),
            targets: vec![target],
            options: Options::new(),
        }
    }

    fn report(steps: u64, largest_us: u64, conflicts: u64) -> EpochReport {
        let users = SourceTable::new("shop", "users");
        EpochReport {
            clock: BTreeMap::from([(users, ClockSteps { events: steps, largest_us })]),
            conflicts: BTreeMap::from([("dim_city".to_owned(), conflicts)]),
            ..EpochReport::default()
        }
    }

    #[test]
    fn a_remark_is_logged_at_once_and_then_now_and_then() {
        let (mut remarks, start) = (Remarks::default(), Instant::now());
        assert_eq!(remarks.take(&report(1, 2_000, 1), start).to_log.len(), 2);
        let soon = remarks.take(&report(1, 9_000, 1), start + Duration::from_secs(1));
        assert!(soon.is_any && soon.to_log.is_empty());
        let later = remarks.take(&report(1, 3_000, 1), start + AGAIN_AFTER);
        assert!(later.to_log[0].contains("shop.users: 3 changes") && later.to_log[0].contains("by 9 ms"));
        assert!(!remarks.take(&EpochReport::default(), start + AGAIN_AFTER * 2).is_any);
    }

    #[test]
    fn a_transform_has_the_remarks_that_concern_it() {
        let mut remarks = Remarks::default();
        remarks.take(&report(2, 5, 7), Instant::now());
        let of = |name: &str, kind: TargetKind| remarks.of(&spec(name, kind)).join("\n");
        assert!(of("dim_users", TargetKind::Scd2).starts_with("shop.users: 2 changes"));
        assert!(of("dim_city", TargetKind::Latest).starts_with("dim_city: 7 source rows"));
        assert_eq!(of("f_users", TargetKind::Latest), "");
    }

    #[test]
    fn everything_is_in_the_metrics() {
        let metrics = Metrics::new();
        let keyless = BTreeMap::from([(SourceTable::new("shop", "carts"), 4)]);
        count(&EpochReport { keyless, ..report(2, 1_500_000, 7) }, &metrics);
        count(&report(1, 5, 1), &metrics);
        let text = metrics.encode();
        for line in [
            "dabi_keyless_events_total{table=\"shop.carts\"} 4",
            "dabi_clock_steps_total{table=\"shop.users\"} 3",
            "dabi_clock_step_largest_seconds{table=\"shop.users\"} 1.5",
            "dabi_conflicting_rows_total{transform=\"dim_city\"} 8",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
