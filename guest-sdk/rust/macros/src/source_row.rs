//! `#[derive(SourceRow)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Field, Ident, Lifetime, LitStr, Type};

use crate::attributes::{
    Arguments, Text, check_distinct, lifetime, missing, named_fields, names, reading_options, unraw,
    with_static_lifetimes,
};
use crate::column_type;

const WHAT: &str = "a source row";

/// What a field stands for.
enum Part<'a> {
    Column(Column<'a>),
    Lookup(Lookup<'a>),
}

struct Column<'a> {
    field: &'a Field,
    ident: &'a Ident,
    name: LitStr,
    options: Vec<(&'static str, LitStr)>,
}

/// A row of another table.
struct Lookup<'a> {
    field: &'a Field,
    ident: &'a Ident,
    on: Vec<Text>,
    missing: Option<TokenStream>,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream, Error> {
    let (mut columns, mut lookups) = (Vec::new(), Vec::new());
    for field in named_fields(input, WHAT)? {
        match Part::of(field)? {
            Part::Column(column) => columns.push(column),
            Part::Lookup(lookup) => lookups.push(lookup),
        }
    }
    let names: Vec<(String, Span)> =
        columns.iter().map(|column| (column.name.value(), column.name.span())).collect();
    check_distinct(names.iter().map(|(name, span)| (name.as_str(), *span)))?;
    let (table, key) = table(input)?;

    let struct_name = &input.ident;
    let own_lifetime = lifetime(input, WHAT)?;
    let fresh = Lifetime::new("'batch", Span::call_site());
    let life = own_lifetime.unwrap_or(&fresh);
    let arguments = own_lifetime.map(|life| quote!(<#life>));

    let declarations = columns.iter().map(|column| column.declaration(life));
    let lookup_declarations = lookups.iter().map(|lookup| lookup.declaration(life));
    let checks = lookups.iter().map(Lookup::check);
    let use_of_lookups = use_of(struct_name, own_lifetime, &columns, &lookups);
    let fields = columns
        .iter()
        .map(|column| (column.ident, &column.field.ty, quote!(::dabi_sdk::read::SourceField)))
        .chain(
            lookups
                .iter()
                .map(|lookup| (lookup.ident, &lookup.field.ty, quote!(::dabi_sdk::lookup::LookupField))),
        );
    let types =
        fields.clone().map(|(_, ty, field)| quote_spanned!(ty.span()=> <#ty as #field<#life>>::Columns));
    let opens = columns.iter().map(|column| {
        let (ty, name) = (&column.field.ty, &column.name);
        let open = quote_spanned!(ty.span()=> <#ty as ::dabi_sdk::read::SourceField<#life>>::open);
        quote!(batch.next(#name, #open)?)
    });
    let lookup_opens = lookups.iter().map(|lookup| {
        let ty = &lookup.field.ty;
        quote_spanned!(ty.span()=> <#ty as ::dabi_sdk::lookup::LookupField<#life>>::open(batch)?)
    });
    let reads = fields.enumerate().map(|(position, (ident, ty, field))| {
        let position = syn::Index::from(position);
        quote_spanned!(ty.span()=> #ident: <#ty as #field<#life>>::read(&columns.#position, row)?)
    });

    Ok(quote! {
        #(#checks)*

        #[automatically_derived]
        impl<#life> ::dabi_sdk::row::SourceRow<#life> for #struct_name #arguments {
            const TABLE: &'static str = #table;
            const KEY: &'static [&'static str] = &[#(#key),*];
            const COLUMNS: &'static [::dabi_sdk::declare::InputColumn] = &[#(#declarations),*];
            const LOOKUPS: &'static [::dabi_sdk::declare::Lookup] = &[#(#lookup_declarations),*];
            type Columns = (#(#types,)*);

            #[allow(unused_variables)]
            fn open(
                batch: &mut ::dabi_sdk::row::Cursor<#life>,
            ) -> ::core::result::Result<Self::Columns, ::dabi_sdk::bindings::Failure> {
                ::core::result::Result::Ok((#(#opens,)* #(#lookup_opens,)*))
            }

            #[inline(always)]
            #[allow(unused_variables)]
            fn read(
                columns: &Self::Columns,
                row: usize,
            ) -> ::core::result::Result<Self, ::dabi_sdk::RowError> {
                ::core::result::Result::Ok(Self { #(#reads,)* })
            }
        }

        #use_of_lookups
    })
}

/// Two kinds of fields have a use that the compiler does not see, which is no
/// reason for a warning: a looked-up row of which columns are passed on, and the
/// column that tells an optional looked-up row from a missing one.
fn use_of(
    name: &Ident,
    life: Option<&Lifetime>,
    columns: &[Column<'_>],
    lookups: &[Lookup<'_>],
) -> TokenStream {
    let required = columns.iter().find(|column| !is_option(&column.field.ty)).map(|column| column.ident);
    let idents = required.into_iter().chain(lookups.iter().map(|lookup| lookup.ident));
    let arguments = life.map(|life| quote!(<#life>));
    quote! {
        #[allow(dead_code, unused_variables)]
        const _: () = {
            fn use_of #arguments(row: &#name #arguments) {
                #(_ = &row.#idents;)*
            }
        };
    }
}

fn is_option(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Option")
}

/// The table's name, and its key if it is given.
fn table(input: &DeriveInput) -> Result<(LitStr, Vec<Text>), Error> {
    let arguments = Arguments::parse(&input.attrs, "source", &["table", "key"], &[])?.unwrap_or_default();
    let table = arguments.text("table").cloned().ok_or_else(|| {
        Error::new_spanned(
            &input.ident,
            "which table does it come from? Write #[source(table = \"schema.table\")] on the struct",
        )
    })?;
    let key = arguments.text("key").map(names).transpose()?.unwrap_or_default();
    match table.value().split_once('.') {
        Some((schema, name)) if !schema.is_empty() && !name.is_empty() => Ok((table, key)),
        _ => {
            Err(Error::new_spanned(table, "a source table is written schema.table, for example shop.orders"))
        }
    }
}

impl<'a> Part<'a> {
    fn of(field: &'a Field) -> Result<Self, Error> {
        let Some(ident) = &field.ident else {
            return Err(Error::new_spanned(field, "a column needs a name"));
        };
        let column = Arguments::parse(&field.attrs, "column", &["name", "unit", "decimal", "bytes"], &[])?;
        let lookup = Arguments::parse(&field.attrs, "lookup", &["on", "missing"], &[])?;
        match (column, lookup) {
            (Some(_), Some(_)) => Err(Error::new_spanned(
                ident,
                "a field is a column or a row that is looked up: take #[column] or #[lookup] away",
            )),
            (_, Some(arguments)) => Lookup::of(field, ident, &arguments).map(Self::Lookup),
            (column, None) => Column::of(field, ident, &column.unwrap_or_default()).map(Self::Column),
        }
    }
}

impl<'a> Column<'a> {
    fn of(field: &'a Field, ident: &'a Ident, arguments: &Arguments) -> Result<Self, Error> {
        column_type::check(&field.ty)?;
        let name =
            arguments.text("name").cloned().unwrap_or_else(|| LitStr::new(&unraw(ident), ident.span()));
        Ok(Self { field, ident, name, options: reading_options(arguments)? })
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

impl<'a> Lookup<'a> {
    fn of(field: &'a Field, ident: &'a Ident, arguments: &Arguments) -> Result<Self, Error> {
        let on = arguments.text("on").ok_or_else(|| {
            Error::new_spanned(
                ident,
                format!(
                    "by which columns is it found? Write #[lookup(on = \"{}_id\")], naming columns of this row's \
                     own table",
                    unraw(ident)
                ),
            )
        })?;
        if on.value().contains('.') {
            return Err(Error::new_spanned(
                on,
                "`on` names columns of this row's own table: put the lookup into the struct of the row whose column \
                 it needs",
            ));
        }
        Ok(Self { field, ident, on: names(on)?, missing: missing(arguments)? })
    }

    fn declaration(&self, life: &Lifetime) -> TokenStream {
        let (name, ty, on) = (unraw(self.ident), &self.field.ty, &self.on);
        let hold = quote!(::dabi_sdk::declare::Missing::Hold);
        let missing = self.missing.as_ref().unwrap_or(&hold);
        let of = quote_spanned!(ty.span()=> ::dabi_sdk::declare::Lookup::of::<#life, #ty>);
        quote!(#of(#name, &[#(#on),*], #missing))
    }

    fn check(&self) -> TokenStream {
        let ty = with_static_lifetimes(self.field.ty.to_token_stream());
        let (name, on, gives_missing) = (unraw(self.ident), &self.on, self.missing.is_some());
        quote_spanned! {self.field.ty.span()=>
            const _: () = ::dabi_sdk::declare::check_lookup::<#ty>(#name, &[#(#on),*], #gives_missing);
        }
    }
}
