//! `dabi run`.

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::pipeline::{Pipeline, Status};
use crate::telemetry::Metrics;
use crate::web;

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
    let stop = stop_on_signal()?;
    let web_stop = CancellationToken::new();
    let web_settings = settings.web.clone();
    let web = tokio::spawn({
        let (metrics, status, stop) = (metrics.clone(), status.clone(), web_stop.clone());
        async move { web::serve(&web_settings, metrics, status, stop).await }
    });
    let listen = settings.web.listen;
    let finish = CancellationToken::new();
    if command.until_caught_up {
        finish.cancel();
    }
    let pipeline = Pipeline::new(settings, metrics, status, finish, stop);
    let outcome = tokio::select! {
        outcome = pipeline.run() => outcome.map_err(anyhow::Error::from),
        served = web => match served {
            Ok(Err(error)) => Err(anyhow::Error::new(error).context(format!("listen on {listen} (setting web.listen)"))),
            Ok(Ok(())) => Err(anyhow::anyhow!("the web server ended by itself")),
            Err(error) => Err(anyhow::Error::new(error).context("the web server")),
        },
    };
    web_stop.cancel();
    outcome
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
