//! What the promise must hold through: kills at random and at chosen moments, outages,
//! lost answers, two owners, more partitions, lost records, poison and disks that do
//! not keep what they were given, each under load on a real Kafka, each ending with the
//! oracle.

mod answers;
mod disk;
mod failpoints;
mod growth;
mod kills;
mod oracle;
mod outages;
mod owners;
mod poison;
mod retention;

use std::time::Duration;

use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::guests;
use crate::support::kafka::Kafka;
use crate::support::load;
use crate::support::minio::Minio;

/// How long dabi may take to bring everything to both sinks on a busy machine.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(120);

/// Real neighbours, and a dabi between them.
struct World {
    kafka: Kafka,
    minio: Minio,
    clickhouse: ClickHouse,
    dabi: Dabi,
}

impl World {
    fn start() -> Self {
        let (kafka, minio, clickhouse) = (Kafka::start(), Minio::start(), ClickHouse::start());
        for topic in [load::TOPIC, load::PARCELS_TOPIC] {
            kafka.create_topic(topic, load::PARTITIONS);
        }
        let dabi = home(&kafka, &minio, &clickhouse);
        Self { kafka, minio, clickhouse, dabi }
    }

    /// Another machine, with the same pipeline's settings and transforms.
    fn home(&self) -> Dabi {
        home(&self.kafka, &self.minio, &self.clickhouse)
    }

    /// Runs dabi to the end of every partition.
    fn catch_up(&self) {
        let mut last = self.dabi.start(&["run", "--until-caught-up"]);
        let status = last.wait(CATCH_UP_LIMIT);
        assert!(status.success(), "{status}\n{}", last.log());
    }
}

fn home(kafka: &Kafka, minio: &Minio, clickhouse: &ClickHouse) -> Dabi {
    let settings = format!(
        "[kafka]\nbrokers = '{}'\ntopics = ['{}', '{}']\n\
         [lake]\nurl = 's3://{}/lake'\n\
         [warehouse]\nurl = '{}'\npassword = '{}'\n\
         [limits.lake]\nflush_age_ms = 500\n\
         [web]\nlisten = '127.0.0.1:0'\n",
        kafka.brokers(),
        load::TOPIC,
        load::PARCELS_TOPIC,
        Minio::BUCKET,
        clickhouse.url(),
        ClickHouse::PASSWORD,
    );
    let mut dabi = Dabi::new(&settings);
    dabi.environment(&minio.environment());
    let transforms = dabi.home().join("transforms");
    std::fs::create_dir(&transforms).expect("make the transforms' folder");
    // One without row state, and one that looks up what the other reads.
    for name in ["orders", "parcels"] {
        let file = transforms.join(format!("{name}.wasm"));
        std::fs::write(file, guests::wasm(name)).expect("write a transform");
    }
    dabi
}
