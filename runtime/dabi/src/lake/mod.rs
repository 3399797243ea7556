//! The lake: Parquet files and manifests in an object store.
