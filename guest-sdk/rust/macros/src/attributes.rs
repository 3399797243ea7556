//! Reading the struct, its fields and their attributes.

use std::collections::BTreeMap;

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Field, Fields, GenericParam, Ident, Lifetime, Lit, LitStr,
    Meta,
};

/// The named fields of a struct, perhaps none; anything else is refused.
pub(crate) fn named_fields<'a>(input: &'a DeriveInput, what: &str) -> Result<Vec<&'a Field>, Error> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(fields.named.iter().collect()),
            Fields::Unit => Ok(Vec::new()),
            Fields::Unnamed(_) => {
                Err(Error::new_spanned(&input.ident, format!("{what} needs named fields, one per column")))
            }
        },
        _ => Err(Error::new_spanned(&input.ident, format!("{what} is a struct"))),
    }
}

/// The one lifetime that a row may borrow from the batch with.
pub(crate) fn lifetime<'a>(input: &'a DeriveInput, what: &str) -> Result<Option<&'a Lifetime>, Error> {
    let mut lifetime = None;
    for param in &input.generics.params {
        match param {
            GenericParam::Lifetime(param) if lifetime.is_none() => lifetime = Some(&param.lifetime),
            GenericParam::Lifetime(param) => {
                return Err(Error::new_spanned(
                    param,
                    format!("{what} borrows from one batch: one lifetime is enough"),
                ));
            }
            _ => {
                return Err(Error::new_spanned(
                    param,
                    format!("{what} cannot be generic over types or constants"),
                ));
            }
        }
    }
    Ok(lifetime)
}

/// A text given in an attribute, with its place.
pub(crate) type Text = LitStr;

/// One attribute's arguments: those with a text and those without.
#[derive(Default)]
pub(crate) struct Arguments {
    texts: BTreeMap<String, Text>,
    flags: BTreeMap<String, Span>,
}

