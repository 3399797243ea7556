//! Reading as text, JSON, bytes and UUID.
//!
//! Text of a typed value is what a person would write in SQL: plain numbers,
//! `true`, ISO 8601 dates and times, names for infinities; bytes are base64, as
//! Debezium's JSON has them.

use std::borrow::Cow;

use arrow::array::{
    Array, ArrayBuilder, AsArray, BinaryArray, BinaryBuilder, FixedSizeBinaryArray, NullBufferBuilder,
    StringArray, StringBuilder,
};
use arrow::buffer::Buffer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::IgnoredAny;

use super::decimal::{self, VariableScale};
use super::sent::{Faults, Sent, Source};
use super::{BytesText, Fault, Hints, shown, temporal};
use crate::change::Wire;

/// The semantic name of a string that holds JSON.
const JSON_NAME: &str = "io.debezium.data.Json";
/// Arrow's offsets are 32 bits.
const BYTES_MAX: usize = i32::MAX as usize;

pub(super) fn texts(source: &Source<'_>, faults: &mut Faults) -> StringArray {
    strings(source, faults, text)
}

pub(super) fn jsons(source: &Source<'_>, faults: &mut Faults) -> StringArray {
    let known = source.wire == Wire::Typed && source.name == Some(JSON_NAME);
    if source.wire != Wire::Json
        && let Some(strings) = source.array.as_string_opt::<i32>()
        && (known || strings.iter().flatten().all(is_json))
    {
        return strings.clone();
    }
    strings(source, faults, json)
}

fn strings(
    source: &Source<'_>,
    faults: &mut Faults,
    read: impl Fn(Sent<'_>) -> Result<Cow<'_, str>, Fault>,
) -> StringArray {
    let mut strings = StringBuilder::with_capacity(source.array.len(), 0);
    source.visit(|sent| {
        let row = strings.len();
        match sent.map(&read) {
            Some(Ok(text)) if strings.values_slice().len() + text.len() <= BYTES_MAX => {
                strings.append_value(text);
                return;
            }
            Some(Ok(_)) => faults.push((row, Fault::batch_too_large())),
            Some(Err(fault)) => faults.push((row, fault)),
            None => {}
        }
        strings.append_null();
    });
    strings.finish()
}

fn text(sent: Sent<'_>) -> Result<Cow<'_, str>, Fault> {
    Ok(match sent {
        Sent::Text(text) | Sent::Number(text) => text.into(),
        Sent::Document(document) => match VariableScale::parse(document) {
            Some(VariableScale { scale, value }) => decimal::decimal_text(&value, scale)?.into(),
            None if document.starts_with(['{', '[']) => document.into(),
            None => return Err(Fault::unreadable(sent, "it is not a JSON string")),
        },
        Sent::Date(_) | Sent::Time(..) | Sent::Timestamp(..) | Sent::Instant(_) => {
            temporal_text(sent)?.into()
        }
        other => other.text().into_owned().into(),
    })
}

fn temporal_text(sent: Sent<'_>) -> Result<String, Fault> {
    match sent {
        Sent::Date(days) => Ok(temporal::date_text(days)),
        Sent::Time(..) => temporal::time_text(sent),
        Sent::Timestamp(value, unit) => temporal::timestamp_text(sent, value, unit),
        Sent::Instant(micros) => temporal::instant_text(sent, micros),
        other => Ok(other.text().into_owned()),
    }
}

fn json(sent: Sent<'_>) -> Result<Cow<'_, str>, Fault> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string().into();
    Ok(match sent {
        Sent::Boolean(_) | Sent::Integer(_) | Sent::Decimal(..) | Sent::WideDecimal(..) | Sent::Number(_) => {
            text(sent)?
        }
        Sent::Single(value) if value.is_finite() => text(sent)?,
        Sent::Double(value) if value.is_finite() => text(sent)?,
        Sent::Text(text) | Sent::Document(text) if is_json(text) => text.into(),
        Sent::Text(_) | Sent::Document(_) => {
            return Err(Fault::unreadable(sent, "it is not JSON; declare text"));
        }
        other => quoted(&text(other)?),
    })
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

pub(super) fn bytes(source: &Source<'_>, faults: &mut Faults) -> BinaryArray {
    let mut values = BinaryBuilder::with_capacity(source.array.len(), 0);
    let mut buffer = Vec::new();
    source.visit(|sent| {
        let row = values.len();
        buffer.clear();
        match sent.map(|sent| bytes_of(sent, source.hints, &mut buffer)) {
            Some(Ok(())) if values.values_slice().len() + buffer.len() <= BYTES_MAX => {
                values.append_value(&buffer);
                return;
            }
            Some(Ok(())) => faults.push((row, Fault::batch_too_large())),
            Some(Err(fault)) => faults.push((row, fault)),
            None => {}
        }
        values.append_null();
    });
    values.finish()
}

fn bytes_of(sent: Sent<'_>, hints: Hints, into: &mut Vec<u8>) -> Result<(), Fault> {
    match (sent, hints.bytes.unwrap_or(BytesText::Base64)) {
        (Sent::Bytes(bytes), _) => {
            into.extend_from_slice(bytes);
            Ok(())
        }
        (Sent::Text(text), BytesText::Base64) => BASE64.decode_vec(text, into).map_err(|_| {
            let why = "is not base64; if the connector's binary.handling.mode is hex, set the input column's \
                       option bytes = \"hex\"";
            Fault::new("unreadable", format!("{} {why}", shown(text)))
        }),
        (Sent::Text(text), BytesText::Hex) => {
            let pairs = text.as_bytes().as_chunks::<2>();
            into.extend(pairs.0.iter().map_while(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)));
            let whole = pairs.1.is_empty() && into.len() == pairs.0.len();
            whole.then_some(()).ok_or_else(|| Fault::unreadable(sent, "it is not hexadecimal"))
        }
        _ => Err(Fault::unreadable(sent, "it is not bytes")),
    }
}

pub(super) fn uuids(source: &Source<'_>, faults: &mut Faults) -> FixedSizeBinaryArray {
    let rows = source.array.len();
    let mut values = Vec::with_capacity(rows * 16);
    let mut nulls = NullBufferBuilder::new(rows);
    source.visit(|sent| {
        let uuid = sent.and_then(|sent| {
            let uuid = match sent {
                Sent::Text(text) => uuid(text.as_bytes()),
                Sent::Bytes(bytes) => bytes.try_into().ok(),
                _ => None,
            };
            if uuid.is_none() {
                let fault = Fault::unreadable(sent, "it is not a UUID");
                faults.push((values.len() / 16, fault));
            }
            uuid
        });
        nulls.append(uuid.is_some());
        values.extend_from_slice(&uuid.unwrap_or_default());
    });
    FixedSizeBinaryArray::new(16, Buffer::from_vec(values), nulls.finish())
}

/// 32 hexadecimal digits, in groups of 8-4-4-4-12 or in one.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let grouped = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text[*at] == b'-');
    if !grouped && text.len() != 32 {
        return None;
    }
    let mut digits = text.iter().enumerate().filter(|(at, _)| !grouped || ![8, 13, 18, 23].contains(at));
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        let (high, low) = (nibble(*digits.next()?.1)?, nibble(*digits.next()?.1)?);
        *byte = high << 4 | low;
    }
    Some(uuid)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
