//! The servers that the other tests rest on do what those tests take for granted.

use std::process::Command;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::kafka::Kafka;
use crate::support::minio::Minio;
use crate::support::process::Process;
use crate::support::{block_on, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn kafka_keeps_its_records_through_pause_kill_and_restart() {
    let mut kafka = Kafka::start();
    kafka.create_topic("events", 1);
    produce(&kafka, "first").unwrap();
    assert_eq!(consume(&kafka, 1), ["first"]);

    kafka.server.pause();
    assert!(!answers(&kafka));
    kafka.server.resume();
    assert!(answers(&kafka));

    kafka.server.kill();
    kafka.server.restart();
    produce(&kafka, "second").unwrap();
    kafka.server.stop();
    kafka.server.restart();
    assert_eq!(consume(&kafka, 2), ["first", "second"]);
}

fn answers(kafka: &Kafka) -> bool {
    let client: BaseProducer = kafka.client().create().unwrap();
    client.client().fetch_metadata(None, Duration::from_secs(2)).is_ok()
}

fn produce(kafka: &Kafka, value: &str) -> Result<(), KafkaError> {
    let producer: BaseProducer = kafka.client().create()?;
    producer.send(BaseRecord::<str, str>::to("events").payload(value)).map_err(|(error, _)| error)?;
    producer.flush(LIMIT)
}

fn consume(kafka: &Kafka, count: usize) -> Vec<String> {
    let consumer: BaseConsumer = kafka.client().set("group.id", "none").create().unwrap();
    let mut from_the_start = TopicPartitionList::new();
    from_the_start.add_partition_offset("events", 0, Offset::Beginning).unwrap();
    consumer.assign(&from_the_start).unwrap();
    let record = || loop {
        // Errors are of connections, and pass.
        if let Ok(record) = consumer.poll(LIMIT).expect("something before the limit") {
            return String::from_utf8_lossy(record.payload().unwrap()).into_owned();
        }
    };
    (0..count).map(|_| record()).collect()
}

#[test]
fn minio_keeps_its_objects_and_puts_conditionally() {
    let mut minio = Minio::start();
    let (path, store) = (Path::from("a/b"), minio.store());
    let create = || block_on(store.put_opts(&path, PutPayload::from_static(b"one"), PutMode::Create.into()));
    create().unwrap();
    assert!(matches!(create(), Err(object_store::Error::AlreadyExists { .. })));

    assert_eq!(minio.environment().len(), 5);
    minio.server.kill();
    minio.server.restart();
    let stored = block_on(async { store.get(&path).await?.bytes().await }).unwrap();
    assert_eq!(stored.as_ref(), b"one");
}

#[test]
fn clickhouse_keeps_its_rows_through_kill_and_restart() {
    let mut clickhouse = ClickHouse::start();
    clickhouse.query("CREATE DATABASE star");
    clickhouse.query("CREATE TABLE star.t (k UInt64, v String) ENGINE = MergeTree ORDER BY k");
    clickhouse.query("INSERT INTO star.t VALUES (1, 'why?'), (2, 'b')");

    clickhouse.server.kill();
    clickhouse.server.restart();
    assert_eq!(clickhouse.query("SELECT * FROM star.t ORDER BY k"), "1\twhy?\n2\tb\n");
    clickhouse.server.stop();
}

#[test]
fn a_process_is_paused_measured_and_ended() {
    let dir = tempfile::tempdir().unwrap();
    let start = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        Process::start("shell", shell, dir.path())
    };
    let mut patient = start("trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.01; done");
    wait_until("it is up", LIMIT, || patient.output().contains("up"));
    assert!(patient.resident_bytes() > 100_000);
    assert_eq!(patient.terminate(LIMIT).code(), Some(3));
    assert_eq!(patient.output(), "up\nasked\n");

    // What it started itself ends with it.
    let mut parent = start("sleep 1000 & echo $! >&2; wait");
    wait_until("it has a child", LIMIT, || parent.log().ends_with('\n'));
    let child = format!("/proc/{}", parent.log().trim());
    assert!(std::fs::exists(&child).unwrap());
    parent.kill();
    assert!(std::fs::exists(&child).unwrap());
    drop(parent);
    wait_until("its child has ended too", LIMIT, || !is_running(&child));
}

/// An orphan that nobody waits for stays as a zombie where there is no init.
fn is_running(proc_folder: &str) -> bool {
    std::fs::read_to_string(format!("{proc_folder}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_binary_starts_in_its_folder() {
    let mut dabi = Dabi::new("");
    dabi.environment(&[("DABI_LOG", "debug")]);
    let mut process = dabi.start(&["--version"]);
    assert!(process.wait(LIMIT).success(), "{}", process.log());
    assert!(dabi.home().join("dabi.log").exists());
}
