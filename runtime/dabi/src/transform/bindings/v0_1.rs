//! `dabi:transform@0.1.0`.

pub(in crate::transform) mod lift;
pub(in crate::transform) mod lower;
pub(in crate::transform) mod spec;

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        world: "transform",
        // Slices of Arrow buffers go in without a copy on the host.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use generated::dabi::transform::types;
pub(in crate::transform) use generated::{Transform, TransformPre};
pub(in crate::transform) use types::{
    Applied as RawApplied, ColumnResult as RawColumn, Spec as DeclaredSpec,
};
