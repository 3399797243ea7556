//! What a declaration says about values whose type the wire does not give, and
//! what to say to an author whose declaration contradicts the wire.

use arrow::datatypes::{DataType as Arrow, TimeUnit};

use super::sent::Source;
use crate::data_type::DataType;
use crate::spec::InputColumn;

/// What text holds that is declared as a decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DecimalText {
    /// whichever of the two it can be, refused if both
    #[default]
    Either,
    /// `decimal.handling.mode=precise`: base64 of the unscaled value
    Base64,
    /// `decimal.handling.mode=string`
    Number,
}

/// What text holds that is declared as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BytesText {
    Base64,
    Hex,
}

/// The options of an input column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hints {
    pub(super) unit: TimeUnit,
    pub(super) decimal: DecimalText,
    pub(super) bytes: Option<BytesText>,
}

impl Default for Hints {
    fn default() -> Self {
        Self { unit: TimeUnit::Microsecond, decimal: DecimalText::default(), bytes: None }
    }
}

impl Hints {
    /// `Spec::validate` has refused values that are not listed here.
    pub(super) fn of(column: &InputColumn) -> Self {
        let option = |name| column.options.get(name).map(String::as_str);
        Self {
            unit: match option("unit") {
                Some("ms") => TimeUnit::Millisecond,
                Some("ns") => TimeUnit::Nanosecond,
                _ => TimeUnit::Microsecond,
            },
            decimal: match option("decimal") {
                Some("base64") => DecimalText::Base64,
                Some("string") => DecimalText::Number,
                _ => DecimalText::Either,
            },
            bytes: match option("bytes") {
                Some("base64") => Some(BytesText::Base64),
                Some("hex") => Some(BytesText::Hex),
                _ => None,
            },
        }
    }
}

/// What the wire has, for a message.
pub(super) fn wire_name(source: &Source<'_>) -> String {
    let arrow = source.array.data_type();
    source.name.map_or_else(|| arrow.to_string(), |name| format!("{name} ({arrow})"))
}

/// What to do about a column that cannot be read as `declared`.
pub(super) fn remedy(source: &Source<'_>, declared: &DataType) -> String {
    let Some(natural) = natural(source.array.data_type()) else {
        return "declare it as text".into();
    };
    match (natural, declared) {
        (DataType::Float32 | DataType::Float64, DataType::Decimal { .. }) => {
            "set decimal.handling.mode=precise in the connector, or declare it as float64".into()
        }
        (DataType::Text, DataType::Bytes) => {
            "declare it as text, or set the input column's option bytes to the connector's \
             binary.handling.mode (base64 or hex)"
                .into()
        }
        (natural, _) => format!("declare it as {natural} or text"),
    }
}

fn natural(arrow: &Arrow) -> Option<DataType> {
    Some(match arrow {
        Arrow::Boolean => DataType::Boolean,
        Arrow::Int16 => DataType::Int16,
        Arrow::Int32 => DataType::Int32,
        Arrow::Int64 => DataType::Int64,
        Arrow::Float32 => DataType::Float32,
        Arrow::Float64 => DataType::Float64,
        Arrow::Decimal128(precision, scale) | Arrow::Decimal256(precision, scale) => DataType::Decimal {
            precision: (*precision).min(DataType::DECIMAL_PRECISION_MAX),
            scale: u8::try_from(*scale).unwrap_or_default(),
        },
        Arrow::Utf8 => DataType::Text,
        Arrow::Binary => DataType::Bytes,
        Arrow::Date32 => DataType::Date,
        Arrow::Time32(_) | Arrow::Time64(_) => DataType::Time,
        Arrow::Timestamp(_, None) => DataType::Timestamp,
        Arrow::Timestamp(_, Some(_)) => DataType::TimestampTz,
        Arrow::List(item) => DataType::List(Box::new(natural(item.data_type())?)),
        _ => return None,
    })
}
