//! Rows of the synthetic table `shop.order_items`: twelve columns, primary key
//! (order_id, line_no), REPLICA IDENTITY DEFAULT.
//!
//! Owns the values and their JSON. Does not own the envelope around them.
//!
//! Invariant: a row is a pure function of the seed, its key and how often it
//! was updated, so that nobody has to remember rows.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat};

/// The primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The order, from 1.
    pub order_id: u32,
    /// The line of the order, from 1.
    pub line_no: u8,
}

/// One row.
#[derive(Clone, Debug)]
pub struct OrderItem {
    key: Key,
    product_id: u32,
    warehouse_id: u32,
    quantity: u32,
    unit_price_cents: i64,
    gift: bool,
    sku: u32,
    title: &'static str,
    size: &'static str,
    note: Option<&'static str>,
    placed_at_us: i64,
    updated_at_us: i64,
}

/// As JSON text. About one in four holds an escape or a character beyond
/// ASCII, as the product names of a European grocer do.
const TITLES: [&str; 16] = [
    "Organic Whole Milk",
    "Bag of Organic Bananas",
    "Crème Brûlée, Twin Pack",
    "Sparkling Water Grapefruit",
    "Extra \\\"Strong\\\" Espresso Beans",
    "Honeycrisp Apple",
    "抹茶ラテ Matcha Latte",
    "Free & Clear Dish Soap",
    "Unsweetened Original Almond Breeze",
    "Jalapeño Hummus",
    "Aged White Cheddar Popcorn",
    "Large Lemon",
    "Sourdough Bread, Sliced",
    "Total 2% Greek Yogurt",
    "Baby Spinach, Triple Washed",
    "Cucumber Kirby",
];
const SIZES: [&str; 8] = ["small", "medium", "large", "family", "500 g", "1 kg", "6 x 330 ml", "single"];
const NOTES: [&str; 6] = [
    "leave at the door",
    "no substitutes, please",
    "ring twice:\\n\\\"Müller\\\", 3rd floor",
    "fragile",
    "ripe ones if you have them 🍌",
    "replaces the item that was missing in the last delivery",
];
/// One row in three has a note.
const NOTE_OF_256: u8 = 85;
const GIFT_OF_256: u8 = 20;

/// Orders are placed from here on (2025-01-01), about a second apart.
const FIRST_ORDER_AT_US: i64 = 1_735_689_600_000_000;
const ORDER_EVERY_US: i64 = 1_000_003;

impl OrderItem {
    /// The row of `key` after `updates` updates, written at `updated_at_us`
    /// (µs since 1970).
    #[must_use]
    pub fn new(seed: u64, key: Key, updates: u32, updated_at_us: i64) -> Self {
        let identity = u64::from(key.order_id) << 8 | u64::from(key.line_no);
        let mut of_key = fastrand::Rng::with_seed(seed ^ identity);
        let product_id = of_key.u32(1..50_000);
        let gift = of_key.u8(..) < GIFT_OF_256;
        let mut of_product = fastrand::Rng::with_seed(product_id.into());
        let mut of_version = fastrand::Rng::with_seed(of_key.u64(..).wrapping_add(updates.into()));
        Self {
            key,
            product_id,
            warehouse_id: of_version.u32(1..40),
            quantity: of_version.u32(1..13),
            unit_price_cents: of_product.i64(49..20_000),
            gift,
            sku: of_product.u32(..),
            title: TITLES[of_product.usize(..TITLES.len())],
            size: SIZES[of_product.usize(..SIZES.len())],
            note: (of_version.u8(..) < NOTE_OF_256).then(|| NOTES[of_version.usize(..NOTES.len())]),
            placed_at_us: FIRST_ORDER_AT_US + i64::from(key.order_id) * ORDER_EVERY_US,
            updated_at_us,
        }
    }

    /// The column `quantity`.
    #[must_use]
    pub fn quantity(&self) -> u32 {
        self.quantity
    }

    /// Appends the row as Connect's JsonConverter writes it.
    pub fn render(&self, json: &mut String) {
        let Key { order_id, line_no } = self.key;
        let Self { product_id, warehouse_id, quantity, gift, sku, title, size, updated_at_us, .. } = self;
        let unit_price = decimal(self.unit_price_cents);
        let placed_at = zoned_timestamp(self.placed_at_us);
        write!(
            json,
            r#"{{"order_id":{order_id},"line_no":{line_no},"product_id":{product_id},"warehouse_id":{warehouse_id},"quantity":{quantity},"unit_price":"{unit_price}","gift":{gift},"sku":"SKU-{sku:010}","title":"{title} ({size})","note":"#,
        )
        .expect("writing to a string");
        match self.note {
            Some(note) => write!(json, "\"{note}\""),
            None => write!(json, "null"),
        }
        .expect("writing to a string");
        write!(json, r#","placed_at":"{placed_at}","updated_at":{updated_at_us}}}"#)
            .expect("writing to a string");
    }

    /// Appends what PostgreSQL lets Debezium know of a deleted row under
    /// REPLICA IDENTITY DEFAULT: the key, and invented values for the columns
    /// that are NOT NULL.
    pub fn render_deleted(key: Key, json: &mut String) {
        let Key { order_id, line_no } = key;
        write!(
            json,
            r#"{{"order_id":{order_id},"line_no":{line_no},"product_id":0,"warehouse_id":0,"quantity":0,"unit_price":"AA==","gift":false,"sku":"","title":"","note":null,"placed_at":"1970-01-01T00:00:00.000000Z","updated_at":0}}"#,
        )
        .expect("writing to a string");
    }
}

/// The unscaled value as Connect's `Decimal` does it: base64 of the shortest
/// big-endian two's complement.
fn decimal(unscaled: i64) -> String {
    let bytes = unscaled.to_be_bytes();
    let spare = |&at: &usize| {
        let (byte, next) = (bytes[at], bytes[at + 1]);
        (byte == 0 && next < 0x80) || (byte == 0xff && next >= 0x80)
    };
    let from = (0..bytes.len() - 1).take_while(spare).count();
    BASE64_STANDARD.encode(&bytes[from..])
}

fn zoned_timestamp(us: i64) -> String {
    let time = DateTime::from_timestamp_micros(us).expect("times of the workload are within chrono's range");
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_the_shortest_twos_complement() {
        // The first three stand in the captures of a real connector.
        for (unscaled, text) in [(69_501, "AQ99"), (44_354, "AK1C"), (125, "fQ=="), (0, "AA=="), (-1, "/w==")]
        {
            assert_eq!(decimal(unscaled), text, "{unscaled}");
        }
    }

    #[test]
    fn a_row_is_valid_json_with_twelve_columns() {
        for order_id in 1..2000 {
            let mut json = String::new();
            OrderItem::new(7, Key { order_id, line_no: 2 }, order_id % 3, 1).render(&mut json);
            let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
            assert_eq!(row.len(), 12);
            json.clear();
            OrderItem::render_deleted(Key { order_id, line_no: 2 }, &mut json);
            let deleted: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
            assert!(row.keys().eq(deleted.keys()));
        }
    }
}
