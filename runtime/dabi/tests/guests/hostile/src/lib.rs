//! Answers wrongly, in every way the raw world allows. The first value of its
//! one column says how.

#![cfg(target_arch = "wasm32")]

use dabi_sdk::bindings::types::{
    Applied, Batch, Column, ColumnData, ColumnSource, DataType, DecimalType, Failure, InputColumn, Output,
    RowError, ScalarType, Spec, Target, TargetColumn, TargetKind, Values, VarBytes,
};

struct Hostile;

dabi_sdk::bindings::export!(Hostile with_types_in dabi_sdk::bindings);

impl dabi_sdk::bindings::Guest for Hostile {
    fn describe() -> Spec {
        let attack = InputColumn {
            name: "attack".into(),
            type_: DataType::Scalar(ScalarType::Text),
            nullable: false,
            read: true,
            options: Vec::new(),
        };
        let amount = ScalarType::Decimal(DecimalType { precision: 3, scale: 0 });
        Spec {
            name: "hostile".into(),
            version: "0".into(),
            source: "test.hostile".into(),
            columns: vec![attack],
            lookups: Vec::new(),
            targets: vec![Target {
                table: "hostile".into(),
                kind: TargetKind::Latest,
                columns: vec![
                    column("attack", ScalarType::Text, false, ColumnSource::Input(0)),
                    column("text", ScalarType::Text, false, ColumnSource::Computed),
                    column("amount", amount, true, ColumnSource::Computed),
                ],
                key: vec!["attack".into()],
                as_of: Vec::new(),
                options: Vec::new(),
            }],
            options: Vec::new(),
        }
    }

    fn apply(batch: Batch) -> Result<Applied, Failure> {
        let Values::VarBytes(texts) = (match &batch.columns[0].data {
            ColumnData::Scalar(values) => values,
            ColumnData::ListOf(_) => unreachable!(),
        }) else {
            unreachable!()
        };
        let attack = String::from_utf8_lossy(&texts.data[..texts.offsets[1] as usize]).into_owned();
        answer(&attack, batch.rows)
    }
}

fn column(name: &str, scalar: ScalarType, nullable: bool, source: ColumnSource) -> TargetColumn {
    TargetColumn {
        name: name.into(),
        type_: DataType::Scalar(scalar),
        nullable,
        source,
        tracked: false,
        options: Vec::new(),
    }
}

fn texts(offsets: Vec<u32>, data: Vec<u8>) -> ColumnData {
    ColumnData::Scalar(Values::VarBytes(VarBytes { offsets, data }))
}

/// A good answer of one letter per row, bent as the attack says.
fn answer(attack: &str, rows: u32) -> Result<Applied, Failure> {
    let count = rows as usize;
    let mut output = Output {
        target: 0,
        origin: (0..rows).collect(),
        columns: vec![
            Column { data: texts((0..=rows).collect(), vec![b'x'; count]), validity: None },
            Column { data: ColumnData::Scalar(Values::S64s(vec![999; count])), validity: None },
        ],
    };
    let mut errors = Vec::new();
    match attack {
        "none" => {}
        "offsets fall" => output.columns[0].data = texts((0..=rows).rev().collect(), vec![b'x'; count]),
        "offsets begin late" => {
            output.columns[0].data = texts((1..=rows + 1).collect(), vec![b'x'; count + 1])
        }
        "offsets end late" => output.columns[0].data = texts((0..=rows).collect(), vec![b'x'; count - 1]),
        "offsets end early" => output.columns[0].data = texts((0..=rows).collect(), vec![b'x'; count + 1]),
        "offsets missing" => output.columns[0].data = texts(Vec::new(), Vec::new()),
        "not utf-8" => output.columns[0].data = texts((0..=rows).collect(), vec![0xff; count]),
        "letters cut" => {
            let data: Vec<u8> = "é".bytes().cycle().take(count).collect();
            output.columns[0].data = texts((0..=rows).collect(), data);
        }
        "values missing" => output.columns[1].data = ColumnData::Scalar(Values::S64s(vec![1; count - 1])),
        "another form" => output.columns[1].data = ColumnData::Scalar(Values::S32s(vec![1; count])),
        "column missing" => output.columns.truncate(1),
        "column too many" => output.columns.push(output.columns[1].clone()),
        "validity too short" => output.columns[1].validity = Some(Vec::new()),
        "validity too long" => output.columns[1].validity = Some(vec![0xff; count + 1]),
        "other target" => output.target = 9,
        "other origin" => output.origin[count - 1] = rows,
        "other error row" => {
            errors.push(RowError { row: rows, code: "x".into(), message: "x".into() });
        }
        "failure" => return Err(Failure { code: "own-code".into(), message: "own words".into() }),
        "too wide" => output.columns[1].data = ColumnData::Scalar(Values::S64s(values(count, 1_000))),
        "null" => {
            output.columns[0].validity = Some(vec![0b1111_1110; count.div_ceil(8)]);
        }
        "error and output" => {
            errors.push(RowError { row: 0, code: "first".into(), message: "m".repeat(10_000) });
            errors.push(RowError { row: 0, code: "second".into(), message: String::new() });
        }
        "row twice" => output.origin.fill(0),
        "too big" => {
            let big = vec![b'x'; 12 << 20];
            let end = big.len() as u32;
            output.columns[0].data = texts(std::iter::once(0).chain((0..rows).map(|_| end)).collect(), big);
        }
        other => {
            return Err(Failure { code: "unknown-attack".into(), message: other.into() });
        }
    }
    Ok(Applied { outputs: vec![output], errors })
}

/// The first value is the one given, the others fit.
fn values(count: usize, first: i64) -> Vec<i64> {
    std::iter::once(first).chain(std::iter::repeat(1)).take(count).collect()
}
