//! HTTP: the page, what it shows as JSON, metrics and health.
//!
//! Owns the routes and the page's files, which are part of the binary. Does not
//! own what they show (`overview`, `telemetry`, `pipeline`).

mod dead_letters;
mod live;
mod page;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::dead_letters::RetryRequest;
use crate::overview::Overview;
use crate::pipeline::{Retrier, Status};
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

/// What is served.
#[derive(Clone)]
pub struct Served {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/readyz`.
    pub status: Status,
    /// For the page.
    pub overview: watch::Receiver<Arc<Overview>>,
    /// For retrying dead letters.
    pub retrier: watch::Receiver<Option<Retrier>>,
}

#[derive(Clone)]
struct Shared {
    served: Served,
    stop: CancellationToken,
}

/// Serves until `stop`: `/` (the page), `/api/overview` and `/api/events` (what
/// it shows, once and live), `/api/dead-letters/retry` (POST), `/metrics`, `/healthz` (the process runs) and
/// `/readyz` (events flow: 200, or 503 with what it waits for).
///
/// # Errors
/// If the system ends the listener.
pub async fn serve(listener: TcpListener, served: Served, stop: CancellationToken) -> std::io::Result<()> {
    tracing::info!("http://{} shows this pipeline", listener.local_addr()?);
    let router = Router::new()
        .route("/", get(page::html))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/chart.js", get(page::chart))
        .route("/api/overview", get(live::overview))
        .route("/api/events", get(live::events))
        .route("/api/dead-letters/retry", post(dead_letters::retry))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .with_state(Shared { served, stop: stop.clone() });
    // A short answer or event would otherwise wait 40 ms for the one before to be
    // acknowledged.
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn metrics(State(Shared { served, .. }): State<Shared>) -> impl IntoResponse {
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, openmetrics)], served.metrics.encode())
}

async fn readiness(State(Shared { served, .. }): State<Shared>) -> impl IntoResponse {
    let report = served.status.report();
    let code = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(report))
}
