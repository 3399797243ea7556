//! `#[star(…)]`: a star table, and what its kind asks of its columns.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error};

use crate::attributes::{Arguments, Text, first_paragraph};
use crate::star_row::Column;

/// Each kind with its variant in `declare::Kind` and the columns that dabi adds.
const KINDS: [(&str, &str, &[&str]); 3] = [
    ("latest", "Latest", &[]),
    ("scd2", "Scd2", &["version_key", "valid_from", "valid_to", "is_current"]),
    ("append", "Append", &["change_key"]),
];

/// The operations of which a change may be kept.
const OPS: [&str; 4] = ["c", "u", "d", "r"];

pub(crate) struct Table {
    pub(crate) name: Text,
    kind: (&'static str, &'static str, &'static [&'static str]),
    options: Vec<TokenStream>,
}

impl Table {
    pub(crate) fn of(input: &DeriveInput) -> Result<Self, Error> {
        let known = ["table", "kind", "order", "partition", "ttl", "ops"];
        let arguments = Arguments::parse(&input.attrs, "star", &known, &[])?.unwrap_or_default();
        let name = arguments.text("table").cloned().ok_or_else(|| {
            Error::new_spanned(
                &input.ident,
                "which star table is it a row of? Write #[star(table = \"f_orders\")] on the struct",
            )
        })?;
        let kind = kind(arguments.text("kind"))?;
        if let Some(ops) = arguments.text("ops") {
            check_ops(ops, kind.0)?;
        }
        let mut options: Vec<TokenStream> = ["order", "partition", "ttl", "ops"]
            .into_iter()
            .filter_map(|name| arguments.text(name).map(|value| quote!((#name, #value))))
            .collect();
        if let Some(comment) = first_paragraph(&input.attrs) {
            options.push(quote!(("comment", #comment)));
        }
        Ok(Self { name, kind, options })
    }

    /// What the kind asks of the columns, as far as their text tells.
    pub(crate) fn check(&self, columns: &[Column<'_>]) -> Result<(), Error> {
        let (kind, _, added) = self.kind;
        for column in columns {
            if added.contains(&column.name.value().as_str()) {
                return Err(Error::new_spanned(
                    &column.name,
                    format!("dabi adds this column to a table of kind {kind} itself: rename yours"),
                ));
            }
            if column.is_tracked && kind != "scd2" {
                return Err(Error::new_spanned(
                    &column.name,
                    "`tracked` says that a change begins a new version: make the table #[star(kind = \"scd2\")], \
                     or take it away",
                ));
            }
            if column.is_tracked && column.is_key {
                return Err(Error::new_spanned(
                    &column.name,
                    "a key column is not tracked: another key is another row",
                ));
            }
            if let (Some(as_of), "scd2") = (&column.as_of, kind) {
                return Err(Error::new(
                    as_of.span,
                    "a table that keeps versions itself has no one time to refer to others at: refer to both from a \
                     fact",
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn kind(&self) -> TokenStream {
        let variant = quote::format_ident!("{}", self.kind.1);
        quote!(::dabi_sdk::declare::Kind::#variant)
    }

    pub(crate) fn options(&self) -> &[TokenStream] {
        &self.options
    }
}

fn kind(asked: Option<&Text>) -> Result<(&'static str, &'static str, &'static [&'static str]), Error> {
    let Some(asked) = asked else { return Ok(KINDS[0]) };
    KINDS.into_iter().find(|(name, ..)| *name == asked.value()).ok_or_else(|| {
        Error::new_spanned(
            asked,
            "`kind` can be latest (the current row per key), scd2 (one row per version of a key) or append (one row \
             per change)",
        )
    })
}

/// Which changes an append table keeps.
fn check_ops(ops: &Text, kind: &str) -> Result<(), Error> {
    if kind != "append" {
        return Err(Error::new_spanned(
            ops,
            "`ops` says which changes a table keeps: make it #[star(kind = \"append\")], or take it away",
        ));
    }
    let listed = ops.value();
    let mut letters: Vec<&str> = listed.split(',').map(str::trim).collect();
    letters.sort_unstable();
    if letters.windows(2).all(|pair| pair[0] != pair[1]) && letters.iter().all(|op| OPS.contains(op)) {
        return Ok(());
    }
    Err(Error::new_spanned(
        ops,
        "`ops` lists some of c (inserted), u (updated), d (deleted) and r (read by a snapshot), with commas between \
         them",
    ))
}
