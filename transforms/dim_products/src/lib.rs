//! Every version of every product.
//!
//! dabi joins aisle and department before the function is called. They show as
//! they are now on every version: what a lookup finds begins none.

use dabi_sdk::prelude::*;

// The long `description` is not asked for: what a connector leaves out of an
// update cannot be missing here.
#[derive(SourceRow)]
#[source(table = "public.products")]
struct Product<'a> {
    product_name: &'a str,
    // A product whose aisle has not arrived yet waits for it.
    #[lookup(on = "aisle_id")]
    aisle: Aisle,
    #[lookup(on = "department_id")]
    department: Option<Department<'a>>,
}

#[derive(SourceRow)]
#[source(table = "public.aisles")]
struct Aisle;

#[derive(SourceRow)]
#[source(table = "public.departments")]
struct Department<'a> {
    department: &'a str,
}

/// Every version of every product.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "dim_products", kind = "scd2")]
struct DimProduct<'a> {
    #[key]
    product_id: Passed<i32>,
    #[column(tracked)]
    product_name: &'a str,
    #[column(tracked)]
    aisle_id: Passed<i32>,
    #[column(tracked)]
    department_id: Passed<i32>,
    #[column(from = "aisle.aisle", low_cardinality)]
    aisle: Passed<String>,
    #[column(low_cardinality)]
    department: &'a str,
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
        aisle: passed(),
        department: product.department.map_or("none", |found| found.department),
        is_organic: product.product_name.to_lowercase().contains("organic"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star<'a>(product_name: &'a str, department: Option<&'a str>) -> DimProduct<'a> {
        let department = department.map(|department| Department { department });
        dim_products(Product { product_name, aisle: Aisle, department })
    }

    #[test]
    fn organic_is_what_says_so() {
        let is_organic = |product_name| star(product_name, None).is_organic;
        assert!(is_organic("Organic Apples, Large"));
        assert!(is_organic("Apples (organic)"));
        assert!(!is_organic("Ripe Apples, 2 pack"));
    }

    #[test]
    fn a_department_that_is_gone_is_none() {
        assert_eq!(star("tea", Some("pantry")).department, "pantry");
        assert_eq!(star("tea", None).department, "none");
    }
}
