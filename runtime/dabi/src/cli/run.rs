//! `dabi run`.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::observed::{self, Observed};
use crate::config::Settings;
use crate::pipeline::{Pipeline, Status};
use crate::telemetry::Metrics;

/// Keep lake and star up to date with Kafka
#[derive(Debug, Args)]
pub(super) struct RunCommand {
    /// Stop with exit code 0 once every partition is read to its end and both
    /// sinks are durable
    #[arg(long)]
    until_caught_up: bool,
}

pub(super) async fn run(command: RunCommand, settings: Settings) -> anyhow::Result<()> {
    let (metrics, status) = (Metrics::new(), Status::default());
    let (stop, finish) = (stop_on_signal()?, CancellationToken::new());
    if command.until_caught_up {
        finish.cancel();
    }
    let listener = observed::listen(&settings).await?;
    let pipeline = Pipeline::new(settings.clone(), metrics.clone(), status.clone(), finish, stop);
    let mut observed = Observed::start(&pipeline, &settings, metrics, status, listener);
    let ran = observed.run(pipeline).await;
    observed.close().await;
    ran
}

/// A token that SIGTERM and SIGINT cancel.
pub(super) fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn({
        let stop = stop.clone();
        async move {
            let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            tracing::info!("{name}: draining; what is read is brought to both sinks before the exit");
            stop.cancel();
        }
    });
    Ok(stop)
}
