//! Types that look like columns and are none, refused by name.
//!
//! The traits of dabi-sdk refuse them too, but once for each use in the code
//! that the macros write; here it is one error, at the type, that says what to
//! write instead. A name that is not known here may be an alias: the traits
//! decide.

use syn::{Error, GenericArgument, Ident, PathArguments, Type};

const SEE_ALSO: &str = "column types are bool, i16, i32, i64, u64, f32, f64, String, &str, Vec<u8>, &[u8], Json, \
                        Date, Time, Timestamp, TimestampTz, Interval, Uuid, Decimal<P, S>, Vec<T> of these, and \
                        Option<T>";

/// Refuses a type that is known not to be a column type.
pub(crate) fn check(ty: &Type) -> Result<(), Error> {
    match ty {
        Type::Reference(reference) if !matches!(*reference.elem, Type::Slice(_)) => check(&reference.elem),
        Type::Reference(_) => Ok(()),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return Ok(()) };
            let argument = first_type(&last.arguments);
            match (last.ident.to_string().as_str(), argument) {
                ("Vec", Some(item)) if is_u8(item) => Ok(()),
                ("Vec", Some(item)) if is_list(item) => {
                    Err(Error::new_spanned(ty, "a list holds scalars: pass nested lists as Json"))
                }
                ("Option" | "Vec" | "Passed", Some(item)) => check(item),
                _ => refuse(&last.ident, ty),
            }
        }
        Type::Tuple(_) | Type::Array(_) | Type::Slice(_) => {
            Err(Error::new_spanned(ty, format!("this is not a column type; {SEE_ALSO}")))
        }
        _ => Ok(()),
    }
}

fn refuse(name: &Ident, ty: &Type) -> Result<(), Error> {
    let instead = match name.to_string().as_str() {
        "i8" | "u8" => "i16",
        "u16" => "i32",
        "u32" | "isize" => "i64",
        "usize" => "i64 or u64",
        "i128" | "u128" => "Decimal<38, 0>",
        "char" | "Box" | "Rc" | "Arc" | "Cow" => "String or &str",
        "SystemTime" | "Instant" | "DateTime" => "TimestampTz",
        "NaiveDateTime" => "Timestamp",
        "NaiveDate" => "Date",
        "NaiveTime" => "Time",
        "Duration" => "Interval",
        "BigDecimal" => "Decimal<P, S>",
        "Value" | "HashMap" | "BTreeMap" | "HashSet" | "BTreeSet" => "Json",
        _ => return Ok(()),
    };
    Err(Error::new_spanned(ty, format!("`{name}` is not a column type: use {instead}; {SEE_ALSO}")))
}

fn first_type(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn is_u8(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident("u8"))
}

/// `Vec<T>` other than bytes, or an option of one.
fn is_list(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let Some(last) = path.path.segments.last() else { return false };
    match first_type(&last.arguments) {
        Some(item) if last.ident == "Vec" => !is_u8(item),
        Some(item) if last.ident == "Option" => is_list(item),
        _ => false,
    }
}
