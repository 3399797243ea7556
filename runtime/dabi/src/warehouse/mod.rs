//! The warehouse: ClickHouse over HTTP.

pub mod embedded;
