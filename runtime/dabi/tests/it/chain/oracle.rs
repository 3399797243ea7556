//! After PostgreSQL has come to rest and dabi has caught up: the star equals SQL
//! over PostgreSQL, the lake folds to its tables, every event is there once.

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use dabi_core::change::ChangeBatch;
use dabi_core::table::SourceTable;
use dabi_fixtures::{Difference, Table, Truth};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, Producer};

use super::{Chain, LAKE, LIMIT};
use crate::support::block_on;
use crate::support::lake::{doubled, events, folded, manifests, unaccounted};

/// The views of the star, each with its key; each is a transform of that name.
pub(super) const MARKED: [(&str, &str); 5] = [
    ("f_orders", "order_id"),
    ("dim_products", "product_id"),
    ("dim_users", "user_id"),
    ("dim_aisles", "aisle_id"),
    ("dim_departments", "department_id"),
];

/// A view, its key, its columns as PostgreSQL would have them, and what they are
/// in the source's own SQL.
const STAR: [(&str, &str, &str, &str); 5] = [
    (
        "f_orders",
        "order_id",
        "order_id bigint, user_id bigint, order_date timestamptz, date_key integer, day_part text, \
         is_tip_given boolean",
        "SELECT order_id, user_id, order_date, to_char(order_date, 'YYYYMMDD')::integer AS date_key, \
                CASE WHEN extract(hour FROM order_date) < 6 THEN 'night' \
                     WHEN extract(hour FROM order_date) < 12 THEN 'morning' \
                     WHEN extract(hour FROM order_date) < 18 THEN 'afternoon' \
                     ELSE 'evening' END AS day_part, \
                tip_given IS TRUE AS is_tip_given \
         FROM orders",
    ),
    (
        "dim_products",
        "product_id",
        "product_id integer, product_name text, aisle_id integer, department_id integer, is_organic boolean, \
         is_current boolean",
        "SELECT product_id, product_name, aisle_id, department_id, product_name ILIKE '%organic%' AS is_organic, \
                true AS is_current \
         FROM products",
    ),
    ("dim_users", "user_id", "user_id bigint, is_current boolean", "SELECT *, true AS is_current FROM users"),
    ("dim_aisles", "aisle_id", "aisle_id integer, aisle text", "TABLE aisles"),
    ("dim_departments", "department_id", "department_id integer, department text", "TABLE departments"),
];

/// The source's tables: name, key, columns.
const TABLES: [(&str, &str, &str); 6] = [
    ("departments", "department_id", "department_id integer, department text"),
    ("aisles", "aisle_id", "aisle_id integer, aisle text"),
    ("users", "user_id", "user_id bigint"),
    (
        "products",
        "product_id",
        "product_id integer, product_name text, aisle_id integer, department_id integer, description text",
    ),
    ("orders", "order_id", "order_id bigint, user_id bigint, order_date timestamptz, tip_given boolean"),
    (
        "order_products",
        "order_id, product_id",
        "order_id bigint, product_id integer, add_to_cart_order integer",
    ),
];

const DIFFERENCES_SHOWN: usize = 10;

/// Holds star and lake against PostgreSQL. `witness` is a user whose event was
/// sent twice.
pub(super) fn check(chain: &Chain, witness: i64) {
    let mut failures = String::new();
    for (view, key, columns, sql) in STAR {
        let truth = truth(chain, Table::new(view, key, columns), sql);
        let names: Vec<_> = truth.table().all_columns();
        let list: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        // Of a dimension with history PostgreSQL tells the rows as they are now.
        let only = if list.contains(&"is_current") { " WHERE is_current" } else { "" };
        let rows =
            chain.clickhouse.query_arrow(&format!("SELECT {} FROM dabi.{view}{only}", list.join(", ")));
        failures += &lines("star", &truth, &truth.differences(&rows, &names));
    }
    let dead = chain.clickhouse.query("SELECT source, code, message FROM dabi._dead_letters LIMIT 10");
    if !dead.is_empty() {
        failures += &format!("dead letters: {dead}");
    }
    failures += &check_lake(chain, witness);
    assert!(failures.is_empty(), "{failures}");
}

fn check_lake(chain: &Chain, witness: i64) -> String {
    let lake = chain.minio.lake(LAKE);
    let manifests = block_on(manifests(&lake));
    let mut failures = String::new();
    for (name, key, columns) in TABLES {
        let topic = format!("cdc.public.{name}");
        failures += &unaccounted(&manifests, &topic, records_in_kafka(chain, &topic));
        let source = SourceTable::new("public", name);
        let events = block_on(events(&lake, &source));
        failures += &doubled(&events);
        let truth = truth(chain, Table::new(name, key, columns), &format!("TABLE {name}"));
        let rows = folded(source, &events, truth.table());
        failures +=
            &lines("fold of the lake", &truth, &truth.differences(&rows, &truth.table().all_columns()));
        if name == "users" {
            let seen =
                events.iter().flat_map(|batch| user_ids(batch).values()).filter(|id| **id == witness).count();
            assert!(seen >= 2, "the event of user {witness} was to come again, and is there {seen} times");
        }
    }
    failures
}

fn user_ids(events: &ChangeBatch) -> &Int64Array {
    let column = events.record_batch().column_by_name("user_id").expect("users have an id");
    column.as_primitive::<Int64Type>()
}

fn truth(chain: &Chain, table: Table, sql: &str) -> Truth {
    let copy = format!("COPY ({sql}) TO STDOUT (FORMAT csv, HEADER, NULL '\\N')");
    let truth = Truth::read(table, &chain.postgres.query(&copy));
    assert!(!truth.is_empty(), "{}: nothing to compare with", truth.table().name);
    truth
}

fn records_in_kafka(chain: &Chain, topic: &str) -> u64 {
    let client: BaseProducer = chain.kafka.client().create().expect("make a client");
    let metadata = client.client().fetch_metadata(Some(topic), LIMIT).expect("Kafka answers");
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    let records = partitions.map(|partition| {
        let (low, high) =
            client.client().fetch_watermarks(topic, partition.id(), LIMIT).expect("Kafka answers");
        assert_eq!(low, 0, "{topic}: nothing has been deleted");
        high.cast_unsigned()
    });
    records.sum()
}

fn lines(what: &str, truth: &Truth, differences: &[Difference]) -> String {
    let mut lines = String::new();
    for difference in differences.iter().take(DIFFERENCES_SHOWN) {
        lines += &format!("{what}, {}: {difference}\n", truth.table().name);
    }
    if differences.len() > DIFFERENCES_SHOWN {
        lines += &format!("{what}, {}: {} differences in all\n", truth.table().name, differences.len());
    }
    lines
}
