//! The name of a source table.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A source table, as `source.schema` and `source.table` name it: topic names
/// are not used, because Debezium replaces characters in them and two tables
/// can collide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceTable {
    schema: Arc<str>,
    table: Arc<str>,
}

impl SourceTable {
    /// The table `schema.table`.
    pub fn new(schema: impl Into<Arc<str>>, table: impl Into<Arc<str>>) -> Self {
        Self { schema: schema.into(), table: table.into() }
    }

    /// Schema name (for MySQL: the database).
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Table name.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }
}

impl fmt::Display for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// A table name without the dot between schema and table.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a table name; write it as schema.table, for example shop.orders")]
pub struct InvalidTableName(String);

impl FromStr for SourceTable {
    type Err = InvalidTableName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.split_once('.') {
            Some((schema, table)) if !schema.is_empty() && !table.is_empty() => Ok(Self::new(schema, table)),
            _ => Err(InvalidTableName(name.to_owned())),
        }
    }
}

impl TryFrom<String> for SourceTable {
    type Error = InvalidTableName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<SourceTable> for String {
    fn from(table: SourceTable) -> Self {
        table.to_string()
    }
}
