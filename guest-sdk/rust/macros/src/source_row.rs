//! `#[derive(SourceRow)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Field, Ident, Lifetime, LitStr};

use crate::attributes::{Arguments, check_distinct, lifetime, named_fields, reading_options, unraw};
use crate::column_type;

const WHAT: &str = "a source row";

struct Column<'a> {
    field: &'a Field,
    ident: &'a Ident,
    name: LitStr,
    options: Vec<(&'static str, LitStr)>,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream, Error> {
    let columns: Vec<Column<'_>> =
        named_fields(input, WHAT)?.into_iter().map(Column::of).collect::<Result<_, _>>()?;
    let names: Vec<(String, Span)> =
        columns.iter().map(|column| (column.name.value(), column.name.span())).collect();
    check_distinct(names.iter().map(|(name, span)| (name.as_str(), *span)))?;
    let table = table(input)?;

    let struct_name = &input.ident;
    let own_lifetime = lifetime(input, WHAT)?;
    let fresh = Lifetime::new("'batch", Span::call_site());
    let life = own_lifetime.unwrap_or(&fresh);
    let arguments = own_lifetime.map(|life| quote!(<#life>));

    let declarations = columns.iter().map(|column| column.declaration(life));
    let types = columns.iter().map(|column| {
        let ty = &column.field.ty;
        quote_spanned!(ty.span()=> <#ty as ::dabi_sdk::read::SourceField<#life>>::Column)
    });
    let opens = columns.iter().enumerate().map(|(position, column)| {
        let (ty, name) = (&column.field.ty, &column.name);
        let open = quote_spanned!(ty.span()=> <#ty as ::dabi_sdk::read::SourceField<#life>>::open);
        quote!(::dabi_sdk::row::open(columns, #position, #name, #open)?)
    });
    let reads = columns.iter().enumerate().map(|(position, column)| {
        let (ident, ty, position) = (column.ident, &column.field.ty, syn::Index::from(position));
        quote_spanned!(ty.span()=>
            #ident: <#ty as ::dabi_sdk::read::SourceField<#life>>::read(&columns.#position, row)?)
    });

    Ok(quote! {
        #[automatically_derived]
        impl<#life> ::dabi_sdk::row::SourceRow<#life> for #struct_name #arguments {
            const TABLE: &'static str = #table;
            const COLUMNS: &'static [::dabi_sdk::declare::InputColumn] = &[#(#declarations),*];
            type Columns = (#(#types,)*);

            fn open(
                columns: &#life [::dabi_sdk::bindings::types::Column],
            ) -> ::core::result::Result<Self::Columns, ::dabi_sdk::bindings::Failure> {
                ::core::result::Result::Ok((#(#opens,)*))
            }

            #[inline(always)]
            fn read(
                columns: &Self::Columns,
                row: usize,
            ) -> ::core::result::Result<Self, ::dabi_sdk::RowError> {
                ::core::result::Result::Ok(Self { #(#reads,)* })
            }
        }
    })
}

fn table(input: &DeriveInput) -> Result<LitStr, Error> {
    let table = Arguments::parse(&input.attrs, "source", &["table"], &[])?
        .and_then(|arguments| arguments.text("table").cloned())
        .ok_or_else(|| {
            Error::new_spanned(
                &input.ident,
                "which table does it come from? Write #[source(table = \"schema.table\")] on the struct",
            )
        })?;
    match table.value().split_once('.') {
        Some((schema, name)) if !schema.is_empty() && !name.is_empty() => Ok(table),
        _ => {
            Err(Error::new_spanned(table, "a source table is written schema.table, for example shop.orders"))
        }
    }
}

impl<'a> Column<'a> {
    fn of(field: &'a Field) -> Result<Self, Error> {
        let Some(ident) = &field.ident else {
            return Err(Error::new_spanned(field, "a column needs a name"));
        };
        column_type::check(&field.ty)?;
        let arguments = Arguments::parse(&field.attrs, "column", &["name", "unit", "decimal", "bytes"], &[])?
            .unwrap_or_default();
        let name =
            arguments.text("name").cloned().unwrap_or_else(|| LitStr::new(&unraw(ident), ident.span()));
        Ok(Self { field, ident, name, options: reading_options(&arguments)? })
    }

    fn declaration(&self, life: &Lifetime) -> TokenStream {
        let (name, ty) = (&self.name, &self.field.ty);
        let options = self.options.iter().map(|(name, value)| quote!((#name, #value)));
        quote_spanned! {ty.span()=>
            ::dabi_sdk::declare::InputColumn {
                name: #name,
                data_type: <#ty as ::dabi_sdk::read::SourceField<#life>>::TYPE,
                nullable: <#ty as ::dabi_sdk::read::SourceField<#life>>::NULLABLE,
                options: &[#(#options),*],
            }
        }
    }
}
