//! WASM transforms: compile, describe, apply.
