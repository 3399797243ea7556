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
//! - A [`Passed`] field is filled by dabi, from the source column of the same
//!   name (or `from = "…"`). It never enters the module, and need not stand in
//!   the source struct. A key that is passed through lets dabi delete rows
//!   without calling the function; prefer it.
//! - The function returns a star row, `Option`, `Vec` or an array of one, a tuple
//!   of these for several star tables, or `Result` of any of them with a
//!   [`RowError`]: the row is set aside as a dead letter.
//! - `&str` and `&[u8]` fields borrow from the batch; `String` and `Vec<u8>`
//!   work too, at the cost of a copy each.
//! - Natively it is a plain function: unit-test it as one.
//!
//! # Looking rows up
//!
//! A row of another table is a field of the row that needs it. dabi joins before
//! the call and calls again when the other row comes, changes or goes:
//!
//! ```
//! use dabi_sdk::prelude::*;
//!
//! #[derive(SourceRow)]
//! #[source(table = "public.users", key = "id")]
//! struct User<'a> {
//!     name: &'a str,
//! }
//!
//! #[derive(SourceRow)]
//! #[source(table = "public.orders")]
//! struct Order<'a> {
//!     order_date: TimestampTz,
//!     #[lookup(on = "user_id")]            // a column of orders; it need not be a field
//!     user: User<'a>,
//! }
//!
//! #[derive(SourceRow)]
//! #[source(table = "public.order_products")]
//! struct Line<'a> {
//!     add_to_cart_order: i32,
//!     #[lookup(on = "order_id")]
//!     order: Option<Order<'a>>,            // None where there is no such order
//! }
//!
//! #[derive(StarRow)]
//! #[star(table = "f_order_lines")]
//! struct FOrderLine<'a> {
//!     #[key]
//!     order_id: Passed<i64>,
//!     #[key]
//!     product_id: Passed<i64>,
//!     #[column(from = "order.order_date")] // passed on from the looked-up row
//!     ordered_at: Passed<Option<TimestampTz>>,
//!     user_name: Option<&'a str>,
//! }
//!
//! #[dabi_sdk::transform]
//! fn order_lines<'a>(line: Line<'a>) -> FOrderLine<'a> {
//!     FOrderLine {
//!         order_id: passed(),
//!         product_id: passed(),
//!         ordered_at: passed(),
//!         user_name: line.order.map(|order| order.user.name),
//!     }
//! }
//! ```
//!
//! - `on` names columns of the row's own table, one for each of the other
//!   table's primary key (`on = "shop_id, product_id"`). Where that has other
//!   names, the other struct says so: `#[source(key = "…")]`.
//! - `Option` is `None` where no row is found; to tell, its row reads one column
//!   that is never null. Without it, a source row waits: it has no star row until
//!   the other is there, or with `missing = "reject"` it is a dead letter until
//!   then.
//! - A looked-up row is always the row as it is now. For how it was, refer to a
//!   version.
//! - A struct without fields (`struct Aisle;`) is enough to pass columns on.
//!
//! # Keeping history
//!
//! ```
//! use dabi_sdk::prelude::*;
//!
//! # #[derive(SourceRow)]
//! # #[source(table = "public.users")]
//! # struct User;
//! /// Every version of every user.
//! #[derive(StarRow)]
//! #[star(table = "dim_users", kind = "scd2")]
//! struct DimUser {
//!     #[key]
//!     user_id: Passed<i64>,
//!     name: Passed<String>,
//! }
//!
//! # #[derive(SourceRow)]
//! # #[source(table = "public.orders")]
//! # struct Order;
//! #[derive(StarRow)]
//! #[star(table = "f_orders")]
//! struct FOrder {
//!     #[key]
//!     order_id: Passed<i64>,
//!     user_id: Passed<i64>,
//!     order_date: Passed<TimestampTz>,
//!     /// The user as they were when they ordered.
//!     #[as_of(dimension = "dim_users", key = "user_id", at = "order_date")]
//!     user_key: Passed<VersionKey>,
//! }
//! # #[dabi_sdk::transform]
//! # fn users(_: User) -> DimUser {
//! #     DimUser { user_id: passed(), name: passed() }
//! # }
//! # #[dabi_sdk::transform]
//! # fn orders(_: Order) -> FOrder {
//! #     FOrder { order_id: passed(), user_id: passed(), order_date: passed(), user_key: passed() }
//! # }
//! ```
//!
//! - `kind = "latest"` (the default) keeps the current row per key; `"scd2"` one
//!   row per version of a source row, with `version_key`, `valid_from`,
//!   `valid_to` and `is_current` added by dabi; `"append"` one row per change,
//!   with `change_key` added (ask for `_op`, `_ts` and `_before.<column>` to say
//!   what changed). An append table keeps inserts, updates and deletes, or what
//!   `ops` lists (`ops = "c, u, d, r"` with reads of a snapshot). The function is
//!   called with a deleted row as it was: without `REPLICA IDENTITY FULL` only its
//!   key is known, and the rest is null, 0 or empty. All tables of such a
//!   transform are append, and nothing is looked up; another transform may keep
//!   the current rows of the same source.
//! - A change of a *tracked* column begins a version. These are the columns with
//!   `#[column(tracked)]`, or where none has it, all but the key and those passed
//!   on from a lookup. What depends on a lookup shows the current value on all
//!   versions, and cannot be tracked.
//! - `#[as_of]` names columns of the star row itself. `Passed<Option<VersionKey>>`
//!   is null where no version is valid then; without `Option`, the row waits or
//!   is rejected, as with a lookup.
//! - `dabi.calendar` is a source table with one row per day, for a `dim_date`.
//!
//! # Attributes
//!
//! `#[source(table, key)]` and `#[star(table, kind, order, partition, ttl, ops)]` on
//! structs; on fields `#[column(name)]` and `#[lookup(on, missing)]` of a source
//! row, `#[key(from)]`, `#[column(name, from, tracked, codec, low_cardinality,
//! enum)]` and `#[as_of(dimension, key, at, missing)]` of a star row. Doc
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
