//! Every version of every product, for `order_products` to refer to.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.products")]
struct Product<'a> {
    name: &'a str,
}

/// One row per version of a product.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "dim_products", kind = "scd2")]
struct DimProduct<'a> {
    #[key]
    product_id: Passed<i32>,
    name: &'a str,
}

#[dabi_sdk::transform]
fn product_versions(product: Product) -> DimProduct {
    DimProduct { product_id: passed(), name: product.name }
}
