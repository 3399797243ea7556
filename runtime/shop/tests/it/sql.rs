//! `dabi-shop sql` on a real PostgreSQL.

use dabi_shop::{Micros, Settings, Shop, Table, Value};

use crate::postgres::{Postgres, ShopProcess, wait_until};

const SMALL: [&str; 8] = ["--users", "50", "--products", "120", "--orders", "60", "--orders-max", "200"];

fn shop(postgres: &Postgres, arguments: &[&str]) -> ShopProcess {
    ShopProcess::start(postgres, &[&SMALL, arguments].concat())
}

fn succeed(process: ShopProcess) -> String {
    let (status, said) = process.end();
    assert!(status.success(), "{status}: {said}");
    said
}

/// The rows of `table` as texts, without the times, which are the clock's.
fn held(postgres: &Postgres, table: Table) -> Vec<String> {
    let columns = table.columns().iter().filter(|column| column.name != "order_date");
    let columns: Vec<String> =
        columns.map(|column| format!("coalesce({}::text, '∅')", column.name)).collect();
    let mut rows =
        postgres.rows(&format!("SELECT concat_ws('|', {}) FROM {}", columns.join(", "), table.name()));
    rows.sort_unstable();
    rows
}

fn expected(shop: &Shop, table: Table) -> Vec<String> {
    let rows = shop.tables().rows(table);
    let mut rows: Vec<String> = rows
        .iter()
        .map(|row| {
            let texts = row.values().into_iter().filter_map(|value| match value {
                Value::Null => Some("∅".to_owned()),
                Value::Integer(number) => Some(number.to_string()),
                Value::Boolean(flag) => Some(flag.to_string()),
                Value::Text(text) => Some(text.to_owned()),
                Value::Timestamp(_) => None,
            });
            texts.collect::<Vec<_>>().join("|")
        })
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
fn the_database_holds_what_the_shop_in_memory_holds() {
    let postgres = Postgres::start();
    let said = succeed(shop(&postgres, &["--rate", "0", "--transactions", "800", "--seed", "5"]));
    assert!(said.contains("wrote 800 transactions"), "{said}");
    let settings = Settings { users: 50, products: 120, orders: 60, orders_max: 200, history: &[] };
    let mut memory = Shop::new(5, settings);
    memory.open(Micros(1_764_000_000_000_000));
    for n in 1..=800 {
        memory.transact(Micros(1_764_000_000_000_000 + n));
    }
    for table in Table::ALL {
        assert_eq!(held(&postgres, table), expected(&memory, table), "{}", table.name());
    }
    // The rows were filled once, and ids go on.
    let (orders, last) = (memory.tables().count(Table::Orders), memory.ids().order.0);
    succeed(shop(&postgres, &["--rate", "0", "--transactions", "20", "--seed", "5"]));
    let kept = format!("orders WHERE order_id <= {last}");
    assert!(postgres.count(&kept) > i64::try_from(orders).unwrap() / 2);
    assert!(postgres.count(&format!("orders WHERE order_id > {last}")) > 0);
}

#[test]
fn a_database_that_comes_late_and_goes_is_waited_for() {
    let mut postgres = Postgres::stopped();
    let process = shop(&postgres, &["--rate", "100"]);
    postgres.run();
    let written = |least: i64| wait_until("orders are written", || postgres_has(&postgres, least));
    written(70);
    postgres.stop();
    postgres.run();
    let before = postgres.count("orders");
    wait_until("more orders are written", || postgres_has(&postgres, before + 10));
    process.terminate();
    let said = succeed(process);
    assert!(said.contains("waiting for PostgreSQL at 127.0.0.1:"), "{said}");
    assert!(said.contains("reading the tables again after"), "{said}");
}

fn postgres_has(postgres: &Postgres, orders: i64) -> bool {
    let exists = postgres.rows("SELECT 'yes' WHERE to_regclass('public.orders') IS NOT NULL");
    !exists.is_empty() && postgres.count("orders") >= orders
}

#[test]
fn a_hand_in_the_tables_does_not_close_the_shop() {
    let postgres = Postgres::start();
    let process = shop(&postgres, &["--rate", "200"]);
    wait_until("the shop is open", || postgres_has(&postgres, 70));
    postgres.rows("TRUNCATE users CASCADE");
    wait_until("there are orders again", || postgres_has(&postgres, 1));
    // Takes the id that the shop is about to give.
    postgres.rows("INSERT INTO users DEFAULT VALUES");
    postgres.rows("UPDATE aisles SET aisle_id = 1000 WHERE aisle_id = 1");
    let before = postgres.count("orders");
    wait_until("more orders are written", || postgres_has(&postgres, before + 10));
    process.terminate();
    let said = succeed(process);
    assert!(said.contains("reading the tables again after"), "{said}");
}

#[test]
fn long_texts_that_an_update_leaves_alone_stay_out_of_the_log() {
    let postgres = Postgres::start();
    postgres.rows("SELECT pg_create_logical_replication_slot('watch', 'test_decoding')");
    succeed(shop(&postgres, &["--rate", "0", "--transactions", "1500"]));
    let log = postgres.rows("SELECT data FROM pg_logical_slot_get_changes('watch', NULL, NULL)");
    let updates = |with: &str| {
        log.iter()
            .filter(|line| line.starts_with("table public.products: UPDATE") && line.contains(with))
            .count()
    };
    assert!(updates("description[text]:unchanged-toast-datum") > 0);
    assert!(updates("description[text]:'") > 0);
    // A product that gets another number takes its text along unseen.
    assert!(updates("old-key:") > 0);
}

#[test]
fn a_database_that_does_not_come_is_named() {
    let postgres = Postgres::stopped();
    let (status, said) = shop(&postgres, &["--wait", "1"]).end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("no PostgreSQL at 127.0.0.1:") && said.contains("--wait"), "{said}");
}
