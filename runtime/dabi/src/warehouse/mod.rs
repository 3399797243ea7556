//! The warehouse: ClickHouse over HTTP.
