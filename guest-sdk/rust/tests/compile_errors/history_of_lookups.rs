use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.aisles")]
struct Aisle {
    aisle: String,
}

#[derive(SourceRow)]
#[source(table = "public.products")]
struct Product {
    #[lookup(on = "aisle_id")]
    aisle: Aisle,
}

#[derive(StarRow)]
#[star(table = "dim_products", kind = "scd2")]
struct Unmarked {
    #[key]
    product_id: Passed<i64>,
    shelf: String,
}

#[derive(StarRow)]
#[star(table = "dim_products", kind = "scd2")]
struct Marked {
    #[key]
    product_id: Passed<i64>,
    #[column(from = "aisle.aisle", tracked)]
    aisle: Passed<String>,
}

#[derive(StarRow)]
#[star(table = "dim_products", kind = "scd2")]
struct ComputedKey {
    #[key]
    product_key: i64,
}

#[derive(StarRow)]
#[star(table = "product_changes", kind = "append")]
struct Change {
    #[key]
    product_id: Passed<i64>,
}

#[dabi_sdk::transform]
fn unmarked(_: Product) -> Option<Unmarked> {
    None
}

#[dabi_sdk::transform]
fn marked(_: Product) -> Option<Marked> {
    None
}

#[dabi_sdk::transform]
fn computed_key(_: Product) -> Option<ComputedKey> {
    None
}

#[dabi_sdk::transform]
fn change(_: Product) -> Option<Change> {
    None
}

#[dabi_sdk::transform]
fn several(_: Product) -> Vec<ComputedKey> {
    Vec::new()
}

fn main() {}
