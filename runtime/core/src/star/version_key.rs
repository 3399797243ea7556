//! Keys of dimension versions: what a fact holds to refer to one.
//!
//! A version key is `xxh3`, 64 bits, of the text of the key's values and of
//! `valid_from` in microseconds, with a zero byte between them. ClickHouse
//! computes the same, so anyone can check or make one:
//!
//! ```sql
//! xxh3(concatWithSeparator('\0', toString(user_id), toString(toUnixTimestamp64Micro(valid_from))))
//! ```
//!
//! 64 bits join fast and stand in any tool. The chance that any two versions of
//! one dimension share a key is n²/2⁶⁵ for n versions: one in 370,000 for ten
//! million, one in 37 for a billion. A zero byte inside of a text (PostgreSQL
//! stores none) could make two composite keys alike.
//!
//! The texts are those of ClickHouse's `toString`: `-7`, `true`, `1.5` (a
//! decimal without zeros at its end), `2024-02-29`,
//! `2024-02-29 13:14:15.123456`, a uuid in lower case.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType as Arrow, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use xxhash_rust::xxh3::xxh3_64;

const SEPARATOR: char = '\0';
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.6f";

/// Columns that no version keys can be made of; `spec` refuses them before.
#[derive(Debug, thiserror::Error)]
#[error("make version keys: {0}")]
pub struct Unversionable(#[from] ArrowError);

/// The keys of versions: `key` holds the values of the dimension's key, column
/// by column in its order and in the form of `DataType::arrow`, `valid_from`
/// when each version begins.
///
/// # Errors
/// If a column's values cannot be shown as text.
pub fn version_keys(
    key: &[ArrayRef],
    valid_from: &TimestampMicrosecondArray,
) -> Result<UInt64Array, Unversionable> {
    let key: Vec<ArrayRef> = key.iter().map(without_zone).collect();
    let texts = key.iter().map(Text::of).collect::<Result<Vec<_>, _>>()?;
    let mut bytes = String::new();
    let hash = |(row, from_us): (usize, &i64)| {
        bytes.clear();
        for text in &texts {
            text.push(row, &mut bytes)?;
            bytes.push(SEPARATOR);
        }
        write!(bytes, "{from_us}").map_err(|error| ArrowError::CastError(error.to_string()))?;
        Ok(xxh3_64(bytes.as_bytes()))
    };
    let hashes: Result<Vec<u64>, ArrowError> = valid_from.values().iter().enumerate().map(hash).collect();
    Ok(UInt64Array::from(hashes?))
}

/// A time in UTC without saying so: the same number, and no zone in its text.
fn without_zone(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>)),
        None => Arc::clone(column),
    }
}

/// A column, ready to be written as ClickHouse would.
enum Text<'a> {
    Uuid(&'a arrow::array::FixedSizeBinaryArray),
    Decimal(ArrayFormatter<'a>),
    Plain(ArrayFormatter<'a>),
}

impl<'a> Text<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self, ArrowError> {
        let options = FormatOptions::new().with_timestamp_format(Some(TIME_FORMAT)).with_display_error(false);
        let formatter = || ArrayFormatter::try_new(column, &options);
        match column.data_type() {
            Arrow::FixedSizeBinary(16) => Ok(Self::Uuid(column.as_fixed_size_binary())),
            Arrow::Decimal64(..) | Arrow::Decimal128(..) => Ok(Self::Decimal(formatter()?)),
            Arrow::Boolean
            | Arrow::Int16
            | Arrow::Int32
            | Arrow::Int64
            | Arrow::UInt64
            | Arrow::Utf8
            | Arrow::Date32
            | Arrow::Timestamp(TimeUnit::Microsecond, None) => Ok(Self::Plain(formatter()?)),
            other => Err(ArrowError::CastError(format!("{other} has no one text"))),
        }
    }

    fn push(&self, row: usize, text: &mut String) -> Result<(), ArrowError> {
        match self {
            Self::Uuid(uuids) => {
                for (index, byte) in uuids.value(row).iter().enumerate() {
                    let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(text, "{dash}{byte:02x}")
                        .map_err(|error| ArrowError::CastError(error.to_string()))?;
                }
                Ok(())
            }
            Self::Plain(formatter) => formatter.value(row).write(text),
            Self::Decimal(formatter) => {
                let start = text.len();
                formatter.value(row).write(text)?;
                if text[start..].contains('.') {
                    let end = text.trim_end_matches('0').trim_end_matches('.').len();
                    text.truncate(end);
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal64Array, FixedSizeBinaryArray, Int64Array, StringArray};

    use super::*;

    fn keys(key: &[ArrayRef], valid_from_us: &[i64]) -> Vec<u64> {
        let valid_from = TimestampMicrosecondArray::from(valid_from_us.to_vec()).with_timezone("UTC");
        version_keys(key, &valid_from).unwrap().values().to_vec()
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn a_key_is_the_hash_of_the_text_that_is_documented() {
        let user: ArrayRef = Arc::new(Int64Array::from(vec![7, 7]));
        assert_eq!(
            keys(&[user], &[0, 1_700_000_000_000_000]),
            [xxh3_64(b"7\x000"), xxh3_64(b"7\x001700000000000000")]
        );
        let uuid = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10";
        let uuid: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([uuid].iter()).unwrap());
        assert_eq!(keys(&[uuid], &[-1]), [xxh3_64(b"01234567-89ab-cdef-fedc-ba9876543210\x00-1")]);
        for zone in [None, Some("UTC")] {
            let time = TimestampMicrosecondArray::from(vec![1_709_212_455_123_456]).with_timezone_opt(zone);
            let expected = xxh3_64(b"2024-02-29 13:14:15.123456\x000");
            assert_eq!(keys(&[Arc::new(time)], &[0]), [expected]);
        }
        let price = Decimal64Array::from(vec![150, 100, -5]).with_precision_and_scale(12, 2).unwrap();
        let expected = [&b"1.5\x000"[..], b"1\x000", b"-0.05\x000"].map(xxh3_64);
        assert_eq!(keys(&[Arc::new(price)], &[0; 3]), expected);
    }

    #[test]
    fn parts_of_a_key_are_kept_apart() {
        let apart = keys(&[texts(&["a", "ab"]), texts(&["bc", "c"])], &[0, 0]);
        assert_ne!(apart[0], apart[1]);
    }

    #[test]
    fn what_has_no_one_text_is_refused() {
        let floats: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![0.1]));
        let valid_from = TimestampMicrosecondArray::from(vec![0]);
        let error = version_keys(&[floats], &valid_from).unwrap_err().to_string();
        assert!(error.contains("Float64 has no one text"), "{error}");
    }
}
