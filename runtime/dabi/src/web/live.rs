//! The overview as JSON: once, and as a stream of server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures::{Stream, StreamExt as _, future, stream};
use tokio_stream::wrappers::WatchStream;

use super::Shared;
use crate::overview::Overview;

/// How soon a browser tries again after a lost connection.
const RETRY: Duration = Duration::from_secs(1);

/// The latest snapshot, with its history.
pub(super) async fn overview(State(shared): State<Shared>) -> Json<Overview> {
    let latest = Arc::clone(&shared.served.overview.borrow());
    Json(Arc::unwrap_or_clone(latest))
}

/// First an event `overview` with the history, then an `update` without it for
/// every snapshot. Ends with the pipeline, so that the server can.
pub(super) async fn events(
    State(Shared { mut served, stop }): State<Shared>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let first = event("overview", &served.overview.borrow_and_update()).retry(RETRY);
    let updates = WatchStream::from_changes(served.overview).map(|latest| event("update", &latest.update()));
    let events = stream::once(future::ready(first)).chain(updates).map(Ok);
    Sse::new(events.take_until(stop.cancelled_owned()))
}

fn event(name: &str, overview: &Overview) -> Event {
    Event::default().event(name).json_data(overview).expect("a snapshot is JSON on one line")
}
