//! `POST /api/dead-letters/retry`: the way of `dabi dead-letters retry` into a
//! running pipeline.
//!
//! The body must be declared as JSON, which no page of another site can send
//! without being asked first; so nobody is led here by a link.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use super::Shared;

/// The body.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// Only those of this transform.
    pub transform: Option<String>,
}

pub(super) async fn retry(
    State(Shared { served, .. }): State<Shared>,
    Json(asked): Json<RetryRequest>,
) -> axum::response::Response {
    let retrier = served.retrier.borrow().clone();
    let Some(retrier) = retrier else {
        return (StatusCode::SERVICE_UNAVAILABLE, "no events flow yet; /readyz says why\n").into_response();
    };
    match retrier.retry(asked.transform.as_deref()).await {
        Ok(retried) => Json(retried).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n")).into_response(),
    }
}
