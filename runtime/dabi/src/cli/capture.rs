//! `dabi capture`: topics to files, files to topics.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::{HumanBytes, HumanCount, ProgressBar};

use crate::capture::{Pace, committed_position, needs_pace, play, record, topic_files};
use crate::source::{DEFAULT_GROUP, KafkaSettings, TopicSelection};

/// Record topics to files, or play such files into a Kafka.
#[derive(Debug, clap::Args)]
pub struct CaptureArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Record(RecordArgs),
    Play(PlayArgs),
}

/// Write what topics hold now to a folder: one <topic>.jsonl.gz each, and an
/// index beside the folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dabi capture record --brokers localhost:9092 --topic '^cdc\\.shop\\.' captures/shop
  dabi capture record --brokers localhost:9092 --topic orders --topic users out")]
struct RecordArgs {
    #[command(flatten)]
    kafka: KafkaArgs,
    /// A topic, or a regular expression that starts with ^
    #[arg(long = "topic", value_name = "NAME|^REGEX", required = true)]
    topics: Vec<String>,
    /// The folder to write
    out: PathBuf,
}

/// Write the records of a capture to a Kafka: keys, headers, partitions,
/// timestamps and the order of each partition kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  dabi capture play captures/shop --brokers localhost:9092")]
struct PlayArgs {
    /// The folder to read
    dir: PathBuf,
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Where the broker is an embedded one: the consumer group of the reader
    /// to keep behind
    #[arg(long, value_name = "GROUP", default_value = DEFAULT_GROUP)]
    group: String,
}

#[derive(Debug, clap::Args)]
struct KafkaArgs {
    /// host:port, several separated by commas
    #[arg(long, env = "DABI_KAFKA_BROKERS", value_name = "HOST:PORT")]
    brokers: String,
    /// A librdkafka property, for example security.protocol=SASL_SSL
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl KafkaArgs {
    fn settings(self, topics: &[String]) -> anyhow::Result<KafkaSettings> {
        Ok(KafkaSettings {
            brokers: self.brokers,
            topics: TopicSelection::new(topics)?,
            group: DEFAULT_GROUP.to_owned(),
            properties: self.properties.into_iter().collect::<BTreeMap<_, _>>(),
        })
    }
}

/// Runs `dabi capture`. Blocks: not for a thread of an async runtime.
///
/// # Errors
/// See [`record`] and [`play`].
pub fn run(args: CaptureArgs) -> anyhow::Result<()> {
    match args.command {
        Command::Record(args) => run_record(args),
        Command::Play(args) => run_play(args),
    }
}

fn run_record(args: RecordArgs) -> anyhow::Result<()> {
    let settings = args.kafka.settings(&args.topics)?;
    let bar = ProgressBar::new_spinner();
    let recorded = record(&settings, &args.out, &mut |records| {
        bar.set_message(format!("{} records", HumanCount(records)));
        bar.tick();
    })?;
    bar.finish_and_clear();
    println!(
        "recorded {} records of {} topics to {} ({})",
        HumanCount(recorded.records),
        recorded.topics,
        args.out.display(),
        HumanBytes(recorded.file_bytes)
    );
    Ok(())
}

fn run_play(args: PlayArgs) -> anyhow::Result<()> {
    // Every topic of the folder is written; the pattern selects nothing.
    let client = args.kafka.settings(&["^".to_owned()])?.client_config()?;
    let files = topic_files(&args.dir)?;
    let committed;
    let pace = if needs_pace(&client)? {
        committed = committed_position(&client, &args.group, &files)?;
        Pace::Reader(&committed)
    } else {
        Pace::Free
    };
    let bar = ProgressBar::new_spinner();
    let played = play(&args.dir, &client, &pace, &mut |progress| {
        let waiting = progress.waiting.map(|waiting| {
            format!("; {} s waiting for the reader (group {})", waiting.as_secs(), args.group)
        });
        let records = HumanCount(progress.records);
        bar.set_message(format!("{records} records, {}{}", progress.topic, waiting.unwrap_or_default()));
        bar.tick();
    })
    .with_context(|| format!("play {}", args.dir.display()))?;
    bar.finish_and_clear();
    println!(
        "played {} records of {} topics ({})",
        HumanCount(played.records),
        played.topics,
        HumanBytes(played.bytes)
    );
    Ok(())
}
