//! `dabi check`.

use anyhow::bail;

use crate::config::Settings;
use crate::pipeline::{Loaded, Status, check_stateful, load_transforms};
use crate::transform::Runtime;

/// Builds and loads every transform, says how each would run, and refuses those
/// that cannot run. Settings have been read by now.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
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
    Ok(())
}
