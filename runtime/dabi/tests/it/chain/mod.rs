//! The real chain: the shop writes to PostgreSQL, Debezium reads its log, Kafka
//! carries it, dabi brings it to MinIO and ClickHouse; with the very files that the
//! compose stack mounts.

mod oracle;
mod re_snapshot;

use std::borrow::Cow;
use std::process::Command;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::support::clickhouse::ClickHouse;
use crate::support::connect::Connect;
use crate::support::credentials::credentials;
use crate::support::dabi::Dabi;
use crate::support::kafka::Kafka;
use crate::support::minio::Minio;
use crate::support::postgres::Postgres;
use crate::support::process::Process;
use crate::support::{deploy, guests, read, wait_until, workspace_binary};

const LIMIT: Duration = Duration::from_secs(60);
/// Each a few rows; what a busy shop of this size has in a second.
const TRANSACTIONS_PER_SECOND: &str = "50";
/// The prefix of the lake in its bucket, as dabi.toml has it.
const LAKE: &str = "shop";

/// Everything that stands between a row and a star.
struct Chain {
    dabi: Dabi,
    connect: Connect,
    kafka: Kafka,
    minio: Minio,
    clickhouse: ClickHouse,
    postgres: Postgres,
}

#[test]
fn star_and_lake_equal_postgresql_though_the_connector_is_killed() {
    let mut chain = Chain::start();
    let mut shop = chain.open_shop();
    let mut dabi = chain.start_dabi(20);
    chain.wait_until_connect_has_noted_its_snapshot();
    close(&mut shop);
    chain.postgres.query("TRUNCATE orders, order_products");

    let mut shop = chain.open_shop();
    let witness = chain.kill_connect_before_it_notes_what_it_sent();
    std::thread::sleep(Duration::from_secs(2));
    chain.connect.server.restart();
    chain.wait_until_debezium_reads_on();
    close(&mut shop);

    chain.postgres.query(BY_HAND);
    chain.come_to_rest(&mut dabi, witness);
}

/// The key of the last rows.
const MARKER: i64 = 2_000_000_000;

/// Changes that a shop makes seldom: keys that move, that are swapped, that go and
/// come back in one transaction; a table that is emptied and filled again.
const BY_HAND: &str = "
BEGIN;
CREATE TEMP TABLE moved ON COMMIT DROP AS SELECT order_id FROM orders ORDER BY order_id LIMIT 20;
UPDATE order_products SET order_id = order_id + 1000000000 WHERE order_id IN (TABLE moved);
UPDATE orders SET order_id = order_id + 1000000000 WHERE order_id IN (TABLE moved);
COMMIT;

BEGIN;
UPDATE products SET product_id = 0 WHERE product_id = 1;
UPDATE products SET product_id = 1 WHERE product_id = 2;
UPDATE products SET product_id = 2 WHERE product_id = 0;
COMMIT;

BEGIN;
UPDATE aisles SET aisle_id = 1000 WHERE aisle_id = 1;
UPDATE aisles SET aisle_id = 1, aisle = aisle || ' again' WHERE aisle_id = 1000;
COMMIT;

BEGIN;
CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM order_products ORDER BY order_id, product_id LIMIT 50;
TRUNCATE order_products;
INSERT INTO order_products SELECT * FROM kept;
COMMIT;

DELETE FROM orders WHERE order_id IN (SELECT max(order_id) FROM orders)
    AND order_id NOT IN (SELECT order_id FROM order_products);
";

/// The last transaction: a row of each table. The tables that no transform reads
/// come first, so that what is in the star shows that they are in Kafka too.
const MARKERS: &str = "
BEGIN;
INSERT INTO order_products (order_id, product_id, add_to_cart_order) VALUES (2000000000, 2000000000, 1);
INSERT INTO departments (department_id, department) VALUES (2000000000, 'marker');
INSERT INTO aisles (aisle_id, aisle) VALUES (2000000000, 'marker');
INSERT INTO users (user_id) VALUES (2000000000);
INSERT INTO products (product_id, product_name, aisle_id, department_id)
    VALUES (2000000000, 'marker', 2000000000, 2000000000);
INSERT INTO orders (order_id, user_id, order_date, tip_given) VALUES (2000000000, 2000000000, now(), NULL);
COMMIT;
";

impl Chain {
    fn start() -> Self {
        let (postgres, kafka) = (Postgres::start(), Kafka::start());
        let connect = Connect::start(&kafka, &postgres);
        let (minio, clickhouse) = (Minio::start(), ClickHouse::start());
        let settings = read(&deploy("dabi.toml"));
        let mut dabi = Dabi::new(&settings);
        dabi.environment(&minio.environment());
        dabi.environment(&[
            ("DABI_KAFKA_BROKERS", kafka.brokers()),
            ("DABI_LAKE_ENDPOINT", minio.endpoint()),
            ("DABI_WAREHOUSE_URL", clickhouse.url()),
            ("DABI_WAREHOUSE_PASSWORD", ClickHouse::PASSWORD),
            ("DABI_WEB_LISTEN", "127.0.0.1:0"),
        ]);
        let transforms = dabi.home().join("transforms");
        std::fs::create_dir(&transforms).expect("make the transforms' folder");
        for (view, _) in oracle::MARKED {
            std::fs::write(transforms.join(format!("{view}.wasm")), guests::wasm(view))
                .expect("write a transform");
        }
        Self { dabi, connect, kafka, minio, clickhouse, postgres }
    }

