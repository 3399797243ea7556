//! Write a dabi transform in Rust: a struct in, a struct out, a plain function
//! between.
//!
//! ```
//! use dabi_sdk::prelude::*;
//!
//! /// The columns of the source table that the function looks at.
//! #[derive(SourceRow)]
//! #[source(table = "shop.orders")]
//! struct Order<'a> {
//!     status: &'a str,
//!     total: Decimal<12, 2>,
//!     placed_at: TimestampTz,
//! }
//!
//! /// One row per order. (This text becomes the comment of the table.)
//! #[derive(StarRow, Debug, PartialEq)]
//! #[star(table = "f_orders")]
//! struct FOrder<'a> {
//!     #[key]
//!     id: Passed<i64>,
//!     #[column(from = "placed_at")]
//!     ordered_at: Passed<TimestampTz>,
//!     #[column(low_cardinality)]
//!     status: &'a str,
//!     total: Decimal<12, 2>,
//!     /// yyyymmdd
//!     date_key: Option<i32>,
//! }
//!
//! #[dabi_sdk::transform]
//! fn orders(order: Order) -> Option<FOrder> {
//!     if order.status == "cancelled" {
//!         return None; // no star row; one that was there goes away
//!     }
//!     Some(FOrder {
//!         id: passed(),
//!         ordered_at: passed(),
//!         status: order.status,
//!         total: order.total,
//!         date_key: order.placed_at.date().key(),
//!     })
//! }
//!
//! let order = Order { status: "new", total: "9.90".parse()?, placed_at: TimestampTz::from_micros(0) };
//! assert_eq!(orders(order).unwrap().date_key, Some(19_700_101));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - The function is called for each row as it is now; updates, deletes and
//!   retries are dabi's. It must be pure: a module has no clock, no randomness,
//!   no files.
//! - A [`Passed`] field is filled by dabi from the source column of the same
//!   name (or `from = "…"`). It never enters the module, and need not stand in
//!   the source struct. A key that is passed through lets dabi delete rows
//!   without calling the function; prefer it.
//! - The function returns a star row, `Option` of one, or `Result` of either
//!   with a [`RowError`]: the row is set aside as a dead letter.
//! - `&str` and `&[u8]` fields borrow from the batch; `String` and `Vec<u8>`
//!   work too, at the cost of a copy each.
//! - Natively it is a plain function: unit-test it as one.
//!
//! Attributes: `#[source(table)]` and `#[star(table, order, partition, ttl)]`
//! on structs; on fields `#[column(name)]` of a source row, `#[key(from)]` and
//! `#[column(name, from, codec, low_cardinality, enum)]` of a star row. Doc
//! comments of a star row and its fields become comments in ClickHouse.
//!
//! Where Debezium sends JSON without a schema, some types cannot be told from
//! the text; `#[column(unit = "ms")]` (times as integers: `ms`, `us`, `ns`),
//! `#[column(decimal = "base64")]` (or `string`) and `#[column(bytes =
//! "base64")]` (or `hex`) say what the connector sends. They stand on the field
//! of the source row, or on the passed field where only that one asks for the
//! column.

// Inside this crate too, so that the macros can name it in its own tests.
extern crate self as dabi_sdk;

pub mod answer;
pub mod bindings;
mod data_type;
mod decimal;
pub mod declare;
mod json;
pub mod lookup;
mod passed;
pub mod read;
pub mod row;
mod temporal;
mod uuid;
pub mod value;
pub mod write;

pub use dabi_sdk_macros::{SourceRow, StarRow, transform};
pub use data_type::{DataType, Scalar};
pub use decimal::{Decimal, DecimalOverflow, Rounding};
pub use json::Json;
pub use passed::{Passed, VersionKey, passed};
pub use row::RowError;
pub use temporal::{Date, Interval, ParseError, Time, Timestamp, TimestampTz};
pub use uuid::Uuid;

/// What a transform needs in scope.
pub mod prelude {
    pub use crate::{
        Date, Decimal, Interval, Json, Passed, Rounding, RowError, SourceRow, StarRow, Time, Timestamp,
        TimestampTz, Uuid, VersionKey, passed,
    };
}

/// Exports a function as the transform of this module; `#[transform]` expands
/// to it.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($function:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl $crate::bindings::Guest for Component {
                fn describe() -> $crate::bindings::Spec {
                    $crate::row::describe($function, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
                }

                fn apply(
                    batch: $crate::bindings::Batch,
                ) -> Result<$crate::bindings::Applied, $crate::bindings::Failure> {
                    // SAFETY: the host of the contract has checked the text.
                    unsafe { $crate::row::apply($function, &batch) }
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
        // Natively nothing is exported; this only keeps the types checked.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() -> $crate::bindings::Spec =
            || $crate::row::describe($function, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    };
}
