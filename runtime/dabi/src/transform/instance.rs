//! One running module; if it is WASM, in a store of its own.
//!
//! Invariant: after a failure the instance is spent, because wasmtime then
//! refuses the whole store; the caller drops it and makes another.

use std::time::Duration;

use arrow::array::ArrayRef;
use dabi_core::spec::Spec;
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline};

use super::answer::{Applied, check_answer};
use super::bindings::v0_1::{self, Transform, TransformPre};
use super::module::Module;
use super::program::{Program, Running};
use super::runtime::{Runtime, TICK, thread_cpu_time};

/// The most that a declaration may take when it is copied out of a module.
const SPEC_BYTES_MAX: usize = 4 << 20;
/// What an answer may take when it is copied out of a module: a floor, so much
/// per row, and so much per byte that went in.
const ANSWER_BYTES_MIN: usize = 4 << 20;
const ANSWER_BYTES_PER_ROW: usize = 4 << 10;
const ANSWER_BYTES_PER_INPUT_BYTE: usize = 8;

/// Core modules inside of one component: Python's has 38.
const CORE_INSTANCES_MAX: usize = 256;
/// Functions that a table may name: a big module has some ten thousand.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;

/// A batch of source rows, read as the declared types.
#[derive(Clone, Debug)]
pub struct InputBatch {
    /// How many rows.
    pub rows: usize,
    /// One array per `spec.columns` and then per column of each lookup, in the
    /// form of `DataType::arrow`, those with `read: false` too.
    pub columns: Vec<ArrayRef>,
}

impl InputBatch {
    /// `length` rows from `offset` on, sharing the memory.
    ///
    /// # Panics
    /// The rows are not all in the batch.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        let columns = self.columns.iter().map(|column| column.slice(offset, length)).collect();
        Self { rows: length, columns }
    }
}

/// Why a call gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyFailure {
    /// The module trapped: a panic, an index out of bounds, a call of an import.
    #[error("it trapped: {cause}; run the same row through a native test to see why")]
    Trap {
        /// What wasmtime says.
        cause: String,
    },
    /// It took too long.
    #[error("it did not end within {limit:?} of CPU time")]
    Timeout {
        /// How long it had.
        limit: Duration,
    },
    /// It asked for more memory than it may have, and then trapped.
    #[error("it needs more than {limit_bytes} bytes of memory")]
    Memory {
        /// How much it may have.
        limit_bytes: usize,
    },
    /// It said itself that it failed.
    #[error("it failed: {message}")]
    Guest {
        /// Its code.
        code: String,
        /// Its words.
        message: String,
    },
    /// Its answer is not what it declared, or cannot be read.
    #[error("its answer is not usable: {cause}")]
    Answer {
        /// What is wrong.
        cause: String,
    },
    /// The batch is not what the module declared: a fault of dabi, not of the
    /// module.
    #[error("the batch does not fit the declaration: {cause}; please report this as a fault of dabi")]
    Input {
        /// What is wrong.
        cause: String,
    },
}

impl ApplyFailure {
    /// Short and stable, to count by.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Trap { .. } => "trap",
            Self::Timeout { .. } => "timeout",
            Self::Memory { .. } => "memory",
            Self::Guest { code, .. } => code,
            Self::Answer { .. } => "bad-answer",
            Self::Input { .. } => "bad-input",
        }
    }
}

/// Limits of one store, and how the present call stands to them.
pub(super) struct WasmStore {
    memory_bytes_max: usize,
    /// of all memories of the store
    memory_bytes: usize,
    memory_refused: bool,
    /// CPU time of the thread at which the present call ends.
    deadline: Duration,
}

impl WasmStore {
    fn new(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_max, memory_bytes: 0, memory_refused: false, deadline: Duration::ZERO }
    }
}

impl ResourceLimiter for WasmStore {
    // Refused, not trapped: a language runtime may cope with it.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.memory_bytes_max {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory_bytes = bytes;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        CORE_INSTANCES_MAX
    }
}

/// A running module.
pub struct Instance {
    module: Module,
    running: Box<dyn Running>,
}

impl Instance {
    pub(super) fn new(module: Module) -> Result<Self, ApplyFailure> {
        let running = module.program().start(module.limits().call_time_max)?;
        Ok(Self { module, running })
    }

    /// Applies the transform to a batch.
    ///
    /// # Errors
    /// There is no answer; see [`ApplyFailure`]. The instance is then spent.
    pub fn apply(&mut self, input: &InputBatch) -> Result<Applied, ApplyFailure> {
        let limit = self.module.limits().call_time_max;
        self.apply_within(input, limit)
    }

