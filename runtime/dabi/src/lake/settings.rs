//! Where the lake is, and how much of it is held back in memory.
//!
//! Owns the settings as plain data. Does not own the store that they lead to
//! (`store`). Invariant: a secret never prints.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// Where the lake is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LakeSettings {
    /// A folder (`/data/lake`, `file:///data/lake`) or `s3://bucket/prefix`.
    pub url: String,
    /// S3: address of a server that is not AWS, as `http://minio:9000`; else
    /// `AWS_ENDPOINT_URL` or `AWS_ENDPOINT`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// S3: region; else `AWS_REGION`, else `us-east-1`.
    #[serde(default)]
    pub region: Option<String>,
    /// S3: else `AWS_ACCESS_KEY_ID`, else the machine's role.
    #[serde(default)]
    pub access_key: Option<String>,
    /// S3: else `AWS_SECRET_ACCESS_KEY`.
    #[serde(default)]
    pub secret_key: Option<Secret>,
    /// S3: bucket in the path (the default) or in the host name.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// S3: may requests go unencrypted? By default where the address begins with
    /// `http://`.
    #[serde(default)]
    pub allow_http: Option<bool>,
}

impl LakeSettings {
    /// The lake at `url`, everything else from the environment.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            endpoint: None,
            region: None,
            access_key: None,
            secret_key: None,
            path_style: None,
            allow_http: None,
        }
    }
}

/// Text that is never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// When files are closed, and how much is open at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeLimits {
    /// Commit when so many bytes wait, encoded or not.
    pub flush_bytes: usize,
    /// Commit when the oldest waiting event is so old.
    pub flush_age_ms: u64,
    /// Rows in a row group.
    pub row_group_rows: usize,
    /// Bytes in memory of the rows of a row group, before encoding.
    pub row_group_bytes: usize,
    /// Bytes in memory of all rows that are not encoded yet: beyond it the
    /// largest file's rows are encoded, in a row group smaller than the above.
    pub buffer_bytes: usize,
    /// Uploads at once.
    pub uploads: usize,
    /// A checkpoint after every so many manifests.
    pub checkpoint_every: u64,
}

impl Default for LakeLimits {
    fn default() -> Self {
        Self {
            flush_bytes: 64 << 20,
            flush_age_ms: 10_000,
            row_group_rows: 64 << 10,
            row_group_bytes: 16 << 20,
            buffer_bytes: 48 << 20,
            uploads: 8,
            checkpoint_every: dabi_core::manifest::CHECKPOINT_EVERY,
        }
    }
}

impl LakeLimits {
    pub(super) fn flush_age(&self) -> Duration {
        Duration::from_millis(self.flush_age_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_secrets_do_not_print() {
        let settings: LakeSettings =
            toml::from_str("url = \"s3://b/p\"\nsecret_key = \"hunter2\"").expect("known keys");
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(toml::from_str::<LakeSettings>("url = \"x\"\nbucket = \"y\"").is_err());
        assert!(toml::from_str::<LakeSettings>("").is_err(), "production data has no default place");
    }
}
