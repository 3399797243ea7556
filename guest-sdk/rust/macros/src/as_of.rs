//! `#[as_of(…)]`: a reference to the version of a dimension.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Field, Type};

use crate::attributes::{Arguments, Text, missing, names};
use crate::star_row::Column;

pub(crate) struct AsOf {
    pub(crate) span: Span,
    dimension: Text,
    key: Vec<Text>,
    at: Text,
    pub(crate) missing: Option<TokenStream>,
}

impl AsOf {
    pub(crate) fn of(field: &Field) -> Result<Option<Self>, Error> {
        let known = ["dimension", "key", "at", "missing"];
        let Some(arguments) = Arguments::parse(&field.attrs, "as_of", &known, &[])? else { return Ok(None) };
        let wanted = |name| {
            arguments.text(name).cloned().ok_or_else(|| {
                Error::new_spanned(
                    &field.ident,
                    format!(
                        "`{name}` is missing: write #[as_of(dimension = \"dim_users\", key = \"user_id\", at = \
                         \"ordered_at\")], where key and at are columns of this struct"
                    ),
                )
            })
        };
        let dimension = wanted("dimension")?;
        let (span, key, at) = (dimension.span(), names(&wanted("key")?)?, wanted("at")?);
        Ok(Some(Self { span, dimension, key, at, missing: missing(&arguments)? }))
    }

    /// Each column that it names is there, and known before the version is.
    pub(crate) fn check(&self, columns: &[Column<'_>]) -> Result<(), Error> {
        for name in self.key.iter().chain([&self.at]) {
            match columns.iter().find(|column| column.name.value() == name.value()) {
                Some(column) if column.as_of.is_none() => {}
                Some(_) => {
                    return Err(Error::new_spanned(name, "this column is filled by #[as_of] itself"));
                }
                None => {
                    return Err(Error::new_spanned(
                        name,
                        format!(
                            "this struct has no column {0}: a version is found by columns of the star row, so let \
                             it have one, for example `{0}: Passed<…>`",
                            name.value()
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn declaration(&self, ty: &Type) -> TokenStream {
        let (dimension, key, at) = (&self.dimension, &self.key, &self.at);
        let hold = quote!(::dabi_sdk::declare::Missing::Hold);
        let missing = self.missing.as_ref().unwrap_or(&hold);
        let nullable = quote_spanned!(ty.span()=> <#ty as ::dabi_sdk::write::StarField>::NULLABLE);
        quote! {
            ::dabi_sdk::declare::AsOf {
                dimension: #dimension,
                key: &[#(#key),*],
                at: #at,
                missing: #missing.unless(#nullable),
            }
        }
    }
}
