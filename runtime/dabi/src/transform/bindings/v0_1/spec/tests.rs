//! Whatever dabi can declare crosses the boundary unchanged.

use dabi_core::table::SourceTable;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

fn raw(spec: Spec) -> types::Spec {
    types::Spec {
        name: spec.name,
        version: spec.version,
        source: spec.source.to_string(),
        columns: spec.columns.into_iter().map(raw_input).collect(),
        lookups: spec.lookups.into_iter().map(raw_lookup).collect(),
        targets: spec.targets.into_iter().map(raw_target).collect(),
        options: spec.options.into_iter().collect(),
    }
}

fn raw_input(column: InputColumn) -> types::InputColumn {
    types::InputColumn {
        name: column.name,
        type_: raw_type(&column.data_type),
        nullable: column.nullable,
        read: column.read,
        options: column.options.into_iter().collect(),
    }
}

fn raw_lookup(lookup: Lookup) -> types::Lookup {
    types::Lookup {
        name: lookup.name,
        table: lookup.table.to_string(),
        key: lookup.key,
        on: lookup.on,
        columns: lookup.columns.into_iter().map(raw_input).collect(),
        missing: raw_missing(lookup.missing),
    }
}

fn raw_missing(policy: MissingPolicy) -> types::MissingPolicy {
    match policy {
        MissingPolicy::Nulls => types::MissingPolicy::Nulls,
        MissingPolicy::Hold => types::MissingPolicy::Hold,
        MissingPolicy::Reject => types::MissingPolicy::Reject,
    }
}

fn raw_as_of(AsOf { dimension, key, at, missing }: AsOf) -> types::AsOf {
    types::AsOf { dimension, key, at, missing: raw_missing(missing) }
}

fn raw_target(target: Target) -> types::Target {
    let raw_column = |column: TargetColumn| types::TargetColumn {
        name: column.name,
        type_: raw_type(&column.data_type),
        nullable: column.nullable,
        source: match column.source {
            ColumnSource::Computed => types::ColumnSource::Computed,
            ColumnSource::Input(input) => types::ColumnSource::Input(u32::try_from(input).unwrap()),
            ColumnSource::AsOf(reference) => types::ColumnSource::AsOf(u32::try_from(reference).unwrap()),
        },
        tracked: column.tracked,
        options: column.options.into_iter().collect(),
    };
    types::Target {
        table: target.table,
        kind: match target.kind {
            TargetKind::Latest => types::TargetKind::Latest,
            TargetKind::Scd2 => types::TargetKind::Scd2,
            TargetKind::Append => types::TargetKind::Append,
        },
        columns: target.columns.into_iter().map(raw_column).collect(),
        key: target.key,
        as_of: target.as_of.into_iter().map(raw_as_of).collect(),
        options: target.options.into_iter().collect(),
    }
}

fn raw_type(data_type: &DataType) -> types::DataType {
    match data_type {
        DataType::List(item) => types::DataType::ListOf(raw_scalar(item)),
        scalar => types::DataType::Scalar(raw_scalar(scalar)),
    }
}

fn raw_scalar(data_type: &DataType) -> types::ScalarType {
    match *data_type {
        DataType::Boolean => types::ScalarType::Boolean,
        DataType::Int16 => types::ScalarType::Int16,
        DataType::Int32 => types::ScalarType::Int32,
        DataType::Int64 => types::ScalarType::Int64,
        DataType::Uint64 => types::ScalarType::Uint64,
        DataType::Float32 => types::ScalarType::Float32,
        DataType::Float64 => types::ScalarType::Float64,
        DataType::Decimal { precision, scale } => {
            types::ScalarType::Decimal(types::DecimalType { precision, scale })
        }
        DataType::Text => types::ScalarType::Text,
        DataType::Bytes => types::ScalarType::Bytes,
        DataType::Json => types::ScalarType::Json,
        DataType::Date => types::ScalarType::Date,
        DataType::Time => types::ScalarType::Time,
        DataType::Timestamp => types::ScalarType::Timestamp,
        DataType::TimestampTz => types::ScalarType::Timestamptz,
        DataType::Uuid => types::ScalarType::Uuid,
        DataType::Interval => types::ScalarType::Interval,
        DataType::List(_) => unreachable!("a list holds scalars"),
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z_.é]{0,8}"
}

