//! `#[transform]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericParam, ItemFn, ReturnType};

use crate::attributes::with_static_lifetimes;

const SHAPE: &str = "a transform is `fn name(row: SourceRow) -> StarRow`";

pub(crate) fn expand(arguments: &TokenStream, function: &ItemFn) -> Result<TokenStream, Error> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "#[transform] takes no arguments"));
    }
    let signature = &function.sig;
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(asyncness, "a transform cannot be async: it waits for nothing"));
    }
    if let Some(param) =
        signature.generics.params.iter().find(|param| !matches!(param, GenericParam::Lifetime(_)))
    {
        return Err(Error::new_spanned(param, "a transform cannot be generic over types or constants"));
    }
    let mut inputs = signature.inputs.iter();
    let (Some(FnArg::Typed(row)), None) = (inputs.next(), inputs.next()) else {
        return Err(Error::new_spanned(&signature.ident, format!("{SHAPE}: it takes one row")));
    };
    let ReturnType::Type(_, answer) = &signature.output else {
        return Err(Error::new_spanned(&signature.ident, format!("{SHAPE}: it returns a star row")));
    };

    let source = with_static_lifetimes(row.ty.to_token_stream());
    let star = with_static_lifetimes(answer.to_token_stream());
    let source = quote_spanned!(row.ty.span()=> #source);
    let star = quote_spanned!(answer.span()=> #star);
    let name = &signature.ident;
    Ok(quote! {
        // A transform is given its row, whether or not it keeps parts of it.
        #[allow(clippy::needless_pass_by_value)]
        #function

        const _: () = ::dabi_sdk::declare::check::<#source, #star>();

        ::dabi_sdk::__export!(#name);
    })
}
