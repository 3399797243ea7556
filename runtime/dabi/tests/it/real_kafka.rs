//! The source and captures on a real Kafka: what the embedded broker cannot do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dabi::capture::{Pace, play, record, topic_files};
use dabi::source::{KafkaSettings, Source, SourceError, TopicSelection};
use dabi_core::position::{Offset, Position};
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, TopicPartitionList};

use crate::capture::{contents, fixture};
use crate::support::kafka::Kafka;
use crate::support::{block_on, wait_until};

const WAIT: Duration = Duration::from_secs(60);

fn settings(kafka: &Kafka, topics: &[&str]) -> KafkaSettings {
    KafkaSettings {
        brokers: kafka.brokers().to_owned(),
        topics: TopicSelection::new(topics).expect("topics"),
        group: "dabi".to_owned(),
        properties: BTreeMap::from([("topic.metadata.refresh.interval.ms".to_owned(), "2000".to_owned())]),
    }
}

fn producer(kafka: &Kafka) -> BaseProducer {
    kafka.client().set("linger.ms", "0").create().expect("a producer")
}

fn write(producer: &BaseProducer, topic: &str, partition: i32, values: impl IntoIterator<Item = String>) {
    for value in values {
        producer
            .send(BaseRecord::to(topic).partition(partition).key("k").payload(&value))
            .map_err(|(error, _)| error)
            .expect("queued");
        producer.poll(Duration::ZERO);
    }
    producer.flush(WAIT).expect("delivered");
}

fn delete_topic(kafka: &Kafka, topic: &str) {
    let options = AdminOptions::new().operation_timeout(Some(WAIT));
    let admin = kafka.admin();
    let done = block_on(async { admin.delete_topics(&[topic], &options).await });
    done.expect("Kafka answers").into_iter().for_each(|result| drop(result.expect("deleted")));
}

/// Polls until `count` records are there: (partition, offset) of each, as handed out.
fn read(source: &mut Source, count: usize) -> Vec<(i32, i64)> {
    let mut records = Vec::new();
    wait_until("the records are read", WAIT, || {
        let messages = source.poll(1000, Duration::from_millis(50)).expect("reads");
        records.extend(messages.iter().map(|message| (message.partition(), message.offset().0)));
        records.len() >= count
    });
    assert_eq!(records.len(), count);
    records
}

/// Polls until the source halts.
fn halt(source: &mut Source) -> SourceError {
    let mut error = None;
    wait_until("the source halts", WAIT, || {
        error = source.poll(1000, Duration::from_millis(50)).err();
        error.is_some()
    });
    error.expect("waited for")
}

/// One broker for all that leave it alone: it takes seconds to start.
#[test]
fn the_source_on_a_real_kafka() {
    let kafka = Kafka::start();
    a_capture_survives_a_real_kafka(&kafka);
    added_partitions_wait_for_the_older_ones(&kafka);
    topics_that_turn_up_are_read_and_topics_that_go_halt(&kafka);
    a_topic_that_was_created_again_halts(&kafka);
    aborted_transactions_are_not_read_and_do_not_hold_up_the_end(&kafka);
    the_position_is_mirrored_to_the_group(&kafka);
}

fn a_capture_survives_a_real_kafka(kafka: &Kafka) {
    let dir = fixture("schema");
    let settings = settings(kafka, &["^(__debezium-heartbeat\\.)?cdc_schema"]);
    let client = settings.client_config().expect("settings");
    let played = play(&dir, &client, &Pace::Free, &mut |_| ()).expect("plays");
    let out = tempfile::tempdir().expect("a folder");
    let out = out.path().join("again");
    let recorded = record(&settings, &out, &mut |_| ()).expect("records");
    assert_eq!(
        (recorded.topics, recorded.records),
        (topic_files(&dir).expect("a capture").len(), played.records)
    );
    assert!(contents(&dir) == contents(&out), "the recorded capture differs from the played one");
}

