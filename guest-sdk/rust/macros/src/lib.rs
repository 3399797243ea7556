//! The derive macros of dabi-sdk. Use them through that crate.
//!
//! Owns the attributes and what can be said about a row from its own text.
//! What needs types (does a passed column agree with the source row? what does
//! an alias stand for?) is left to traits and constants of dabi-sdk.

mod as_of;
mod attributes;
mod column_type;
mod source_row;
mod star_row;
mod star_table;
mod transform;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, parse_macro_input};

/// Makes a struct a row of a source table: `#[source(table = "schema.table", key
/// = "…")]`, and on its fields `#[column(name = "…", unit = "ms")]`, or
/// `#[lookup(on = "…", missing = "…")]` for a row of another table.
#[proc_macro_derive(SourceRow, attributes(source, column, lookup))]
pub fn source_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    source_row::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a struct a row of a star table: `#[star(table = "name", kind = "…")]`,
/// and on its fields `#[key(from = "…")]`, `#[column(…)]` and `#[as_of(…)]`.
#[proc_macro_derive(StarRow, attributes(star, key, column, as_of))]
pub fn star_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    star_row::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a function the transform of this module.
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    transform::expand(&arguments.into(), &item).unwrap_or_else(syn::Error::into_compile_error).into()
}
