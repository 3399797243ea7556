//! The source against the embedded broker: the same protocol as a real one.

use std::time::{Duration, Instant};

use dabi::broker::EmbeddedBroker;
use dabi::source::{KafkaSettings, Message, Source, SourceError, TopicSelection};
use dabi_core::debezium::Headers as _;
use dabi_core::position::{Offset, Position};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

const WAIT: Duration = Duration::from_secs(20);

fn producer(brokers: &str) -> BaseProducer {
    ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "0").create().expect("a producer")
}

/// Writes `values` to one partition, one batch each.
fn write(broker: &EmbeddedBroker, topic: &str, partition: i32, values: &[&str]) {
    let producer = producer(broker.address());
    for value in values {
        producer
            .send(BaseRecord::to(topic).partition(partition).key("k").payload(*value))
            .map_err(|(error, _)| error)
            .expect("queued");
        producer.flush(WAIT).expect("delivered");
    }
}

fn settings(broker: &EmbeddedBroker, topics: &[&str]) -> KafkaSettings {
    KafkaSettings::embedded(broker.address(), TopicSelection::new(topics).expect("topics"))
}

/// Polls until `count` records are there.
fn read(source: &mut Source, count: usize) -> Vec<Message> {
    let deadline = Instant::now() + WAIT;
    let mut messages = Vec::new();
    while messages.len() < count && Instant::now() < deadline {
        messages.extend(source.poll(1000, Duration::from_millis(50)).expect("reads"));
    }
    assert_eq!(messages.len(), count);
    messages
}

fn position(offsets: &[(&str, i32, i64)]) -> Position {
    let mut position = Position::default();
    for (topic, partition, next) in offsets {
        position.set(&(*topic).into(), *partition, Offset(*next));
    }
    position
}

#[test]
fn reads_every_partition_from_the_oldest_record_or_the_position() {
    let broker = EmbeddedBroker::start().expect("a broker");
    for topic in ["shop.a", "shop.b", "other"] {
        broker.create_topic(topic, 2).expect("a topic");
        write(&broker, topic, 0, &["0", "1", "2"]);
    }
    write(&broker, "shop.b", 1, &["3"]);

    let start = position(&[("shop.a", 0, 2)]);
    let mut source = Source::connect(&settings(&broker, &["^shop\\."]), &start).expect("connects");
    let ends = source.end_offsets().expect("ends");
    assert_eq!(ends, position(&[("shop.a", 0, 3), ("shop.a", 1, 0), ("shop.b", 0, 3), ("shop.b", 1, 1)]));
    let mut read: Vec<(String, i32, i64)> =
        read(&mut source, 5).iter().map(|m| (m.topic().to_string(), m.partition(), m.offset().0)).collect();
    read.sort();
    let expected = [("shop.a", 0, 2), ("shop.b", 0, 0), ("shop.b", 0, 1), ("shop.b", 0, 2), ("shop.b", 1, 0)];
    assert_eq!(read, expected.map(|(topic, partition, offset)| (topic.to_owned(), partition, offset)));
    assert!(source.position().covers(&ends));
    assert_eq!(source.cached_end_offsets().get("shop.a", 0), Some(Offset(3)));
}

#[test]
fn records_keep_nulls_headers_and_timestamps() {
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic("t", 1).expect("a topic");
    let producer = producer(broker.address());
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header { key: "a", value: Some("2") })
        .insert(Header { key: "n", value: None::<&str> });
    let record: BaseRecord<'_, str, str> =
        BaseRecord::to("t").partition(0).timestamp(1_700_000_000_123).headers(headers);
    producer.send(record).map_err(|(error, _)| error).expect("queued");
    producer.send(BaseRecord::to("t").partition(0).key("").payload("")).map_err(|(e, _)| e).expect("queued");
    producer.flush(WAIT).expect("delivered");

    let mut source = Source::connect(&settings(&broker, &["t"]), &Position::default()).expect("connects");
    let messages = read(&mut source, 2);
    drop(source); // messages outlive the source
    let [tombstone, empty] = messages.as_slice() else { panic!("two records") };
    assert_eq!((tombstone.key(), tombstone.value()), (None, None));
    assert_eq!(tombstone.timestamp_ms(), Some(1_700_000_000_123));
    assert_eq!(tombstone.last("a"), Some(&b"2"[..]));
    assert_eq!((tombstone.last("n"), tombstone.last("missing")), (None, None));
    assert_eq!((empty.key(), empty.value()), (Some(&b""[..]), Some(&b""[..])));
    assert_eq!(empty.headers().count(), 0);
}