fn added_partitions_wait_for_the_older_ones(kafka: &Kafka) {
    let topic = "growth";
    kafka.create_topic(topic, 1);
    let producer = producer(kafka);
    write(&producer, topic, 0, (0..100).map(|n| n.to_string()));
    let mut source = Source::connect(&settings(kafka, &[topic]), &Position::default()).expect("connects");
    let first = source.poll(10, WAIT).expect("reads").len();

    kafka.add_partitions(topic, 3);
    let producer = self::producer(kafka);
    write(&producer, topic, 2, ["new".to_owned()]);
    write(&producer, topic, 0, ["late".to_owned()]);
    let records = read(&mut source, 102 - first);
    let new = records.iter().position(|(partition, _)| *partition == 2).expect("found within a minute");
    let old = records[..new].iter().filter(|(partition, offset)| (*partition, *offset) < (0, 100)).count();
    assert_eq!(old, 100 - first, "all that was there before the growth comes first");
    assert!(source.position().covers(&source.end_offsets().expect("ends")));

    // The same at start, where the position tells which partitions are old.
    let mut start = Position::default();
    start.set(&topic.into(), 0, Offset(50));
    let mut source = Source::connect(&settings(kafka, &[topic]), &start).expect("connects");
    let records = read(&mut source, 52);
    assert_eq!(records.last(), Some(&(2, 0)), "{records:?}");
}

fn topics_that_turn_up_are_read_and_topics_that_go_halt(kafka: &Kafka) {
    let base = "discovery";
    kafka.create_topic(base, 1);
    let mut source =
        Source::connect(&settings(kafka, &[&format!("^{base}")]), &Position::default()).expect("connects");
    let added = format!("{base}.added");
    kafka.create_topic(&added, 2);
    write(&producer(kafka), &added, 1, ["1".to_owned()]);
    assert_eq!(read(&mut source, 1), [(1, 0)]);

    delete_topic(kafka, &added);
    let error = halt(&mut source);
    assert!(matches!(&error, SourceError::TopicGone { topic } if *topic == added), "{error}");
}

fn a_topic_that_was_created_again_halts(kafka: &Kafka) {
    let topic = "recreated";
    kafka.create_topic(topic, 1);
    write(&producer(kafka), topic, 0, (0..20).map(|n| n.to_string()));
    let mut source = Source::connect(&settings(kafka, &[topic]), &Position::default()).expect("connects");
    read(&mut source, 20);
    let position = source.position().clone();
    delete_topic(kafka, topic);
    kafka.create_topic(topic, 1);
    write(&producer(kafka), topic, 0, ["other".to_owned()]);
    let error = halt(&mut source);
    assert!(matches!(error, SourceError::OffsetOutOfRange { .. } | SourceError::TopicGone { .. }), "{error}");
    drop(source);
    let error = Source::connect(&settings(kafka, &[topic]), &position).map(|_| ()).unwrap_err();
    assert!(matches!(error, SourceError::PositionBeyondEnd { position: Offset(20), .. }), "{error}");
}

fn aborted_transactions_are_not_read_and_do_not_hold_up_the_end(kafka: &Kafka) {
    let topic = "transactions";
    kafka.create_topic(topic, 1);
    let producer: BaseProducer = kafka.client().set("transactional.id", topic).create().expect("a producer");
    producer.init_transactions(WAIT).expect("a producer id");
    for (value, commit) in [("kept", true), ("aborted", false)] {
        producer.begin_transaction().expect("begins");
        write(&producer, topic, 0, [value.to_owned()]);
        if commit {
            producer.commit_transaction(WAIT).expect("commits");
        } else {
            producer.abort_transaction(WAIT).expect("aborts");
        }
    }
    let mut source = Source::connect(&settings(kafka, &[topic]), &Position::default()).expect("connects");
    let ends = source.end_offsets().expect("ends");
    assert_eq!(ends.get(topic, 0), Some(Offset(4)), "two records and two markers");
    assert_eq!(read(&mut source, 1), [(0, 0)]);
    wait_until("the position is at the end, past the markers", WAIT, || {
        assert!(source.poll(10, Duration::from_millis(50)).expect("reads").is_empty());
        source.position().covers(&ends)
    });
}

