//! ClickHouse's HTTP interface, on loopback.
//!
//! Owns who may ask, how many at once, and what happens when a client goes
//! away. Does not own how a request is run (`job`).
//!
//! Invariant: every request but `/ping` names this machine in its Host header
//! and carries the password.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::answer::{error_text, status};
use crate::body;
use crate::engine::{DbError, Engine};
use crate::job::{Head, HeadBody, Job, Shared};
use crate::request::{Request, is_authorized, is_local};

/// Requests at once; the rest get 503.
pub(crate) const REQUESTS_MAX: usize = 32;
/// A form holds a statement and its parameters, never data.
const FORM_BYTES_MAX: usize = 16 << 20;
/// Between the last piece of a failed answer and the break, so that the piece
/// leaves the buffers of the connection first.
const BREAK_DELAY: Duration = Duration::from_millis(50);

/// What the handlers share.
struct Server {
    shared: Shared,
    password: String,
    free: Arc<Semaphore>,
    requests: AtomicU64,
}

/// The routes.
pub(crate) fn router(shared: Shared, password: String) -> Router {
    let free = Arc::new(Semaphore::new(REQUESTS_MAX));
    let server = Arc::new(Server { shared, password, free, requests: AtomicU64::new(0) });
    Router::new()
        .route("/ping", get(|| async { "Ok.\n" }))
        .route("/", get(answer).post(answer))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(server)
}

async fn answer(
    State(server): State<Arc<Server>>,
    Query(parameters): Query<Vec<(String, String)>>,
    request: HttpRequest,
) -> Response {
    match server.answer(parameters, request).await {
        Ok(response) => response,
        Err(error) => {
            let code = [("x-clickhouse-exception-code", error.code.to_string())];
            (status(error.code), code, error_text(&error, &server.shared.engine.version)).into_response()
        }
    }
}

impl Server {
    async fn answer(
        &self,
        mut parameters: Vec<(String, String)>,
        http: HttpRequest,
    ) -> Result<Response, DbError> {
        if !is_local(http.headers()) {
            let message = "requests must name 127.0.0.1 or localhost in their Host header";
            return Err(DbError::new(497, "ACCESS_DENIED", message));
        }
        if !is_authorized(&self.password, &parameters, http.headers()) {
            let message =
                "default: Authentication failed: password is incorrect, or there is no user with such name";
            return Err(DbError::new(516, "AUTHENTICATION_FAILED", message));
        }
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            let message = format!("more than {REQUESTS_MAX} requests at once; try again");
            return Err(DbError::new(202, "TOO_MANY_SIMULTANEOUS_QUERIES", &message));
        };
        let started = Instant::now();
        let read_only = http.method() == Method::GET;
        let headers = http.headers().clone();
        let body = if is_form(&headers) {
            parameters.extend(form_parts(http).await?);
            Body::empty()
        } else {
            http.into_body()
        };
        let request = Request::parse(parameters, &headers, read_only)?;

        let id = format!("dabi-{}-{}", std::process::id(), self.requests.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = body::channel();
        let (head_sender, head) = oneshot::channel();
        let killable = Arc::new(AtomicBool::new(false));
        let guard = KillGuard {
            engine: Arc::clone(&self.shared.engine),
            id: id.clone(),
            killable: Arc::clone(&killable),
        };
        let shared = self.shared.clone();
        let job = Job { shared, request, body: receiver, id, started, head: head_sender, killable };
        // The permit goes with the work, which may outlast its client.
        tokio::task::spawn_blocking(move || {
            job.run();
            drop(permit);
        });
        let ((), head) = tokio::join!(sender.pump(body), head);
        let Head { status, headers, body } =
            head.map_err(|_| DbError::new(1002, "UNKNOWN_EXCEPTION", "the request's thread panicked"))?;
        let body = match body {
            HeadBody::Whole(bytes) => Body::from(bytes),
            HeadBody::Pieces(pieces) => Body::from_stream(guarded(pieces, guard)),
        };
        Ok((status, headers, body).into_response())
    }
}

/// The pieces of an answer. Dropped before their end, they take the statement
/// with them.
fn guarded(
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    guard: KillGuard,
) -> impl Stream<Item = io::Result<Bytes>> {
    ReceiverStream::new(pieces).then(move |piece| {
        let _guard = &guard;
        let fails = piece.is_err();
        async move {
            if fails {
                tokio::time::sleep(BREAK_DELAY).await;
            }
            piece
        }
    })
}

/// Kills a read-only statement whose client is gone. Other statements run to
/// their end, as on a server.
struct KillGuard {
    engine: Arc<Engine>,
    id: String,
    killable: Arc<AtomicBool>,
}

impl Drop for KillGuard {
    fn drop(&mut self) {
        // The job clears it at its end, so that only a running one is killed.
        if !self.killable.swap(false, Ordering::Relaxed) {
            return;
        }
        let (engine, id) = (Arc::clone(&self.engine), std::mem::take(&mut self.id));
        tokio::task::spawn_blocking(move || {
            if let Err(error) = engine.kill(&id) {
                tracing::warn!(%error, "stop a statement whose client went away");
            }
        });
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data"))
}

/// The parts of a form, as parameters. Tables in a form are not done here.
async fn form_parts(http: HttpRequest) -> Result<Vec<(String, String)>, DbError> {
    let bad =
        |what: String| DbError::new(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", &format!("form: {what}"));
    let mut form = Multipart::from_request(http, &()).await.map_err(|e| bad(e.body_text()))?;
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|e| bad(e.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        if name != "query" && !name.starts_with("param_") {
            let message = format!("part {name:?} of a form: only query and param_* are done here");
            return Err(DbError::new(48, "NOT_IMPLEMENTED", &message));
        }
        parts.push((name, field.text().await.map_err(|e| bad(e.body_text()))?));
    }
    Ok(parts)
}
