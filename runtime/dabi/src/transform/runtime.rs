//! The engine that all modules share, and the clock of their deadlines.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Config, Engine, OptLevel};

use super::cache::CompileCache;
use super::functions::Functions;

/// How often running modules look at their deadline.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Limits of modules. Plain data; [`Settings::default`] fits most.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder for compiled code, which only dabi may write; `None`: compile
    /// anew at each start.
    pub cache_dir: Option<PathBuf>,
    /// The longest that one call may take, in CPU time.
    pub call_time_max: Duration,
    /// The most memory that one instance may have, in bytes.
    pub memory_bytes_max: usize,
    /// How many rows a module may fail on in one epoch.
    pub poison_rows_max: u32,
    /// The longest that finding those rows may take in one epoch, in CPU time.
    pub retry_time_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_dir: None,
            call_time_max: Duration::from_secs(5),
            memory_bytes_max: 256 << 20,
            poison_rows_max: 100,
            retry_time_max: Duration::from_secs(10),
        }
    }
}

/// Why the engine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// wasmtime refuses the configuration: this machine lacks something.
    #[error("start the WASM engine: {0:#}; dabi needs a 64-bit x86 or ARM processor")]
    Engine(wasmtime::Error),
    /// No thread for the clock.
    #[error("start the thread that times transforms: {0}; raise the limit on threads")]
    Ticker(std::io::Error),
}

/// The engine, its limits and its cache; cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    settings: Settings,
    cache: Option<CompileCache>,
    _ticker: Ticker,
}

impl Runtime {
    /// Starts the engine.
    ///
    /// # Errors
    /// The machine cannot run it.
    pub fn new(settings: Settings) -> Result<Self, RuntimeError> {
        let engine = config().and_then(|config| Engine::new(&config)).map_err(RuntimeError::Engine)?;
        let ticker = Ticker::start(engine.clone()).map_err(RuntimeError::Ticker)?;
        let cache = settings.cache_dir.clone().map(CompileCache::new);
        Ok(Self { shared: Arc::new(Shared { engine, settings, cache, _ticker: ticker }) })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(super) fn cache(&self) -> Option<&CompileCache> {
        self.shared.cache.as_ref()
    }
}

fn config() -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        // Determinism is correctness: the same rows must give the same bits on
        // every machine, or verification and retries would differ.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // The contract is synchronous; this saves the per-store structures.
        .concurrency_support(false)
        .enable_incremental_compilation(Arc::new(Functions::default()))?;
    Ok(config)
}

/// CPU time that this thread has used.
pub(super) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The thread that moves the engine's clock on.
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: Engine) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("transform-clock".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, and waits for nothing but the channel.
            let _ = thread.join();
        }
    }
}
