//! `[warehouse]`.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// The value of `url` that stands for the embedded engine.
const EMBEDDED: &str = "embedded";

/// The `[warehouse]` table.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarehouseSettings {
    /// `http://host:8123`, `https://…`, or `embedded`.
    pub url: String,
    /// Created if it is not there.
    #[serde(default = "default_database")]
    pub database: String,
    /// ClickHouse user.
    #[serde(default = "default_user")]
    pub user: String,
    /// Its password; better through `DABI_WAREHOUSE_PASSWORD`.
    #[serde(default)]
    pub password: String,
    /// Where the embedded engine keeps its data.
    #[serde(default = "default_embedded_path")]
    pub embedded_path: PathBuf,
}

fn default_database() -> String {
    "dabi".to_owned()
}

fn default_user() -> String {
    "default".to_owned()
}

fn default_embedded_path() -> PathBuf {
    PathBuf::from(".dabi/clickhouse")
}

impl WarehouseSettings {
    /// Is it the embedded engine?
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.url == EMBEDDED
    }
}

/// Without the password.
impl fmt::Debug for WarehouseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, database, user, password: _, embedded_path } = self;
        f.debug_struct("WarehouseSettings")
            .field("url", url)
            .field("database", database)
            .field("user", user)
            .field("embedded_path", embedded_path)
            .finish_non_exhaustive()
    }
}