fn the_position_is_mirrored_to_the_group(kafka: &Kafka) {
    let topic = "mirror";
    kafka.create_topic(topic, 1);
    write(&producer(kafka), topic, 0, (0..5).map(|n| n.to_string()));
    let mut settings = settings(kafka, &[topic]);
    topic.clone_into(&mut settings.group);
    let mut source = Source::connect(&settings, &Position::default()).expect("connects");
    read(&mut source, 5);
    let durable = source.position().clone();
    let group: BaseConsumer = kafka.client().set("group.id", topic).create().expect("a consumer");
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(topic, 0);
    wait_until("the group has the position", WAIT, || {
        source.commit_mirror(&durable);
        source.poll(1, Duration::from_millis(50)).expect("reads");
        let committed = group.committed_offsets(wanted.clone(), WAIT).expect("answers");
        committed.elements()[0].offset() == rdkafka::Offset::Offset(5)
    });
}

#[test]
fn an_outage_loses_and_doubles_nothing() {
    let mut kafka = Kafka::start();
    let topic = "outage";
    kafka.create_topic(topic, 2);
    let config: ClientConfig = kafka.client();
    let load = std::thread::spawn(move || {
        let producer: BaseProducer = {
            let mut config = config;
            config.set("enable.idempotence", "true").set("linger.ms", "5").create().expect("a producer")
        };
        let end = Instant::now() + Duration::from_secs(12);
        let mut count = 0;
        while Instant::now() < end {
            let value = count.to_string();
            let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(count % 2).payload(&value);
            producer.send(record).map_err(|(error, _)| error).expect("queued");
            count += 1;
            producer.poll(Duration::from_millis(1));
        }
        producer.flush(WAIT).expect("delivered");
        count
    });
    let mut source = Source::connect(&settings(&kafka, &[topic]), &Position::default()).expect("connects");
    let mut next = [0, 0];
    let mut poll = |source: &mut Source, time: Duration| {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for message in source.poll(1000, Duration::from_millis(20)).expect("never fails in an outage") {
                let partition = usize::try_from(message.partition()).expect("0 or 1");
                assert_eq!(message.offset(), Offset(next[partition]), "without a gap, without a double");
                next[partition] += 1;
            }
        }
        next[0] + next[1]
    };
    poll(&mut source, Duration::from_secs(2));
    kafka.server.pause();
    poll(&mut source, Duration::from_secs(3));
    kafka.server.resume();
    poll(&mut source, Duration::from_secs(2));
    kafka.server.kill();
    poll(&mut source, Duration::from_secs(4));
    wait_until("the outage is noticed", WAIT, || {
        poll(&mut source, Duration::from_millis(100));
        !source.is_reachable()
    });
    kafka.server.restart();
    let sent = i64::from(load.join().expect("all delivered"));
    wait_until("all is read", WAIT, || poll(&mut source, Duration::from_millis(100)) >= sent);
    assert_eq!(poll(&mut source, Duration::from_secs(1)), sent);
    assert!(source.is_reachable());
}

#[test]
fn in_an_outage_the_source_ends_without_kafka() {
    let mut kafka = Kafka::start();
    kafka.create_topic("t", 1);
    write(&producer(&kafka), "t", 0, ["1".to_owned()]);
    let connect = || {
        let mut source = Source::connect(&settings(&kafka, &["t"]), &Position::default()).expect("connects");
        read(&mut source, 1);
        source
    };
    let (in_silence, in_absence) = (connect(), connect());
    let end = |mut source: Source| {
        let position = source.position().clone();
        source.commit_mirror(&position);
        source.poll(1, Duration::from_secs(2)).expect("never fails in an outage");
        let asked = Instant::now();
        drop(source);
        asked.elapsed()
    };
    kafka.server.pause();
    let silent = end(in_silence);
    kafka.server.resume();
    kafka.server.kill();
    let absent = end(in_absence);
    let limit = Duration::from_secs(8);
    assert!(silent < limit && absent < limit, "paused: {silent:?}, killed: {absent:?}");
}