#[test]
fn a_position_that_the_broker_does_not_have_halts_with_the_remedy() {
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic("t", 1).expect("a topic");
    // Past 5 MB the embedded broker forgets, as retention does.
    let megabyte = "x".repeat(900_000);
    write(&broker, "t", 0, &[megabyte.as_str(); 8]);
    let connect = |next| {
        Source::connect(&settings(&broker, &["t"]), &position(&[("t", 0, next)])).map(|_| ()).unwrap_err()
    };
    let lost = connect(0);
    assert!(matches!(lost, SourceError::PositionLost { position: Offset(0), .. }), "{lost}");
    assert!(lost.to_string().contains("Rebuild from a new snapshot"), "{lost}");
    let beyond = connect(9);
    assert!(
        matches!(beyond, SourceError::PositionBeyondEnd { position: Offset(9), high: Offset(8), .. }),
        "{beyond}"
    );
}

#[test]
fn retention_that_overtakes_a_running_source_halts_it() {
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic("t", 1).expect("a topic");
    write(&broker, "t", 0, &["first"]);
    let mut settings = settings(&broker, &["t"]);
    // Room for one record, so that the rest is still to be fetched.
    settings.properties.insert("queued.max.messages.kbytes".to_owned(), "1".to_owned());
    settings.properties.insert("queued.min.messages".to_owned(), "1".to_owned());
    let mut source = Source::connect(&settings, &Position::default()).expect("connects");
    read(&mut source, 1);
    let megabyte = "x".repeat(900_000);
    write(&broker, "t", 0, &[megabyte.as_str(); 20]);
    let deadline = Instant::now() + WAIT;
    let error = loop {
        assert!(Instant::now() < deadline, "it must not skip in silence");
        match source.poll(1, Duration::from_millis(50)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SourceError::OffsetOutOfRange { .. }), "{error}");
    assert!(source.poll(1, Duration::ZERO).is_err(), "a source that has halted stays so");
}

#[test]
fn mistakes_are_named_at_start() {
    let check = |settings: &KafkaSettings, expected: &[&str]| {
        let error = Source::connect(settings, &Position::default()).map(|_| ()).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    };
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic("cdc.shop.orders", 1).expect("a topic");
    check(&settings(&broker, &["cdc.shop.order"]), &["cdc.shop.order", "the nearest: cdc.shop.orders"]);

    let mut wrong = settings(&broker, &["cdc.shop.orders"]);
    wrong.properties.insert("security.protocol".to_owned(), "s3cret".to_owned());
    let error = Source::connect(&wrong, &Position::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("security.protocol") && !error.contains("s3cret"), "{error}");

    let nobody = KafkaSettings::embedded("127.0.0.1:9", TopicSelection::new(&["t"]).expect("topics"));
    check(&nobody, &["127.0.0.1:9", "refused", "Check kafka.brokers"]);
}

#[test]
fn waits_for_a_broker_that_goes_away_and_goes_on() {
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic("t", 1).expect("a topic");
    write(&broker, "t", 0, &["1"]);
    let mut source = Source::connect(&settings(&broker, &["t"]), &Position::default()).expect("connects");
    read(&mut source, 1);
    broker.set_reachable(false).expect("down");
    let deadline = Instant::now() + WAIT;
    while source.is_reachable() {
        assert!(Instant::now() < deadline, "an outage is noticed");
        assert!(source.poll(10, Duration::from_millis(50)).expect("waits").is_empty());
    }
    broker.set_reachable(true).expect("up");
    write(&broker, "t", 0, &["2"]);
    assert_eq!(read(&mut source, 1)[0].value(), Some(&b"2"[..]));
    assert!(source.is_reachable());
}
