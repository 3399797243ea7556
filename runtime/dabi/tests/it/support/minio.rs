//! A real S3 server: MinIO on one temporary folder.

use std::process::Command;
use std::time::Duration;

use dabi::lake::{Lake, LakeSettings, Secret};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, Error, ObjectStoreExt, RetryConfig};
use tempfile::TempDir;

use super::process::Server;
use super::{block_on, free_port, installed};

const ACCESS_KEY: &str = "dabi-tests";
const SECRET_KEY: &str = "dabi-tests-secret";
const REGION: &str = "us-east-1";
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// The server; ends, and its objects with it, on drop.
pub(crate) struct Minio {
    /// Its process, for outages.
    pub(crate) server: Server,
    endpoint: String,
    _dir: TempDir,
}

impl Minio {
    /// The one bucket.
    pub(crate) const BUCKET: &str = "lake";

    /// Starts a server with one empty bucket and waits until it answers.
    pub(crate) fn start() -> Self {
        let binary = installed("DABI_TEST_MINIO");
        let dir = TempDir::with_prefix("dabi-minio-").expect("make a folder for MinIO");
        // A folder beside MinIO's own is a bucket to it.
        std::fs::create_dir_all(dir.path().join("data").join(Self::BUCKET))
            .expect("make the bucket's folder");
        let address = format!("127.0.0.1:{}", free_port());
        let console = format!("127.0.0.1:{}", free_port());
        let endpoint = format!("http://{address}");

        let home = dir.path().to_owned();
        let command = move || {
            let mut minio = Command::new(&binary);
            minio.args(["server", "data", "--address", &address, "--console-address", &console]);
            minio.env("MINIO_ROOT_USER", ACCESS_KEY).env("MINIO_ROOT_PASSWORD", SECRET_KEY);
            minio.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off").env("HOME", &home);
            minio.current_dir(&home);
            minio
        };
        let probe = store(&endpoint).with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
        let probe =
            probe.with_client_options(ClientOptions::new().with_allow_http(true).with_timeout(PROBE_LIMIT));
        let probe = probe.build().expect("the probe's settings are complete");
        let server = Server::start("minio", dir.path(), command, move || answers(&probe));
        Self { server, endpoint, _dir: dir }
    }

    /// A client of the bucket.
    pub(crate) fn store(&self) -> AmazonS3 {
        store(&self.endpoint).build().expect("the settings are complete")
    }

    /// The lake under a prefix of the bucket, for reading.
    pub(crate) fn lake(&self, prefix: &str) -> Lake {
        let mut settings = LakeSettings::at(format!("s3://{}/{prefix}", Self::BUCKET));
        settings.endpoint = Some(self.endpoint.clone());
        settings.access_key = Some(ACCESS_KEY.to_owned());
        settings.secret_key = Some(Secret::new(SECRET_KEY));
        Lake::open(&settings).expect("open the lake")
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The variables that make any S3 client of this machine use this server.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 5] {
        [
            ("AWS_ENDPOINT", &self.endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ]
    }
}

fn store(endpoint: &str) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region(REGION)
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
        .with_bucket_name(Minio::BUCKET)
}

fn answers(store: &AmazonS3) -> bool {
    let asked = block_on(store.head(&Path::from("is-it-there")));
    matches!(asked, Ok(_) | Err(Error::NotFound { .. }))
}
