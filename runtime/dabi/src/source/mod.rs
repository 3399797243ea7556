//! Change records from Kafka.
