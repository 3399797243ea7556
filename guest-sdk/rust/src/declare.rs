//! The declaration of a transform: constants that the derive macros make, the
//! checks between the two rows while the transform is compiled, and `describe`.

use crate::bindings::types::{self, ColumnSource, Spec, Target, TargetColumn, TargetKind};
use crate::data_type::{DataType, Scalar};
use crate::row::{SourceRow, StarRow};

/// A column that a source row reads.
#[derive(Clone, Copy, Debug)]
pub struct InputColumn {
    /// Name in the source table.
    pub name: &'static str,
    /// The type to read it as.
    pub data_type: DataType,
    /// May it be null?
    pub nullable: bool,
    /// Options, by the names of the contract.
    pub options: &'static [(&'static str, &'static str)],
}

/// A column of a star row.
#[derive(Clone, Copy, Debug)]
pub struct StarColumn {
    /// Name in the star table.
    pub name: &'static str,
    /// Its type.
    pub data_type: DataType,
    /// May it be null?
    pub nullable: bool,
    /// Is it part of the table's key?
    pub key: bool,
    /// The source column whose values it passes on; `None`: computed.
    pub from: Option<&'static str>,
    /// Options of the source column, where only this one asks for it.
    pub input_options: &'static [(&'static str, &'static str)],
    /// Options, by the names of the contract.
    pub options: &'static [(&'static str, &'static str)],
}

/// Checks the passed columns of a star row against its source row; called in a
/// constant, so that a difference is a compile error.
///
/// # Panics
/// A passed column has another type or nullability than the source row says.
#[track_caller]
pub const fn check<'a, R: SourceRow<'a>, S: StarRow>() {
    let mut index = 0;
    while index < S::COLUMNS.len() {
        let column = &S::COLUMNS[index];
        if let Some(from) = column.from {
            check_passed(S::TABLE, column, from, R::COLUMNS);
            check_agreement(S::TABLE, column, from, S::COLUMNS.split_at(index).0);
        }
        index += 1;
    }
}

#[track_caller]
const fn check_passed(table: &str, column: &StarColumn, from: &str, inputs: &[InputColumn]) {
    let mut index = 0;
    while index < inputs.len() {
        let input = &inputs[index];
        if same_text(input.name, from) {
            if !(input.data_type.same(column.data_type) && input.nullable == column.nullable) {
                passes_on(table, column, from)
                    .text(", but the source row reads it as ")
                    .data_type(input.data_type, input.nullable)
                    .panic();
            }
            if !column.input_options.is_empty() {
                passes_on(table, column, from)
                    .text(" with options for reading it, but the source row reads it: give them there")
                    .panic();
            }
        }
        index += 1;
    }
}

#[track_caller]
const fn check_agreement(table: &str, column: &StarColumn, from: &str, others: &[StarColumn]) {
    let mut index = 0;
    while index < others.len() {
        let other = &others[index];
        if let Some(other_from) = other.from
            && same_text(other_from, from)
        {
            if !(other.data_type.same(column.data_type) && other.nullable == column.nullable) {
                passes_on(table, column, from)
                    .text(", but ")
                    .text(other.name)
                    .text(" passes it on as ")
                    .data_type(other.data_type, other.nullable)
                    .panic();
            }
            if !column.input_options.is_empty() {
                passes_on(table, column, from)
                    .text(" with options for reading it, but ")
                    .text(other.name)
                    .text(" passes it on already: give them there")
                    .panic();
            }
        }
        index += 1;
    }
}

const fn passes_on(table: &str, column: &StarColumn, from: &str) -> Message {
    Message::new()
        .text(table)
        .text(".")
        .text(column.name)
        .text(" passes on ")
        .text(from)
        .text(" as ")
        .data_type(column.data_type, column.nullable)
}

const fn same_text(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// Text put together while compiling; what does not fit is cut.
struct Message {
    bytes: [u8; 256],
    len: usize,
}

impl Message {
    const fn new() -> Self {
        Self { bytes: [0; 256], len: 0 }
    }

    const fn text(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut index = 0;
        while index < text.len() && self.len < self.bytes.len() {
            self.bytes[self.len] = text[index];
            self.len += 1;
            index += 1;
        }
        self
    }

    const fn number(self, number: u8) -> Self {
        let digit = [b'0' + number % 10];
        let message = if number >= 10 { self.number(number / 10) } else { self };
        match str::from_utf8(&digit) {
            Ok(digit) => message.text(digit),
            Err(_) => message,
        }
    }

    const fn data_type(self, data_type: DataType, nullable: bool) -> Self {
        let message = if nullable { self.text("Option<") } else { self };
        let message = match data_type {
            DataType::Scalar(scalar) => message.scalar(scalar),
            DataType::List(scalar) => message.text("Vec<").scalar(scalar).text(">"),
        };
        if nullable { message.text(">") } else { message }
    }

    const fn scalar(self, scalar: Scalar) -> Self {
        let message = self.text(scalar.rust_name());
        match scalar {
            Scalar::Decimal { precision, scale } => {
                message.text("<").number(precision).text(", ").number(scale).text(">")
            }
            _ => message,
        }
    }

    #[track_caller]
    const fn panic(&self) -> ! {
        match str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => panic!("{}", text),
            Err(_) => panic!("a passed column differs in type from the source row"),
        }
    }
}

/// `describe()` of a transform from `R` to `S`.
pub(crate) fn spec<R: SourceRow<'static>, S: StarRow>(name: &str, version: &str) -> Spec {
    let mut inputs: Vec<types::InputColumn> = R::COLUMNS
        .iter()
        .map(|column| types::InputColumn {
            name: column.name.into(),
            type_: column.data_type.to_wit(),
            nullable: column.nullable,
            read: true,
            options: options(column.options),
        })
        .collect();
    let columns = S::COLUMNS
        .iter()
        .map(|column| TargetColumn {
            name: column.name.into(),
            type_: column.data_type.to_wit(),
            nullable: column.nullable,
            source: match column.from {
                None => ColumnSource::Computed,
                Some(from) => ColumnSource::Input(input_position(&mut inputs, column, from)),
            },
            tracked: false,
            options: options(column.options),
        })
        .collect();
    let target = Target {
        table: S::TABLE.into(),
        kind: TargetKind::Latest,
        columns,
        key: S::COLUMNS.iter().filter(|column| column.key).map(|column| column.name.into()).collect(),
        as_of: Vec::new(),
        options: options(S::OPTIONS),
    };
    Spec {
        name: name.into(),
        version: version.into(),
        source: R::TABLE.into(),
        columns: inputs,
        lookups: Vec::new(),
        targets: vec![target],
        options: options(&[("sdk", concat!("rust ", env!("CARGO_PKG_VERSION")))]),
    }
}

/// Where the passed column stands among the inputs; one that the source row
/// does not read is added as unread.
fn input_position(inputs: &mut Vec<types::InputColumn>, column: &StarColumn, from: &str) -> u32 {
    let position = inputs.iter().position(|input| input.name == from).unwrap_or_else(|| {
        inputs.push(types::InputColumn {
            name: from.into(),
            type_: column.data_type.to_wit(),
            nullable: column.nullable,
            read: false,
            options: options(column.input_options),
        });
        inputs.len() - 1
    });
    u32::try_from(position).expect("a struct has fewer than 2^32 fields")
}

fn options(options: &[(&str, &str)]) -> Vec<(String, String)> {
    options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}
