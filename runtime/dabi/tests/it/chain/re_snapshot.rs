//! Case 14: the connector is gone with all that it remembered, rows are deleted
//! meanwhile, and its successor takes the snapshot again.

use std::time::Duration;

use super::{Chain, LIMIT, close};
use crate::support::wait_until;

/// What happens while nobody listens. Every deletion is one that a later event
/// of the row cannot show, for there is none.
const OFFLINE: &str = "
BEGIN;
DELETE FROM order_products WHERE order_id % 3 = 0;
DELETE FROM orders WHERE order_id % 3 = 0;
DELETE FROM order_products WHERE product_id IN (SELECT product_id FROM products WHERE aisle_id = 3);
DELETE FROM products WHERE aisle_id = 3;
DELETE FROM aisles WHERE aisle_id = 3;
UPDATE products SET department_id = 1 WHERE department_id = 2;
DELETE FROM departments WHERE department_id = 2;
DELETE FROM users WHERE user_id > 1 AND user_id NOT IN (SELECT user_id FROM orders);
COMMIT;

BEGIN;
UPDATE orders SET tip_given = tip_given IS NOT TRUE WHERE order_id % 7 = 1;
UPDATE products SET product_name = product_name || ', organic' WHERE product_id % 11 = 1;
UPDATE products SET aisle_id = 1001 WHERE aisle_id = 1;
UPDATE aisles SET aisle_id = 1001 WHERE aisle_id = 1;
INSERT INTO users (user_id) VALUES (900000001);
INSERT INTO orders (order_id, user_id, order_date, tip_given) VALUES (900000001, 900000001, now(), true);
COMMIT;

BEGIN;
CREATE TEMP TABLE back ON COMMIT DROP AS SELECT * FROM order_products ORDER BY order_id, product_id LIMIT 20;
DELETE FROM order_products WHERE (order_id, product_id) IN (SELECT order_id, product_id FROM back);
INSERT INTO order_products SELECT * FROM back;
COMMIT;
";

/// A user who was there before and still is: the second snapshot reads it again.
const STAYS: i64 = 1;

#[test]
fn rows_that_were_deleted_offline_are_gone_once_the_snapshot_is_taken_again() {
    let chain = Chain::start();
    let mut shop = chain.open_shop();
    let mut dabi = chain.start_dabi(60);
    close(&mut shop);
    // All of it is in the star before the first deletion.
    let orders = chain.number("SELECT count(*) FROM orders");
    wait_until("the star has every order", LIMIT, || chain.star("SELECT count() FROM f_orders") == orders);
    let tables = ["orders", "order_products", "products", "aisles", "departments", "users"];
    let rows = || tables.map(|table| chain.number(&format!("SELECT count(*) FROM {table}")));
    let before = rows();

    chain.connect.forget(&chain.postgres);
    chain.postgres.query(OFFLINE);
    let after = rows();
    let fewer = |(before, after): (i64, i64)| after < before;
    assert!(before.into_iter().zip(after).all(fewer), "rows went: {tables:?} had {before:?}, have {after:?}");

    // The second snapshot is taken while rows change, too.
    let mut shop = chain.open_shop();
    chain.connect.register();
    chain.wait_until_debezium_reads_on();
    std::thread::sleep(Duration::from_secs(2));
    close(&mut shop);
    chain.come_to_rest(&mut dabi, STAYS);
}
