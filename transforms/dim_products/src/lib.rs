//! One row per product, as it is now.

use dabi_sdk::prelude::*;

// The long `description` is not asked for: what a connector leaves out of an
// update cannot be missing here.
#[derive(SourceRow)]
#[source(table = "public.products")]
struct Product<'a> {
    product_name: &'a str,
}

/// One row per product, as it is now.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "dim_products")]
struct DimProduct<'a> {
    #[key]
    product_id: Passed<i32>,
    product_name: &'a str,
    aisle_id: Passed<i32>,
    department_id: Passed<i32>,
    /// Does the name say so?
    is_organic: bool,
}

#[dabi_sdk::transform]
fn dim_products(product: Product) -> DimProduct {
    DimProduct {
        product_id: passed(),
        product_name: product.product_name,
        aisle_id: passed(),
        department_id: passed(),
        is_organic: product.product_name.to_lowercase().contains("organic"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organic_is_what_says_so() {
        let is_organic = |product_name| dim_products(Product { product_name }).is_organic;
        assert!(is_organic("Organic Apples, Large"));
        assert!(is_organic("Apples (organic)"));
        assert!(!is_organic("Ripe Apples, 2 pack"));
    }
}
