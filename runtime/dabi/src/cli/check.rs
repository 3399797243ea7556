//! `dabi check`.

use anyhow::bail;
use clap::Args;
use dabi_core::change::ChangeBatch;
use dabi_core::preflight::{Finding, Severity, judge_connector, judge_events};
use dabi_core::spec::Spec;

use crate::config::Settings;
use crate::pipeline::{Loaded, Status, check_stateful, load_transforms};
use crate::preflight::{Connector, connectors, first_events};
use crate::transform::Runtime;

/// Check settings, transforms and the source, and say how each would run
///
/// Builds and loads every transform; reads the first events of the topics (a few
/// seconds; nothing is written, no position is moved); and, where [connect] url is
/// set, asks Kafka Connect for the connector's settings. What would make the star
/// wrong is refused, with what to do.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dabi check
  dabi check --offline                                settings and transforms alone
  DABI_CONNECT_URL=http://connect:8083 dabi check     the connector, too

Exit codes: 0 nothing is refused (there may be warnings); 1 something is.")]
pub(super) struct CheckCommand {
    /// Ask neither Kafka nor Kafka Connect
    #[arg(long)]
    offline: bool,
}

/// Builds and loads every transform, says how each would run, and refuses those
/// that cannot run. Settings have been read by now.
pub(super) async fn run(command: &CheckCommand, settings: &Settings) -> anyhow::Result<()> {
    let status = Status::default();
    let runtime = Runtime::new(settings.transforms.runtime())?;
    let modules = load_transforms(&settings.transforms, &runtime, &status).await?;
    let broken = status.report().transforms.into_iter().filter_map(|transform| transform.reason).count();
    println!("settings: ok (pipeline {}, lake {})", settings.pipeline, settings.lake.url);
    if modules.is_empty() {
        println!("transforms: none in {}; events land in the lake only", settings.transforms.dir.display());
    }
    for Loaded { module, .. } in &modules {
        let spec = module.spec();
        let targets: Vec<&str> = spec.targets.iter().map(|target| target.table.as_str()).collect();
        println!("transform {} {}: {} → {}", spec.name, spec.version, spec.source, targets.join(", "));
        println!("  module {}", module.hash());
        let reasons = spec.stateful_reasons(None);
        if reasons.is_empty() && spec.keeps_changes() {
            println!(
                "  stateless: every change of {} gives rows of its own, which nothing changes",
                spec.source
            );
            continue;
        }
        if reasons.is_empty() {
            println!(
                "  stateless, if the key of {} is the target's key (checked on its first event)",
                spec.source
            );
            continue;
        }
        println!("  stateful: its rows are kept in {}, because", settings.state.dir.display());
        for reason in reasons {
            println!("  - {reason}");
        }
    }
    if broken > 0 {
        bail!("{broken} projects do not build, or not to a transform: see above");
    }
    check_stateful(&modules)?;
    if command.offline {
        return Ok(());
    }
    let specs: Vec<&Spec> = modules.iter().map(|loaded| loaded.module.spec()).collect();
    let findings = preflight(settings, &specs).await?;
    findings.iter().for_each(|finding| println!("{finding}"));
    let refused = findings.iter().filter(|finding| finding.severity == Severity::Refused).count();
    if refused > 0 {
        bail!("{refused} findings would make the star wrong: see above");
    }
    Ok(())
}

/// What the first events and the connector say, the worst first.
async fn preflight(settings: &Settings, specs: &[&Spec]) -> anyhow::Result<Vec<Finding>> {
    let kafka = settings.kafka.clone();
    let read = tokio::task::spawn_blocking(move || first_events(&kafka)).await?;
    let events: Vec<ChangeBatch> = read.unwrap_or_else(|error| {
        println!("source: its events were not looked at: {error}");
        Vec::new()
    });
    let mut tables: Vec<String> = events.iter().map(|batch| batch.table().to_string()).collect();
    tables.sort_unstable();
    tables.dedup();
    if !tables.is_empty() {
        println!("source: looked at the first events of {}", tables.join(", "));
    }
    let mut findings = judge_events(specs, &events);
    let names = settings.kafka.topics.names().iter().map(String::as_str);
    let topics: Vec<&str> = events.iter().map(|batch| &**batch.topic()).chain(names).collect();
    for Connector { name, config } in connectors(&settings.connect, &topics).await? {
        println!("connector {name}: looked at its settings");
        findings.extend(judge_connector(&name, &config));
    }
    findings.sort_by_key(|finding| finding.severity);
    Ok(findings)
}
