//! Declared types as ClickHouse types, and the Arrow types that carry them there.

use std::collections::HashSet;
use std::fmt;

use arrow::datatypes::{DataType as Arrow, Field, TimeUnit};

use crate::data_type::DataType;
use crate::spec::Options;

/// A column's type in ClickHouse.
///
/// | declared | ClickHouse |
/// |---|---|
/// | boolean | `Bool` |
/// | int16, int32, int64, uint64, float32, float64 | `Int16` … `Float64` |
/// | decimal(p,s) | `Decimal(p, s)` |
/// | text | `String`; with option `low-cardinality` `LowCardinality(String)`, with `enum` `Enum16` |
/// | bytes, json | `String` |
/// | date | `Date32`, 1900-01-01 to 2299-12-31 |
/// | time | `Int64`, microseconds since midnight (ClickHouse's `Time64` is still experimental) |
/// | timestamp | `DateTime64(6)` written and shown as UTC, 1900 to 2299 |
/// | timestamptz | `DateTime64(6, 'UTC')`, 1900 to 2299 |
/// | uuid | `UUID` |
/// | interval | `Int64`, microseconds |
/// | list<t> | `Array(Nullable(t))` |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickHouseType {
    sql: String,
    insert_type: Arrow,
    /// In their order.
    labels: Option<Vec<String>>,
}

impl ClickHouseType {
    /// The type of a column with these options.
    #[must_use]
    pub fn of(data_type: &DataType, nullable: bool, options: &Options) -> Self {
        let insert_type = insert_type(data_type);
        let labels = options.get("enum").filter(|_| *data_type == DataType::Text);
        let sql = labels.map_or_else(|| scalar(data_type), |labels| enum_type(labels));
        // An Array cannot be Nullable in ClickHouse: a null list is an empty one.
        let sql = match data_type {
            DataType::List(item) => format!("Array(Nullable({}))", scalar(item)),
            _ if nullable => format!("Nullable({sql})"),
            _ => sql,
        };
        let low_cardinality = options.get("low-cardinality").is_some_and(|value| value != "false");
        let sql = if low_cardinality && *data_type == DataType::Text {
            format!("LowCardinality({sql})")
        } else {
            sql
        };
        let labels = labels.map(|labels| labels.split(',').map(|label| label.trim().to_owned()).collect());
        Self { sql, insert_type, labels }
    }

    /// The only texts that it holds, if it is an enum.
    pub(super) fn labels(&self) -> Option<HashSet<&str>> {
        Some(self.labels.as_ref()?.iter().map(String::as_str).collect())
    }

    /// One of them.
    pub(super) fn first_label(&self) -> Option<&str> {
        self.labels.as_ref()?.first().map(String::as_str)
    }

    /// The Arrow type that an insert sends.
    #[must_use]
    pub fn insert_type(&self) -> Arrow {
        self.insert_type.clone()
    }
}

impl fmt::Display for ClickHouseType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql)
    }
}

fn scalar(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "Bool",
        DataType::Int16 => "Int16",
        DataType::Int32 => "Int32",
        DataType::Int64 | DataType::Time | DataType::Interval => "Int64",
        DataType::Uint64 => "UInt64",
        DataType::Float32 => "Float32",
        DataType::Float64 => "Float64",
        DataType::Decimal { precision, scale } => return format!("Decimal({precision}, {scale})"),
        DataType::Text | DataType::Bytes | DataType::Json => "String",
        DataType::Date => "Date32",
        // Without a zone ClickHouse would read and show it in the server's.
        DataType::Timestamp | DataType::TimestampTz => "DateTime64(6, 'UTC')",
        DataType::Uuid => "UUID",
        DataType::List(item) => return format!("Array(Nullable({}))", scalar(item)),
    };
    name.to_owned()
}

/// `Enum16` of the labels `a,b,c`, numbered from 1 in their order.
fn enum_type(labels: &str) -> String {
    let quoted =
        |(number, label): (usize, &str)| format!("{} = {}", super::ddl::text(label.trim()), number + 1);
    let labels: Vec<String> = labels.split(',').enumerate().map(quoted).collect();
    format!("Enum16({})", labels.join(", "))
}

fn insert_type(data_type: &DataType) -> Arrow {
    match data_type {
        // ClickHouse reads neither the narrow decimal nor times of day.
        DataType::Decimal { precision, scale } =>
        {
            #[expect(clippy::cast_possible_wrap, reason = "scale is at most 38")]
            Arrow::Decimal128(*precision, *scale as i8)
        }
        DataType::Time | DataType::Interval => Arrow::Int64,
        DataType::Timestamp => Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::List(item) => Arrow::List(Field::new_list_field(insert_type(item), true).into()),
        other => other.arrow(),
    }
}
