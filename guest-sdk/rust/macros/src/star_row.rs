//! `#[derive(StarRow)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Field, Ident, LitStr};

use crate::as_of::AsOf;
use crate::attributes::{
    Arguments, check_distinct, first_paragraph, lifetime, named_fields, reading_options, unraw,
    with_static_lifetimes,
};
use crate::column_type;
use crate::star_table::Table;

const WHAT: &str = "a star row";

pub(crate) struct Column<'a> {
    field: &'a Field,
    ident: &'a Ident,
    pub(crate) name: LitStr,
    pub(crate) is_key: bool,
    pub(crate) is_tracked: bool,
    /// where it is passed on from, if that is said
    from: Option<LitStr>,
    pub(crate) as_of: Option<AsOf>,
    /// how to read the source column, where only this one asks for it
    input_options: Vec<(&'static str, LitStr)>,
    options: Vec<(&'static str, String)>,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream, Error> {
    let columns: Vec<Column<'_>> =
        named_fields(input, WHAT)?.into_iter().map(Column::of).collect::<Result<_, _>>()?;
    let names: Vec<(String, Span)> =
        columns.iter().map(|column| (column.name.value(), column.name.span())).collect();
    check_distinct(names.iter().map(|(name, span)| (name.as_str(), *span)))?;
    let table = Table::of(input)?;
    table.check(&columns)?;
    for column in &columns {
        column.as_of.iter().try_for_each(|as_of| as_of.check(&columns))?;
    }
    if !columns.iter().any(|column| column.is_key) {
        return Err(Error::new_spanned(
            &input.ident,
            format!(
                "{} has no key: put #[key] on the columns that identify a row, for example \
                 `#[key] id: Passed<i64>`",
                table.name.value()
            ),
        ));
    }

    let struct_name = &input.ident;
    let arguments = lifetime(input, WHAT)?.map(|life| quote!(<#life>));
    let declarations = columns.iter().map(Column::declaration);
    let checks = columns.iter().filter_map(Column::passed_check);
    let as_of_checks = columns.iter().filter_map(Column::as_of_check);
    let (table_name, kind, options) = (&table.name, table.kind(), table.options());
    let idents: Vec<&Ident> = columns.iter().map(|column| column.ident).collect();
    let types: Vec<_> = columns.iter().map(|column| &column.field.ty).collect();
    let spans: Vec<Span> = types.iter().map(Spanned::span).collect();
    let positions = (0..columns.len()).map(syn::Index::from).collect::<Vec<_>>();
    let builders = types
        .iter()
        .zip(&spans)
        .map(|(ty, span)| quote_spanned!(*span=> <#ty as ::dabi_sdk::write::StarField>::Builder));
    let starts = types
        .iter()
        .zip(&spans)
        .map(|(ty, span)| quote_spanned!(*span=> <#ty as ::dabi_sdk::write::StarField>::builder(rows)));

    Ok(quote! {
        #(#checks)*
        #(#as_of_checks)*

        #[automatically_derived]
        impl #arguments ::dabi_sdk::row::StarRow for #struct_name #arguments {
            const TABLE: ::dabi_sdk::declare::StarTable = ::dabi_sdk::declare::StarTable {
                name: #table_name,
                kind: #kind,
                columns: &[#(#declarations),*],
                options: &[#(#options),*],
            };
            type Builders = (#(#builders,)*);

            fn builders(rows: usize) -> Self::Builders {
                (#(#starts,)*)
            }

            #[inline(always)]
            fn write(self, builders: &mut Self::Builders) {
                #(<#types as ::dabi_sdk::write::StarField>::write(self.#idents, &mut builders.#positions);)*
            }

            fn finish(builders: Self::Builders) -> ::std::vec::Vec<::dabi_sdk::bindings::types::Column> {
                [#(<#types as ::dabi_sdk::write::StarField>::finish(builders.#positions)),*]
                    .into_iter()
                    .flatten()
                    .collect()
            }
        }
    })
}

impl<'a> Column<'a> {
    fn of(field: &'a Field) -> Result<Self, Error> {
        let Some(ident) = &field.ident else {
            return Err(Error::new_spanned(field, "a column needs a name"));
        };
        column_type::check(&field.ty)?;
        let key = Arguments::parse(&field.attrs, "key", &["from"], &[])?;
        let arguments = Arguments::parse(
            &field.attrs,
            "column",
            &["name", "from", "unit", "decimal", "bytes", "codec", "enum"],
            &["low_cardinality", "tracked"],
        )?
        .unwrap_or_default();
        let as_of = AsOf::of(field)?;
        let key_from = key.as_ref().and_then(|key| key.text("from"));
        if let (Some(_), Some(from)) = (key_from, arguments.text("from")) {
            return Err(Error::new_spanned(from, "`from` is given twice, in #[key] and in #[column]"));
        }
        let mut options: Vec<(&str, String)> = ["codec", "enum"]
            .into_iter()
            .filter_map(|name| arguments.text(name).map(|value| (name, value.value())))
            .collect();
        if arguments.has("low_cardinality") {
            options.push(("low-cardinality", "true".into()));
        }
        options.extend(first_paragraph(&field.attrs).map(|comment| ("comment", comment)));
        if let (Some(as_of), true) = (&as_of, key.is_some() || arguments.text("from").is_some()) {
            return Err(Error::new(
                as_of.span,
                "a version key is found by the columns that #[as_of] names: it is no #[key], and has no `from`",
            ));
        }
        Ok(Self {
            field,
            ident,
            name: arguments.text("name").cloned().unwrap_or_else(|| LitStr::new(&unraw(ident), ident.span())),
            is_key: key.is_some(),
            is_tracked: arguments.has("tracked"),
            from: key_from.or(arguments.text("from")).cloned(),
            as_of,
            input_options: reading_options(&arguments)?,
            options,
        })
    }

    fn declaration(&self) -> TokenStream {
        let (name, ty, is_key, is_tracked) = (&self.name, &self.field.ty, self.is_key, self.is_tracked);
        let source = self.source();
        let input_options = self.input_options.iter().map(|(name, value)| quote!((#name, #value)));
        let options = self.options.iter().map(|(name, value)| quote!((#name, #value)));
        quote_spanned! {ty.span()=>
            ::dabi_sdk::declare::StarColumn {
                name: #name,
                data_type: <#ty as ::dabi_sdk::write::StarField>::TYPE,
                nullable: <#ty as ::dabi_sdk::write::StarField>::NULLABLE,
                key: #is_key,
                tracked: #is_tracked,
                source: #source,
                input_options: &[#(#input_options),*],
                options: &[#(#options),*],
            }
        }
    }

    fn source(&self) -> TokenStream {
        let ty = &self.field.ty;
        if let Some(as_of) = &self.as_of {
            let reference = as_of.declaration(ty);
            return quote!(::dabi_sdk::declare::Source::AsOf(#reference));
        }
        let from = self.from.as_ref().unwrap_or(&self.name);
        quote_spanned! {ty.span()=>
            if <#ty as ::dabi_sdk::write::StarField>::PASSED {
                ::dabi_sdk::declare::Source::Passed(#from)
            } else {
                ::dabi_sdk::declare::Source::Computed
            }
        }
    }

    fn as_of_check(&self) -> Option<TokenStream> {
        let as_of = self.as_of.as_ref()?;
        let ty = with_static_lifetimes(self.field.ty.to_token_stream());
        let (name, gives_missing) = (&self.name, as_of.missing.is_some());
        Some(quote_spanned! {self.field.ty.span()=>
            const _: () = ::dabi_sdk::declare::check_as_of::<#ty>(#name, #gives_missing);
        })
    }

    /// `from` and the like only make sense where the host fills the column.
    fn passed_check(&self) -> Option<TokenStream> {
        let (argument, span) = match (&self.from, self.input_options.first()) {
            (Some(from), _) => ("from", from.span()),
            (None, Some((name, value))) => (*name, value.span()),
            (None, None) => return None,
        };
        let ty = with_static_lifetimes(self.field.ty.to_token_stream());
        let message = format!(
            "`{argument}` is for a column that is passed on from the source row: make the type of `{}` Passed<…>, \
             or take `{argument}` away if the transform computes it",
            self.ident
        );
        Some(quote_spanned!(span=>
            const _: () = ::core::assert!(<#ty as ::dabi_sdk::write::StarField>::PASSED, #message);))
    }
}
