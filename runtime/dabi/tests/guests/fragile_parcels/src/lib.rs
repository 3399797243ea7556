//! Parcels with what became of their orders, some of which break it until it is
//! mended.

use dabi_sdk::prelude::*;

#[path = "../../fragile_orders/src/poison.rs"]
mod poison;

#[derive(SourceRow)]
#[source(table = "shop.parcels")]
struct Parcel<'a> {
    id: i64,
    #[lookup(on = "order_id")]
    order: Option<Order<'a>>,
}

#[derive(SourceRow)]
#[source(table = "shop.orders", key = "id")]
struct Order<'a> {
    status: &'a str,
}

/// One row per parcel.
#[derive(StarRow)]
#[star(table = "f_parcels")]
struct FParcel<'a> {
    #[key]
    id: Passed<i64>,
    order_id: Passed<Option<i64>>,
    #[column(from = "order.customer_id")]
    customer_id: Passed<Option<i64>>,
    status: Option<&'a str>,
}

#[dabi_sdk::transform]
fn fragile_parcels(parcel: Parcel) -> FParcel {
    FParcel {
        id: passed(),
        order_id: passed(),
        customer_id: passed(),
        status: poison::taste(parcel.id).or(parcel.order.map(|order| order.status)),
    }
}