fn table() -> impl Strategy<Value = SourceTable> {
    ("[a-z]{1,5}", "[a-z.]{1,5}").prop_map(|(schema, table)| SourceTable::new(schema, table))
}

fn some_options() -> impl Strategy<Value = Options> {
    btree_map(name(), name(), 0..3)
}

fn any_scalar() -> impl Strategy<Value = DataType> {
    use DataType as D;
    let plain = [
        D::Boolean,
        D::Int16,
        D::Int32,
        D::Int64,
        D::Uint64,
        D::Float32,
        D::Float64,
        D::Text,
        D::Bytes,
        D::Json,
        D::Date,
        D::Time,
        D::Timestamp,
        D::TimestampTz,
        D::Uuid,
        D::Interval,
    ];
    prop_oneof![
        proptest::sample::select(plain.to_vec()),
        any::<(u8, u8)>().prop_map(|(precision, scale)| D::Decimal { precision, scale }),
    ]
}

fn any_type() -> impl Strategy<Value = DataType> {
    prop_oneof![any_scalar(), any_scalar().prop_map(|item| DataType::List(Box::new(item)))]
}

fn input() -> impl Strategy<Value = InputColumn> {
    (name(), any_type(), any::<(bool, bool)>(), some_options()).prop_map(
        |(name, data_type, (nullable, read), options)| InputColumn {
            name,
            data_type,
            nullable,
            read,
            options,
        },
    )
}

fn any_missing() -> impl Strategy<Value = MissingPolicy> {
    proptest::sample::select(vec![MissingPolicy::Nulls, MissingPolicy::Hold, MissingPolicy::Reject])
}

fn any_lookup() -> impl Strategy<Value = Lookup> {
    (name(), table(), vec(name(), 0..3), vec(name(), 0..3), vec(input(), 0..3), any_missing()).prop_map(
        |(name, table, key, on, columns, missing)| Lookup { name, table, key, on, columns, missing },
    )
}

fn any_column() -> impl Strategy<Value = TargetColumn> {
    let source = prop_oneof![
        Just(ColumnSource::Computed),
        any::<u32>().prop_map(|input| ColumnSource::Input(input as usize)),
        any::<u32>().prop_map(|reference| ColumnSource::AsOf(reference as usize)),
    ];
    (name(), any_type(), any::<(bool, bool)>(), source, some_options()).prop_map(
        |(name, data_type, (nullable, tracked), source, options)| TargetColumn {
            name,
            data_type,
            nullable,
            source,
            tracked,
            options,
        },
    )
}

fn any_target() -> impl Strategy<Value = Target> {
    let kind = proptest::sample::select(vec![TargetKind::Latest, TargetKind::Scd2, TargetKind::Append]);
    let as_of = (name(), vec(name(), 0..3), name(), any_missing())
        .prop_map(|(dimension, key, at, missing)| AsOf { dimension, key, at, missing });
    (name(), kind, vec(any_column(), 0..4), vec(name(), 0..3), vec(as_of, 0..2), some_options()).prop_map(
        |(table, kind, columns, key, as_of, options)| Target { table, kind, columns, key, as_of, options },
    )
}

fn any_spec() -> impl Strategy<Value = Spec> {
    (
        (name(), name()),
        table(),
        vec(input(), 0..4),
        vec(any_lookup(), 0..2),
        vec(any_target(), 0..3),
        some_options(),
    )
        .prop_map(|((name, version), source, columns, lookups, targets, options)| Spec {
            name,
            version,
            source,
            columns,
            lookups,
            targets,
            options,
        })
}

proptest! {
    #[test]
    fn a_declaration_crosses_unchanged(spec in any_spec()) {
        prop_assert_eq!(declared(raw(spec.clone())).unwrap(), spec);
    }
}

#[test]
fn an_option_given_twice_is_refused() {
    let options = vec![("unit".to_owned(), "ms".to_owned()), ("unit".to_owned(), "us".to_owned())];
    let error = super::options("column at", options).unwrap_err();
    assert_eq!(error.to_string(), r#"column at: option "unit" is given twice"#);
}
