//! `dabi build`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use indicatif::HumanBytes;

use crate::build::Project;
use crate::transform::TransformSettings;

/// Build the source projects of the transforms' folder, each by its own toolchain
///
/// `dabi run` does the same at its start and whenever something is saved.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dabi build
  dabi build examples/transforms --out /tmp/modules")]
pub(super) struct BuildCommand {
    /// The folder of projects [default: transforms.dir]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where the modules go [default: transforms.build_dir]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Builds every project, also after one has failed.
///
/// # Errors
/// If one does not build; what is wrong with each has been printed.
pub(super) async fn run(command: BuildCommand, settings: TransformSettings) -> anyhow::Result<()> {
    let dir = command.dir.unwrap_or(settings.dir);
    let out = command.out.unwrap_or(settings.build_dir);
    let projects = Project::all(&dir)?;
    if projects.is_empty() {
        println!("no projects in {}", dir.display());
    }
    let mut failed = 0;
    for project in &projects {
        eprintln!("building {} ({})", project.dir().display(), project.language().name());
        match project.build(&out).await {
            Ok(built) => println!(
                "{}  {}  {:.1} s",
                built.module.display(),
                HumanBytes(built.bytes),
                built.took.as_secs_f64()
            ),
            Err(error) => {
                failed += 1;
                eprintln!("error: {error}");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} projects do not build", projects.len());
    }
    Ok(())
}
