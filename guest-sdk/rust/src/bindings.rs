//! What `wit-bindgen` makes of `wit/`: the raw world, usable without the rest
//! of this crate.
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
#![allow(unreachable_pub, clippy::allow_attributes, reason = "generated code")]

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    world: "transform",
    pub_export_macro: true,
    default_bindings_module: "dabi_sdk::bindings",
});

pub use dabi::transform::types;
