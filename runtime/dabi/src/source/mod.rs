//! Change records from Kafka: every partition of the topics asked for, in
//! order, from dabi's own positions on.
//!
//! Owns the connection, which partitions are read, and the watch over both.
//! Does not own what the records mean (`dabi_core::debezium`) or when a
//! position is durable: Kafka's group offsets only mirror it.
//!
//! Invariant: within a partition no offset is skipped in silence. A position
//! that the broker no longer has halts the source with the remedy; a broker
//! that is away is waited for.

mod discovery;
mod error;
mod former_end;
mod growth;
mod message;
mod native;
mod reader;
mod settings;
mod status;

pub use error::SourceError;
pub use message::{MadeRecord, Message};
pub use reader::Source;
pub use settings::{DEFAULT_GROUP, InvalidKafkaSettings, KafkaSettings, TopicSelection};

/// Call once, before the first client. OpenSSL, which librdkafka uses for TLS and
/// random numbers, would otherwise tidy up when the process exits; a thread that
/// ends at the same moment then touches freed memory.
pub fn prepare() {
    // It asks OpenSSL not to.
    openssl_sys::init();
}
