//! From the bytes of a .wasm file to a transform that can be instantiated.

use std::fmt;
use std::sync::Arc;

use dabi_core::spec::{InvalidSpec, Spec};
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, Linker};

use super::bindings::v0_1::{self, TransformPre};
use super::instance::{ApplyFailure, Instance, Wasm, WasmStore};
use super::program::Program;
use super::runtime::{Runtime, Settings};

/// The first eight bytes of a core module and of a component.
const CORE_PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT_PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

/// What a module is known by: the SHA-256 of its file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleHash([u8; 32]);

impl ModuleHash {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Its first digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        let mut digits = self.to_string();
        digits.truncate(7);
        digits
    }
}

impl fmt::Display for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a file is not a transform. Each message names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// Not WASM at all.
    #[error(
        "{name} is not a WASM file (it does not begin with \\0asm); build it with `dabi build`, or for the \
         target wasm32-unknown-unknown"
    )]
    NotWasm {
        /// The file.
        name: String,
    },
    /// A core module without the contract in it.
    #[error(
        "{name} cannot be made a component: {cause}; export a transform from it with one of dabi's SDKs, or embed \
         the world of wit/ (`wasm-tools component embed`)"
    )]
    NotTransform {
        /// The file.
        name: String,
        /// What `wit-component` says.
        cause: String,
    },
    /// WASM that does not compile.
    #[error("{name} does not compile: {cause}; build it again, with a toolchain for WASM 2.0 or 3.0")]
    Compile {
        /// The file.
        name: String,
        /// What wasmtime says.
        cause: String,
    },
    /// A component with other exports.
    #[error(
        "{name} does not export the world dabi:transform@0.1.0: {cause}; export a transform from it with one of \
         dabi's SDKs, or build it against the wit/ of this version"
    )]
    OtherWorld {
        /// The file.
        name: String,
        /// What wasmtime says.
        cause: String,
    },
    /// It could not be started, or `describe` failed.
    #[error("{name}: describe() failed: {cause}; it must answer without imports, within {limits}")]
    Describe {
        /// The file.
        name: String,
        /// What happened.
        cause: String,
        /// Time and memory that it had.
        limits: String,
    },
    /// `describe` says something that cannot be.
    #[error("{name}: its declaration is not usable: {cause}")]
    Declaration {
        /// The file.
        name: String,
        /// The first thing that is wrong.
        cause: String,
    },
    /// `describe` declares something that makes no sense.
    #[error("{name}: its declaration is not usable: {cause}")]
    Invalid {
        /// The file.
        name: String,
        /// All faults.
        cause: InvalidSpec,
    },
}

/// A compiled transform with its declaration; cheap to clone.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

struct Inner {
    program: Box<dyn Program>,
    spec: Spec,
    hash: ModuleHash,
    limits: Settings,
}

impl Module {
    /// Compiles a core module or component, starts it once and reads its
    /// declaration. `name` is the file, for messages. Takes up to seconds for
    /// modules with a language runtime inside: call it off the hot path.
    ///
    /// # Errors
    /// See [`ModuleError`].
    pub fn load(runtime: &Runtime, name: &str, bytes: &[u8]) -> Result<Self, ModuleError> {
        let encoded;
        let component = if bytes.starts_with(COMPONENT_PREAMBLE) {
            bytes
        } else if bytes.starts_with(CORE_PREAMBLE) {
            encoded = encode(runtime, bytes).map_err(|cause| ModuleError::NotTransform {
                name: name.into(),
                cause: format!("{cause:#}"),
            })?;
            &encoded
        } else {
            return Err(ModuleError::NotWasm { name: name.into() });
        };
        let compiled = compile(runtime, name, component)
            .map_err(|cause| ModuleError::Compile { name: name.into(), cause: format!("{cause:#}") })?;
        let pre = link(runtime, &compiled)
            .map_err(|cause| ModuleError::OtherWorld { name: name.into(), cause: format!("{cause:#}") })?;
        let spec = describe(runtime, name, &pre)?;
        let limits = runtime.settings().clone();
        let program = Box::new(Wasm::new(runtime.clone(), pre));
        Ok(Self::running(program, spec, ModuleHash::of(bytes), limits))
    }

    /// A transform that declares `spec`, is known by `hash` and runs as `program`.
    #[must_use]
    pub fn running(program: Box<dyn Program>, spec: Spec, hash: ModuleHash, limits: Settings) -> Self {
        Self { inner: Arc::new(Inner { program, spec, hash, limits }) }
    }

    /// What it declares.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.inner.spec
    }

    /// What it is known by.
    #[must_use]
    pub fn hash(&self) -> ModuleHash {
        self.inner.hash
    }

    /// A fresh instance with a memory of its own. Microseconds for a Rust or C
    /// module.
    ///
    /// # Errors
    /// The module's start code trapped or needs more than its limits.
    pub fn instantiate(&self) -> Result<Instance, ApplyFailure> {
        Instance::new(self.clone())
    }

    pub(super) fn limits(&self) -> &Settings {
        &self.inner.limits
    }

    pub(super) fn program(&self) -> &dyn Program {
        self.inner.program.as_ref()
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("name", &self.spec().name).field("hash", &self.hash()).finish()
    }
}

fn encode(runtime: &Runtime, core: &[u8]) -> anyhow::Result<Vec<u8>> {
    // Of a file that is cut short `wit-component` makes a panic.
    wasmtime::Module::validate(runtime.engine(), core).map_err(|cause| anyhow::anyhow!("{cause:#}"))?;
    wit_component::ComponentEncoder::default().module(core)?.validate(true).encode()
}

fn compile(runtime: &Runtime, name: &str, component: &[u8]) -> wasmtime::Result<Component> {
    let engine = runtime.engine();
    let Some(cache) = runtime.cache() else { return Component::new(engine, component) };
    if let Some(compiled) = cache.get(engine, component) {
        return Ok(compiled);
    }
    let compiled = Component::new(engine, component)?;
    if let Err(error) = cache.put(engine, component, &compiled) {
        tracing::warn!(module = name, %error, "keep compiled code: it will be compiled again at the next start");
    }
    Ok(compiled)
}

/// Every import becomes a trap: a module that calls one fails visibly, one that
/// only names some (language runtimes do) works.
fn link(runtime: &Runtime, component: &Component) -> wasmtime::Result<TransformPre<WasmStore>> {
    let mut linker = Linker::new(runtime.engine());
    linker.define_unknown_imports_as_traps(component)?;
    TransformPre::new(linker.instantiate_pre(component)?)
}

fn describe(runtime: &Runtime, name: &str, pre: &TransformPre<WasmStore>) -> Result<Spec, ModuleError> {
    let settings = runtime.settings();
    let answer = super::instance::describe(runtime, pre).map_err(|cause| ModuleError::Describe {
        name: name.into(),
        cause: cause.to_string(),
        limits: format!("{:?} and {} MiB", settings.call_time_max, settings.memory_bytes_max >> 20),
    })?;
    let spec = v0_1::spec::declared(answer)
        .map_err(|cause| ModuleError::Declaration { name: name.into(), cause: cause.to_string() })?;
    spec.validate().map_err(|cause| ModuleError::Invalid { name: name.into(), cause })?;
    Ok(spec)
}
