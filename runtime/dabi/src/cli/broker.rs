//! `dabi broker`: the embedded Kafka broker alone.

use anyhow::Context as _;

use crate::broker::{EmbeddedBroker, Listener};

/// Run the embedded Kafka broker alone, until Ctrl-C.
///
/// It is librdkafka's own cluster for tests: the real protocol, in memory,
/// nothing kept at its end. It forgets what lies beyond 5 MB of a partition;
/// `dabi capture play` minds that, other producers must not be far ahead of
/// their reader.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dabi broker --listen 127.0.0.1:9092
  dabi broker --listen 0.0.0.0:9092 --advertise build-7.internal:9092 --topic orders:12")]
pub struct BrokerArgs {
    /// Where it listens; port 0 for a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,
    /// How clients reach it, where that differs from --listen
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Create a topic; others get 4 partitions when a producer asks for them
    #[arg(long = "topic", value_name = "NAME:PARTITIONS", value_parser = topic)]
    topics: Vec<(String, i32)>,
}

fn topic(text: &str) -> Result<(String, i32), String> {
    let (name, partitions) = text.rsplit_once(':').ok_or("write NAME:PARTITIONS")?;
    let partitions = partitions.parse().map_err(|_| format!("{partitions:?} is no number of partitions"))?;
    Ok((name.to_owned(), partitions))
}

/// Runs `dabi broker`.
///
/// # Errors
/// If the port cannot be bound.
pub async fn run(args: BrokerArgs) -> anyhow::Result<()> {
    let broker = EmbeddedBroker::start()?;
    for (topic, partitions) in &args.topics {
        broker.create_topic(topic, *partitions)?;
    }
    let listener = Listener::bind(&broker, &args.listen, args.advertise.as_deref()).await?;
    println!("Kafka on {} (in memory; Ctrl-C ends it)", listener.address());
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        result = listener.serve() => result,
        interrupted = interrupted => interrupted.context("wait for Ctrl-C"),
    }
}
