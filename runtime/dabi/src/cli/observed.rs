//! A pipeline that can be watched: its overview, and the page that shows it.
//!
//! Owns how long both live: from before the pipeline's start, so that a start
//! that waits can be seen to wait, until after its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::overview::{About, Overview, Sampler};
use crate::pipeline::{Pipeline, Status, now_ms};
use crate::telemetry::Metrics;
use crate::web::{self, Served};

/// How long an unfinished answer may keep the process after the pipeline's end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What watches a pipeline.
pub(super) struct Observed {
    overview: watch::Receiver<Arc<Overview>>,
    stop: CancellationToken,
    sampler: JoinHandle<()>,
    server: JoinHandle<std::io::Result<()>>,
}

/// Listens on the address of `[web]`.
pub(super) async fn listen(settings: &Settings) -> anyhow::Result<TcpListener> {
    let address: SocketAddr = settings.web.listen;
    TcpListener::bind(address).await.with_context(|| {
        format!("listen on {address}: is another dabi running? Set web.listen to another address")
    })
}

/// Listens on the address of `[web]` or, where that is taken, on the next free
/// port: for who just wants to look.
pub(super) async fn listen_nearby(settings: &Settings) -> anyhow::Result<TcpListener> {
    const PORTS: u16 = 20;
    let wanted = settings.web.listen;
    for port in wanted.port()..wanted.port().saturating_add(PORTS) {
        match TcpListener::bind((wanted.ip(), port)).await {
            Ok(listener) => {
                if port != wanted.port() {
                    tracing::warn!("port {} is taken (another dabi?): the page is on {port}", wanted.port());
                }
                return Ok(listener);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => {
                return Err(error).with_context(|| format!("listen on {wanted} (setting web.listen)"));
            }
        }
    }
    anyhow::bail!("{PORTS} ports from {wanted} on are taken; set web.listen to a free one")
}

impl Observed {
    /// Starts to watch a pipeline, and to show it on `listener`.
    pub(super) fn start(
        pipeline: &Pipeline,
        settings: &Settings,
        metrics: Metrics,
        status: Status,
        listener: TcpListener,
    ) -> Self {
        let stop = CancellationToken::new();
        let sampler = Sampler {
            about: About::new(settings, now_ms()),
            metrics: metrics.clone(),
            status: status.clone(),
            warehouse: pipeline.warehouse(),
        };
        let (overview, sampler) = sampler.spawn(stop.clone());
        let retrier = pipeline.retrier();
        let served = Served { metrics, status, overview: overview.clone(), retrier };
        let server = tokio::spawn(web::serve(listener, served, stop.clone()));
        Self { overview, stop, sampler, server }
    }

    /// The latest snapshot, until the end.
    pub(super) fn overview(&self) -> watch::Receiver<Arc<Overview>> {
        self.overview.clone()
    }

    /// Runs the pipeline; a page that ends before it is an error too.
    pub(super) async fn run(&mut self, pipeline: Pipeline) -> anyhow::Result<()> {
        tokio::select! {
            ended = pipeline.run() => Ok(ended?),
            served = &mut self.server => {
                served.context("the web server")?.context("serve the page")?;
                anyhow::bail!("the web server ended by itself")
            }
        }
    }

    /// Shows the end and stops.
    pub(super) async fn close(self) -> Arc<Overview> {
        self.stop.cancel();
        let _sampled = self.sampler.await;
        if !self.server.is_finished() {
            let _answered = timeout(LAST_ANSWERS, self.server).await;
        }
        Arc::clone(&self.overview.borrow())
    }
}
