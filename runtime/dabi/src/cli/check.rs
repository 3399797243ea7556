//! `dabi check`.

use anyhow::{Context, bail};

use crate::config::Settings;
use crate::pipeline::load_transforms;

/// Loads every transform, says how each would run, and refuses those that
/// cannot run. Settings have been read by now.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let transforms = settings.transforms.clone();
    let modules = tokio::task::spawn_blocking(move || load_transforms(&transforms))
        .await
        .context("load transforms")??;
    println!("settings: ok (pipeline {}, lake {})", settings.pipeline, settings.lake.url);
    if modules.is_empty() {
        println!("transforms: none in {}; events land in the lake only", settings.transforms.dir.display());
    }
    let mut refused = 0;
    for module in &modules {
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
        refused += 1;
        println!("  refused: it needs row state, which this version of dabi does not keep:");
        for reason in reasons {
            println!("  - {reason}");
        }
    }
    if refused > 0 {
        bail!("{refused} of {} transforms cannot run", modules.len());
    }
    Ok(())
}
