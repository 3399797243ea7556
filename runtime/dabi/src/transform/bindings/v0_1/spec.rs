//! A declaration as the module gives it → `dabi_core::spec`.

use dabi_core::data_type::DataType;
use dabi_core::spec::{
    AsOf, ColumnSource, InputColumn, Lookup, MissingPolicy, Options, Spec, Target, TargetColumn, TargetKind,
};
use dabi_core::table::InvalidTableName;

use super::types;

#[cfg(test)]
mod tests;

/// A declaration that has no form in dabi.
#[derive(Debug, thiserror::Error)]
pub(in crate::transform) enum Undeclarable {
    #[error(transparent)]
    Table(#[from] InvalidTableName),
    #[error("{place}: option {name:?} is given twice")]
    OptionTwice { place: String, name: String },
}

/// The declaration in dabi's own types; not yet validated.
pub(in crate::transform) fn declared(spec: types::Spec) -> Result<Spec, Undeclarable> {
    Ok(Spec {
        options: options("the transform", spec.options)?,
        name: spec.name,
        version: spec.version,
        source: spec.source.parse()?,
        columns: all(spec.columns, input_column)?,
        lookups: all(spec.lookups, lookup)?,
        targets: all(spec.targets, target)?,
    })
}

fn all<T, U>(list: Vec<T>, convert: fn(T) -> Result<U, Undeclarable>) -> Result<Vec<U>, Undeclarable> {
    list.into_iter().map(convert).collect()
}

fn options(place: &str, list: Vec<(String, String)>) -> Result<Options, Undeclarable> {
    let mut options = Options::new();
    for (name, value) in list {
        if options.contains_key(&name) {
            return Err(Undeclarable::OptionTwice { place: place.into(), name });
        }
        options.insert(name, value);
    }
    Ok(options)
}

fn input_column(column: types::InputColumn) -> Result<InputColumn, Undeclarable> {
    Ok(InputColumn {
        options: options(&format!("column {}", column.name), column.options)?,
        name: column.name,
        data_type: data_type(column.type_),
        nullable: column.nullable,
        read: column.read,
    })
}

fn lookup(lookup: types::Lookup) -> Result<Lookup, Undeclarable> {
    Ok(Lookup {
        name: lookup.name,
        table: lookup.table.parse()?,
        key: lookup.key,
        on: lookup.on,
        columns: all(lookup.columns, input_column)?,
        missing: missing(lookup.missing),
    })
}

fn missing(policy: types::MissingPolicy) -> MissingPolicy {
    match policy {
        types::MissingPolicy::Nulls => MissingPolicy::Nulls,
        types::MissingPolicy::Hold => MissingPolicy::Hold,
        types::MissingPolicy::Reject => MissingPolicy::Reject,
    }
}

fn target(target: types::Target) -> Result<Target, Undeclarable> {
    Ok(Target {
        options: options(&format!("target {}", target.table), target.options)?,
        table: target.table,
        kind: match target.kind {
            types::TargetKind::Latest => TargetKind::Latest,
            types::TargetKind::Scd2 => TargetKind::Scd2,
            types::TargetKind::Append => TargetKind::Append,
        },
        columns: all(target.columns, target_column)?,
        key: target.key,
        as_of: target.as_of.into_iter().map(as_of).collect(),
    })
}

fn target_column(column: types::TargetColumn) -> Result<TargetColumn, Undeclarable> {
    Ok(TargetColumn {
        options: options(&format!("column {}", column.name), column.options)?,
        name: column.name,
        data_type: data_type(column.type_),
        nullable: column.nullable,
        source: match column.source {
            types::ColumnSource::Computed => ColumnSource::Computed,
            types::ColumnSource::Input(input) => ColumnSource::Input(input as usize),
            types::ColumnSource::AsOf(reference) => ColumnSource::AsOf(reference as usize),
        },
        tracked: column.tracked,
    })
}

fn as_of(reference: types::AsOf) -> AsOf {
    AsOf {
        dimension: reference.dimension,
        key: reference.key,
        at: reference.at,
        missing: missing(reference.missing),
    }
}

fn data_type(data_type: types::DataType) -> DataType {
    match data_type {
        types::DataType::Scalar(scalar_type) => scalar(scalar_type),
        types::DataType::ListOf(scalar_type) => DataType::List(Box::new(scalar(scalar_type))),
    }
}

fn scalar(scalar: types::ScalarType) -> DataType {
    match scalar {
        types::ScalarType::Boolean => DataType::Boolean,
        types::ScalarType::Int16 => DataType::Int16,
        types::ScalarType::Int32 => DataType::Int32,
        types::ScalarType::Int64 => DataType::Int64,
        types::ScalarType::Uint64 => DataType::Uint64,
        types::ScalarType::Float32 => DataType::Float32,
        types::ScalarType::Float64 => DataType::Float64,
        types::ScalarType::Decimal(types::DecimalType { precision, scale }) => {
            DataType::Decimal { precision, scale }
        }
        types::ScalarType::Text => DataType::Text,
        types::ScalarType::Bytes => DataType::Bytes,
        types::ScalarType::Json => DataType::Json,
        types::ScalarType::Date => DataType::Date,
        types::ScalarType::Time => DataType::Time,
        types::ScalarType::Timestamp => DataType::Timestamp,
        types::ScalarType::Timestamptz => DataType::TimestampTz,
        types::ScalarType::Uuid => DataType::Uuid,
        types::ScalarType::Interval => DataType::Interval,
    }
}
