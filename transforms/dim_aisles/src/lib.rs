//! One row per aisle, as it is now.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.aisles")]
struct Aisle<'a> {
    aisle: &'a str,
}

/// One row per aisle, as it is now.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "dim_aisles")]
struct DimAisle<'a> {
    #[key]
    aisle_id: Passed<i32>,
    aisle: &'a str,
}

#[dabi_sdk::transform]
fn dim_aisles(aisle: Aisle) -> DimAisle {
    DimAisle { aisle_id: passed(), aisle: aisle.aisle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_kept() {
        assert_eq!(dim_aisles(Aisle { aisle: "dairy" }).aisle, "dairy");
    }
}