    pub(super) fn apply_within(
        &mut self,
        input: &InputBatch,
        limit: Duration,
    ) -> Result<Applied, ApplyFailure> {
        self.running.apply(self.module.spec(), input, limit)
    }
}

/// A program of WASM.
pub(super) struct Wasm {
    runtime: Runtime,
    pre: TransformPre<WasmStore>,
}

impl Wasm {
    pub(super) fn new(runtime: Runtime, pre: TransformPre<WasmStore>) -> Self {
        Self { runtime, pre }
    }
}

impl Program for Wasm {
    fn start(&self, limit: Duration) -> Result<Box<dyn Running>, ApplyFailure> {
        let (store, transform) = start(&self.runtime, &self.pre, limit)?;
        Ok(Box::new(RunningWasm { store, transform }))
    }
}

struct RunningWasm {
    store: Store<WasmStore>,
    transform: Transform,
}

impl Running for RunningWasm {
    fn apply(&mut self, spec: &Spec, input: &InputBatch, limit: Duration) -> Result<Applied, ApplyFailure> {
        let lowered = v0_1::lower::Batch::new(spec, input).map_err(|cause| ApplyFailure::Input { cause })?;
        let answer_bytes_max = ANSWER_BYTES_MIN
            .saturating_add(input.rows.saturating_mul(ANSWER_BYTES_PER_ROW))
            .saturating_add(lowered.bytes().saturating_mul(ANSWER_BYTES_PER_INPUT_BYTE));
        self.store.set_hostcall_fuel(answer_bytes_max);
        let transform = &self.transform;
        let answer = call(&mut self.store, limit, |store| {
            lowered.with_params(|batch| transform.call_apply(store, batch))
        })?
        .map_err(|failure| ApplyFailure::Guest { code: failure.code, message: failure.message })?;
        check_answer(spec, input, answer).map_err(|cause| ApplyFailure::Answer { cause })
    }
}

/// Starts a module only to ask what it declares.
pub(super) fn describe(
    runtime: &Runtime,
    pre: &TransformPre<WasmStore>,
) -> Result<v0_1::DeclaredSpec, ApplyFailure> {
    let limit = runtime.settings().call_time_max;
    let (mut store, transform) = start(runtime, pre, limit)?;
    store.set_hostcall_fuel(SPEC_BYTES_MAX);
    call(&mut store, limit, |store| transform.call_describe(store))
}

fn start(
    runtime: &Runtime,
    pre: &TransformPre<WasmStore>,
    limit: Duration,
) -> Result<(Store<WasmStore>, Transform), ApplyFailure> {
    let memory_bytes_max = runtime.settings().memory_bytes_max;
    let mut store = Store::new(runtime.engine(), WasmStore::new(memory_bytes_max));
    store.limiter(|state| state);
    store.epoch_deadline_callback(|store| match store.data().deadline.saturating_sub(thread_cpu_time()) {
        Duration::ZERO => Ok(UpdateDeadline::Interrupt),
        left => Ok(UpdateDeadline::Continue(ticks(left))),
    });
    let transform = call(&mut store, limit, |store| pre.instantiate(store))?;
    Ok((store, transform))
}

/// Runs code of the module under its deadline and tells the kinds of failure
/// apart. The deadline counts CPU time: that the machine is busy with something
/// else is not the module's fault.
fn call<T>(
    store: &mut Store<WasmStore>,
    limit: Duration,
    code: impl FnOnce(&mut Store<WasmStore>) -> wasmtime::Result<T>,
) -> Result<T, ApplyFailure> {
    store.data_mut().deadline = thread_cpu_time().saturating_add(limit);
    store.data_mut().memory_refused = false;
    store.set_epoch_deadline(ticks(limit));
    code(store).map_err(|error| failure(&error, store.data(), limit))
}

/// Ticks of the engine's clock that are over after `time` at the earliest: one
/// more than fit, because the present one is already running.
fn ticks(time: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos()).saturating_add(1);
    u64::try_from(ticks).unwrap_or(u64::MAX / 2)
}

fn failure(error: &wasmtime::Error, state: &WasmStore, limit: Duration) -> ApplyFailure {
    if state.memory_refused {
        return ApplyFailure::Memory { limit_bytes: state.memory_bytes_max };
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return match trap {
            Trap::Interrupt => ApplyFailure::Timeout { limit },
            trap => ApplyFailure::Trap { cause: trap.to_string() },
        };
    }
    // Not a trap of the module's own code: an import that it called, or an
    // answer that points nowhere or is too big to copy. wasmtime gives no kinds.
    let cause = error.root_cause().to_string();
    if cause.starts_with("unknown import") {
        ApplyFailure::Trap { cause }
    } else {
        ApplyFailure::Answer { cause }
    }
}
