//! Captures played and recorded.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dabi::broker::{EmbeddedBroker, Listener};
use dabi::capture::{Line, Pace, committed_position, needs_pace, play, record, topic_files};
use dabi::source::{KafkaSettings, Source, TopicSelection};
use dabi_core::position::Position;

fn settings(brokers: &str) -> KafkaSettings {
    KafkaSettings::embedded(brokers, TopicSelection::new(&["^"]).expect("a pattern"))
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/debezium").join(name)
}

/// All records of a capture, without the offsets, which playing makes dense.
pub(crate) fn contents(dir: &Path) -> Vec<(String, Vec<Line>)> {
    let files = topic_files(dir).expect("a capture");
    files
        .iter()
        .map(|file| {
            let lines =
                file.lines().expect("opens").map(|line| Line { offset: 0, ..line.expect("a record") });
            (file.topic.clone(), lines.collect())
        })
        .collect()
}

#[test]
fn what_was_played_is_recorded_again() {
    let broker = EmbeddedBroker::start().expect("a broker");
    let dir = fixture("plain");
    for file in topic_files(&dir).expect("the fixture") {
        broker.create_topic(&file.topic, file.partitions).expect("a topic");
    }
    let settings = settings(broker.address());
    let client = settings.client_config().expect("settings");
    assert!(needs_pace(&client).expect("answers"));
    let played = play(&dir, &client, &Pace::Free, &mut |_| ()).expect("plays");

    let out = tempfile::tempdir().expect("a folder");
    let out = out.path().join("again");
    let recorded = record(&settings, &out, &mut |_| ()).expect("records");
    assert_eq!(recorded.records, played.records);
    assert!(contents(&dir) == contents(&out), "the recorded capture differs from the played one");
    assert!(
        fs::read_to_string(out.with_file_name("again.index.tsv")).expect("an index").contains("partitions=3")
    );
}

/// Writes a capture of one partition with `count` records of 10 kB.
fn large_capture(dir: &Path, count: usize) {
    use std::io::Write as _;
    let file = fs::File::create(dir.join("large.jsonl.gz")).expect("a file");
    let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    // Not compressible, or the broker would keep more of it.
    let mut state = 1_u64;
    for offset in 0..count {
        let value: String = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + u8::try_from(state >> 58).expect("six bits"))
        })
        .take(10_000)
        .map(|c| if matches!(c, '"' | '\\') { '_' } else { c })
        .collect();
        writeln!(file, r#"{{"p":0,"o":{offset},"ts":1,"tt":"create","k":null,"v":"{value}","h":[]}}"#)
            .expect("writes");
    }
    file.finish().expect("writes");
}

#[test]
fn a_paced_player_never_outruns_what_the_embedded_broker_keeps() {
    const RECORDS: usize = 2_000; // 20 MB; the broker keeps 5
    let dir = tempfile::tempdir().expect("a folder");
    large_capture(dir.path(), RECORDS);
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic("large", 1).expect("a topic");
    let settings = settings(broker.address());
    let source = Source::connect(&settings, &Position::default()).expect("connects");
    let source = RefCell::new((source, 0));
    // The reader of this test reads when the player asks how far it is.
    let position = || {
        let (source, count) = &mut *source.borrow_mut();
        *count += source.poll(1000, Duration::from_millis(10))?.len();
        Ok(source.position().clone())
    };
    let client = settings.client_config().expect("settings");
    play(dir.path(), &client, &Pace::Reader(&position), &mut |_| ()).expect("plays");
    while source.borrow().1 < RECORDS {
        position().expect("every record is there");
    }
}

#[test]
fn a_player_in_another_process_keeps_behind_the_group_of_the_reader() {
    const RECORDS: usize = 1_000;
    let dir = tempfile::tempdir().expect("a folder");
    large_capture(dir.path(), RECORDS);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let broker = EmbeddedBroker::start().expect("a broker");
    let listener = runtime.block_on(Listener::bind(&broker, "127.0.0.1:0", None)).expect("a port");
    let settings = settings(&listener.address().to_string());
    runtime.spawn(listener.serve());

    let client = settings.client_config().expect("settings");
    let reader = std::thread::spawn({
        let mut settings = settings.clone();
        settings.topics = TopicSelection::new(&["large"]).expect("a name");
        move || {
            let mut source = loop {
                match Source::connect(&settings, &Position::default()) {
                    Ok(source) => break source,
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            };
            let mut count = 0;
            while count < RECORDS {
                count += source.poll(1000, Duration::from_millis(100)).expect("every record is there").len();
                let position = source.position().clone();
                source.commit_mirror(&position);
            }
            source.position().clone()
        }
    });
    let files = topic_files(dir.path()).expect("a capture");
    let committed = committed_position(&client, &settings.group, &files).expect("a client");
    play(dir.path(), &client, &Pace::Reader(&committed), &mut |_| ()).expect("plays");
    let position = reader.join().expect("reads all");
    assert_eq!(position.get("large", 0).map(|offset| offset.0), i64::try_from(RECORDS).ok());
}