    /// Customers come in; a shop that was closed goes on with what it has.
    fn open_shop(&self) -> Process {
        let mut shop = Command::new(workspace_binary("dabi-shop"));
        let here = format!("@127.0.0.1:{}/", self.postgres.port());
        let url = credentials()["DABI_SHOP_URL"].replace("@postgres:5432/", &here);
        shop.env("DABI_SHOP_URL", url).args(["sql", "--rate", TRANSACTIONS_PER_SECOND]);
        Process::start("shop", shop, self.dabi.home())
    }

    /// Registers the connector and starts dabi, both while the shop is open: so the
    /// snapshot is taken while rows change. Waits until the star has some orders.
    fn start_dabi(&self, orders_min: i64) -> Process {
        wait_until("the shop has its tables", LIMIT, || {
            self.number("SELECT count(*) FROM pg_tables WHERE tablename = 'orders'") == 1
        });
        wait_until("the shop takes orders", LIMIT, || {
            self.number("SELECT count(*) FROM orders") > orders_min
        });
        self.connect.register();
        let dabi = self.dabi.start(&["run"]);
        wait_until("the star has its views", LIMIT, || {
            let views = self.clickhouse.query("SELECT name FROM system.tables WHERE database = 'dabi'");
            oracle::MARKED.iter().all(|(view, _)| views.lines().any(|name| name == *view))
        });
        wait_until("the star has orders", LIMIT, || self.star("SELECT count() FROM f_orders") > orders_min);
        dabi
    }

    /// A snapshot, if one had to be taken, is over then.
    fn wait_until_debezium_reads_on(&self) {
        wait_until("Debezium reads on", LIMIT, || {
            self.number("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == 1
        });
    }

    /// Writes the last rows, waits until `dabi` has them, and holds star and lake
    /// against PostgreSQL. `witness` is a user whose event was sent twice.
    fn come_to_rest(&self, dabi: &mut Process, witness: i64) {
        self.postgres.query(MARKERS);
        for (view, key) in oracle::MARKED {
            let marker = format!("SELECT count() FROM {view} WHERE {key} = {MARKER}");
            wait_until("the star has every marker", LIMIT, || self.star(&marker) == 1);
        }
        let status = dabi.terminate(LIMIT);
        assert!(status.success(), "{status}\n{}", dabi.log());
        let mut rest = self.dabi.start(&["run", "--until-caught-up"]);
        let status = rest.wait(LIMIT);
        assert!(status.success(), "{status}\n{}", rest.log());
        oracle::check(self, witness);
    }

    /// A connector that is killed before takes another, and that cannot show what
    /// has been deleted since the first.
    fn wait_until_connect_has_noted_its_snapshot(&self) {
        let now = self.number("SELECT pg_current_wal_lsn() - '0/0'");
        wait_until("Connect has noted what it sent", LIMIT, || self.noted() > now);
    }

    /// How far the log is that Connect will not ask for again.
    fn noted(&self) -> i64 {
        self.number("SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots")
    }

    /// Kills Connect when it has sent an event and has not noted yet that it did:
    /// it will send it again. Gives the user whose event that is.
    fn kill_connect_before_it_notes_what_it_sent(&mut self) -> i64 {
        let users = self.consumer("cdc.public.users");
        // The shop counts its users up from 1. Connect notes every two seconds, so
        // the first or second witness is fresh.
        for witness in (-20..0).rev() {
            let sent = self.number(&format!(
                "INSERT INTO users (user_id) VALUES ({witness}); SELECT pg_current_wal_lsn() - '0/0'"
            ));
            let row = format!(r#""after":{{"user_id":{witness}}}"#);
            wait_until("the witness is in Kafka", LIMIT, || {
                let records = std::iter::from_fn(|| users.poll(Duration::from_millis(10)));
                records.flatten().any(|record| text(record.payload()).contains(&row))
            });
            self.connect.server.pause();
            if self.noted() < sent {
                self.connect.server.kill();
                return witness;
            }
            self.connect.server.resume();
        }
        panic!("Connect notes what it sends at once: nothing would come again");
    }

    /// A consumer of all of a topic.
    fn consumer(&self, topic: &str) -> BaseConsumer {
        let consumer: BaseConsumer =
            self.kafka.client().set("group.id", "none").create().expect("make a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), LIMIT).expect("Kafka answers");
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(MetadataTopic::partitions) {
            all.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("a place");
        }
        consumer.assign(&all).expect("assign");
        consumer
    }

    fn number(&self, query: &str) -> i64 {
        let answer = self.postgres.query(query);
        answer.trim().parse().unwrap_or_else(|_| panic!("{query}: {answer:?} is no number"))
    }

    fn star(&self, query: &str) -> i64 {
        let answer = self.clickhouse.query(&query.replace("FROM ", "FROM dabi."));
        answer.trim().parse().unwrap_or_else(|_| panic!("{query}: {answer:?} is no number"))
    }
}

fn text(payload: Option<&[u8]>) -> Cow<'_, str> {
    String::from_utf8_lossy(payload.unwrap_or_default())
}

fn close(shop: &mut Process) {
    let status = shop.terminate(LIMIT);
    assert!(status.success(), "{status}\n{}", shop.log());
}
