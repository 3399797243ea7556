//! HTTP: metrics and health.
//!
//! Owns the routes. Does not own what they show (`telemetry`, `pipeline`).

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::pipeline::Status;
use crate::telemetry::Metrics;

/// Settings of `[web]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebSettings {
    /// Address to listen on.
    pub listen: SocketAddr,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 3001)) }
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    status: Status,
}

/// Serves `/metrics`, `/healthz` (the process runs) and `/readyz` (events flow:
/// 200, or 503 with what it waits for) until `stop`.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve(
    settings: &WebSettings,
    metrics: Metrics,
    status: Status,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .with_state(Shared { metrics, status });
    let listener = TcpListener::bind(settings.listen).await?;
    tracing::info!(address = %listener.local_addr()?, "serving /metrics, /healthz, /readyz");
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn show_metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, openmetrics)], shared.metrics.encode())
}

async fn readiness(State(shared): State<Shared>) -> impl IntoResponse {
    let report = shared.status.report();
    let code = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(report))
}