impl Arguments {
    /// All `#[name(…)]` of a list, knowing only the arguments named.
    pub(crate) fn parse(
        attributes: &[Attribute],
        name: &str,
        texts: &[&str],
        flags: &[&str],
    ) -> Result<Option<Self>, Error> {
        let mut found: Option<Self> = None;
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(name)) {
            let arguments = found.get_or_insert_default();
            if matches!(attribute.meta, Meta::Path(_)) {
                continue;
            }
            attribute.parse_nested_meta(|meta| arguments.add(&meta, name, texts, flags))?;
        }
        Ok(found)
    }

    fn add(
        &mut self,
        meta: &ParseNestedMeta<'_>,
        name: &str,
        texts: &[&str],
        flags: &[&str],
    ) -> Result<(), Error> {
        let argument = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
        let is_new = if texts.contains(&argument.as_str()) {
            self.texts.insert(argument.clone(), text_or_name(meta)?).is_none()
        } else if flags.contains(&argument.as_str()) {
            self.flags
                .insert(argument.clone(), meta.path.get_ident().map_or_else(Span::call_site, Ident::span))
                .is_none()
        } else {
            let known: Vec<&str> = texts.iter().chain(flags).copied().collect();
            return Err(meta.error(format!("#[{name}] has no `{argument}`; it knows {}", known.join(", "))));
        };
        if is_new { Ok(()) } else { Err(meta.error(format!("`{argument}` is given twice"))) }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&Text> {
        self.texts.get(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.flags.contains_key(name)
    }
}

/// `= "text"`, or `= name` for what is a name.
fn text_or_name(meta: &ParseNestedMeta<'_>) -> Result<Text, Error> {
    let value: Expr = meta.value()?.parse()?;
    match &value {
        Expr::Lit(literal) if let Lit::Str(text) = &literal.lit => Ok(text.clone()),
        Expr::Path(path) if let Some(name) = path.path.get_ident() => {
            Ok(LitStr::new(&unraw(name), name.span()))
        }
        _ => Err(Error::new_spanned(value, "a text in quotes is wanted here")),
    }
}

/// The names in a text with commas between them, each at the place of the text.
pub(crate) fn names(text: &Text) -> Result<Vec<Text>, Error> {
    let names: Vec<Text> =
        text.value().split(',').map(|name| LitStr::new(name.trim(), text.span())).collect();
    match names.iter().any(|name| name.value().is_empty()) {
        true => Err(Error::new_spanned(text, "names of columns are wanted here, with commas between them")),
        false => Ok(names),
    }
}

/// `missing = "…"`: what becomes of a row for which nothing is found; `None`:
/// it is not said.
pub(crate) fn missing(arguments: &Arguments) -> Result<Option<TokenStream>, Error> {
    let Some(missing) = arguments.text("missing") else { return Ok(None) };
    match missing.value().as_str() {
        "hold" => Ok(Some(quote!(::dabi_sdk::declare::Missing::Hold))),
        "reject" => Ok(Some(quote!(::dabi_sdk::declare::Missing::Reject))),
        "nulls" => Err(Error::new_spanned(missing, "say so by the type: make the field an Option")),
        _ => Err(Error::new_spanned(
            missing,
            "`missing` can be hold (no star row until it is there) or reject (a dead letter until then); for None, \
             make the field an Option",
        )),
    }
}

/// How to read values whose type the wire does not give, and what each option
/// can be.
const READING: [(&str, &[&str]); 3] =
    [("unit", &["ms", "us", "ns"]), ("decimal", &["base64", "string"]), ("bytes", &["base64", "hex"])];

/// The options of a source column.
pub(crate) fn reading_options(arguments: &Arguments) -> Result<Vec<(&'static str, Text)>, Error> {
    let mut options = Vec::new();
    for (name, values) in READING {
        let Some(value) = arguments.text(name) else { continue };
        if !values.contains(&value.value().as_str()) {
            return Err(Error::new_spanned(value, format!("`{name}` can be {}", values.join(", "))));
        }
        options.push((name, value.clone()));
    }
    Ok(options)
}

/// The name of a field as a column name: `r#type` is `type`.
pub(crate) fn unraw(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

/// The first paragraph of the doc comment, on one line.
pub(crate) fn first_paragraph(attributes: &[Attribute]) -> Option<String> {
    let lines =
        attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| {
            match &attribute.meta {
                Meta::NameValue(doc) => match &doc.value {
                    Expr::Lit(literal) if let Lit::Str(text) = &literal.lit => Some(text.value()),
                    _ => None,
                },
                _ => None,
            }
        });
    let lines: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    let paragraph: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty())
        .collect();
    (!paragraph.is_empty()).then(|| paragraph.join(" "))
}

/// Refuses a column name that an earlier field has.
pub(crate) fn check_distinct<'a>(columns: impl IntoIterator<Item = (&'a str, Span)>) -> Result<(), Error> {
    let mut seen = BTreeMap::new();
    for (name, span) in columns {
        if seen.insert(name, ()).is_some() {
            return Err(Error::new(span, format!("column {name} is declared twice")));
        }
    }
    Ok(())
}

/// Constants have no lifetime parameters, so the checks are made for `'static`.
pub(crate) fn with_static_lifetimes(tokens: TokenStream) -> TokenStream {
    let mut after_apostrophe = false;
    tokens
        .into_iter()
        .map(|token| {
            let is_lifetime = std::mem::take(&mut after_apostrophe);
            match token {
                TokenTree::Ident(name) if is_lifetime => Ident::new("static", name.span()).into(),
                TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                    after_apostrophe = true;
                    punct.into()
                }
                TokenTree::Group(group) => {
                    let mut inner = Group::new(group.delimiter(), with_static_lifetimes(group.stream()));
                    inner.set_span(group.span());
                    inner.into()
                }
                other => other,
            }
        })
        .collect()
}
