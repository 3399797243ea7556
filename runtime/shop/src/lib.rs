//! A small web shop that never closes: six tables that change as those of a
//! real one do.
//!
//! Owns the shop's rows (in memory), what happens to them (customers, orders,
//! renamed products, cancellations, truncates), how that looks as change events
//! of Debezium's PostgreSQL connector ([`Envelopes`]) and as SQL ([`sql`]), and
//! what the star must hold afterwards ([`Shop::expected`], [`Dimension`]). Does not own a
//! clock, a Kafka or a database: time is an argument, and whoever holds a
//! producer or a connection sends what comes out. The binary `dabi-shop` does so
//! for PostgreSQL.
//!
//! Invariant: the same settings and the same times give the same transactions;
//! and the number of rows stays bounded however long the shop is open.
//!
//! ```
//! use dabi_shop::{Envelopes, HISTORY, Micros, Settings, Shop, Target, Wire};
//!
//! let mut shop = Shop::new(1, Settings { history: HISTORY, ..Settings::default() });
//! let envelopes = Envelopes::new("shop", Wire::default());
//! let mut now = Micros(1_764_000_000_000_000);
//! let mut records = envelopes.records(&shop.open(now));
//! for _ in 0..10 {
//!     now.0 += 4_000;
//!     records.extend(envelopes.records(&shop.transact(now)));
//! }
//! let rows = shop.expected(Target::FOrders);
//! assert!(!rows.is_empty());
//! ```

mod catalogue;
mod envelope;
mod expected;
mod history;
mod row;
mod shop;
pub mod sql;
mod table;
mod tables;
mod transaction;
mod versions;
mod workload;

pub use envelope::{Envelopes, Record, UNAVAILABLE, Wire};
pub use expected::{CALENDAR, HISTORY, Target};
pub use history::{History, Version};
pub use row::{
    Aisle, AisleId, Department, DepartmentId, Order, OrderId, OrderProduct, Product, ProductId, Row, User,
    UserId, Value,
};
pub use shop::{Settings, Shop};
pub use table::{Column, ColumnType, Identity, Table};
pub use tables::{Ids, Tables};
pub use transaction::{Change, Lsn, Micros, Transaction, TransactionId};
pub use versions::{Dimension, DimensionVersion};
