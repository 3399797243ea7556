//! The object store under the lake.
//!
//! Owns how settings become a store, and the two things asked of it beyond get,
//! put and list: an object is created once, and is durable when acknowledged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig,
    WriteMultipart,
};

use super::error::LakeError;
use super::settings::LakeSettings;

/// Created once in every lake, to see that it cannot be created twice.
const PROBE: &str = "_dabi/conditional-put.probe";

/// Parts of a large object; S3 wants at least 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// A store and the folder in it that is the lake.
#[derive(Clone, Debug)]
pub(super) struct Store {
    inner: Arc<dyn ObjectStore>,
    prefix: Path,
    /// What stands before a path to make it readable by others.
    url: String,
}

/// How an attempt to create an object ended.
pub(super) enum Created {
    /// It holds our bytes.
    Ours,
    /// It holds someone else's.
    Theirs(Bytes),
}

impl Store {
    /// Opens what `settings` name. A missing local folder is made if `create`.
    pub(super) fn open(settings: &LakeSettings, create: bool) -> Result<Self, LakeError> {
        match settings.url.split_once("://") {
            Some(("s3", rest)) => Self::s3(settings, rest),
            Some(("file", path)) => Self::local(path, create),
            None if !settings.url.is_empty() => Self::local(&settings.url, create),
            _ => Err(LakeError::Settings(format!(
                "url {:?} is neither a folder (/data/lake, file:///data/lake) nor s3://bucket/prefix",
                settings.url
            ))),
        }
    }

    fn local(path: &str, create: bool) -> Result<Self, LakeError> {
        let failed = |what: &str, e: &dyn std::fmt::Display| {
            LakeError::Settings(format!("{what} folder {path:?} of [lake] url: {e}"))
        };
        if create {
            std::fs::create_dir_all(path).map_err(|e| failed("create", &e))?;
        }
        let root = std::path::absolute(path).map_err(|e| failed("resolve", &e))?;
        let store = LocalFileSystem::new_with_prefix(&root).map_err(|e| failed("open", &e))?;
        // without it an acknowledged file may be gone after a power cut
        let store = store.with_fsync(true);
        Ok(Self { inner: Arc::new(store), prefix: Path::default(), url: root.display().to_string() })
    }

    fn s3(settings: &LakeSettings, bucket_and_prefix: &str) -> Result<Self, LakeError> {
        let (bucket, prefix) = bucket_and_prefix.split_once('/').unwrap_or((bucket_and_prefix, ""));
        let prefix = Path::parse(prefix.trim_end_matches('/'))
            .map_err(|e| LakeError::Settings(format!("prefix of {:?}: {e}", settings.url)))?;
        // object_store's own retries cover a hiccup; an outage is waited out
        // where it can be logged
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 2,
            retry_timeout: Duration::from_secs(10),
        };
        let client = |key| AmazonS3ConfigKey::Client(key);
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retry)
            .with_config(client(ClientConfigKey::ConnectTimeout), "5 seconds")
            .with_config(client(ClientConfigKey::Timeout), "60 seconds");
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        if let Some(allow) = settings.allow_http.or(plain.then_some(true)) {
            builder = builder.with_config(client(ClientConfigKey::AllowHttp), allow.to_string());
        }
        if let Some(path_style) = settings.path_style {
            builder = builder.with_virtual_hosted_style_request(!path_style);
        }
        if let Some(region) = &settings.region {
            builder = builder.with_region(region);
        }
        if let Some(key) = &settings.access_key {
            builder = builder.with_access_key_id(key);
        }
        if let Some(secret) = &settings.secret_key {
            builder = builder.with_secret_access_key(secret.expose());
        }
        let store = builder.build().map_err(|e| LakeError::Settings(format!("{:?}: {e}", settings.url)))?;
        Ok(Self { inner: Arc::new(store), prefix, url: settings.url.trim_end_matches('/').to_owned() })
    }

    /// A store that is open already, and is the lake as a whole.
    pub(super) fn with(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, prefix: Path::default(), url: "memory:".to_owned() }
    }

    /// The root, without a slash at its end.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sees that conditional PUT is honoured. The probe stays: on later starts
    /// the first attempt already fails, as it should.
    pub(super) async fn self_test(&self) -> Result<(), LakeError> {
        for _ in 0..2 {
            match self.put(PROBE, Bytes::from_static(b"dabi"), PutMode::Create).await {
                Err(e) if is_taken(&e) => return Ok(()),
                Err(e) => return Err(store_error("write", PROBE)(e)),
                Ok(()) => {}
            }
        }
        Err(LakeError::NoConditionalPut { url: self.url.clone() })
    }

    /// Writes a whole object, a large one in parts: then a slow line has to carry
    /// only a part within the time that a request may take.
    pub(super) async fn upload(&self, path: &str, bytes: Bytes) -> object_store::Result<()> {
        if bytes.len() <= PART_BYTES {
            return self.put(path, bytes, PutMode::Overwrite).await;
        }
        let upload = self.inner.put_multipart(&self.at(path)?).await?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        parts.put(bytes);
        parts.finish().await.map(drop).map_err(|e| match e {
            // the answer to the completion was lost, and now there is no upload
            // to abort; the same bytes may be sent again
            e @ object_store::Error::NotFound { .. } => {
                object_store::Error::Generic { store: "lake", source: Box::new(e) }
            }
            e => e,
        })
    }

    pub(super) async fn put(&self, path: &str, bytes: Bytes, mode: PutMode) -> object_store::Result<()> {
        let options = PutOptions { mode, ..PutOptions::default() };
        self.inner.put_opts(&self.at(path)?, bytes.into(), options).await.map(drop)
    }

    /// Creates an object, or finds who did. A retry inside the store's client
    /// reports our own success as a conflict, so a conflict is read back; if
    /// then nothing is there, the conflict was a false one and an error of the
    /// kind that is retried says so.
    pub(super) async fn create(&self, path: &str, bytes: Bytes) -> object_store::Result<Created> {
        let refused = match self.put(path, bytes.clone(), PutMode::Create).await {
            Ok(()) => return Ok(Created::Ours),
            Err(e) if is_taken(&e) => e,
            Err(e) => return Err(e),
        };
        match self.get(path).await {
            Ok(found) if found == bytes => Ok(Created::Ours),
            Ok(found) => Ok(Created::Theirs(found)),
            Err(object_store::Error::NotFound { .. }) => {
                Err(object_store::Error::Generic { store: "lake", source: Box::new(refused) })
            }
            Err(e) => Err(e),
        }
    }

    pub(super) async fn get(&self, path: &str) -> object_store::Result<Bytes> {
        self.inner.get(&self.at(path)?).await?.bytes().await
    }

    /// Paths in `folder`, below the root, sorted; only those after `after`.
    pub(super) async fn list(&self, folder: &str, after: Option<&str>) -> object_store::Result<Vec<String>> {
        let folder = self.at(folder)?;
        let listed = match after {
            Some(after) => self.inner.list_with_offset(Some(&folder), &self.at(after)?),
            None => self.inner.list(Some(&folder)),
        };
        let root = self.prefix.as_ref();
        let below = |path: &Path| {
            let path = path.as_ref();
            path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').to_owned()
        };
        let mut paths: Vec<String> = listed.map_ok(|meta| below(&meta.location)).try_collect().await?;
        paths.sort_unstable();
        Ok(paths)
    }

    fn at(&self, path: &str) -> object_store::Result<Path> {
        let root = self.prefix.as_ref();
        let full = if root.is_empty() { path.to_owned() } else { format!("{root}/{path}") };
        Ok(Path::parse(full)?)
    }
}

fn is_taken(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })
}

/// Gives a store's error its place.
pub(super) fn store_error(action: &'static str, path: &str) -> impl FnOnce(object_store::Error) -> LakeError {
    move |source| LakeError::Store { action, path: path.to_owned(), source }
}
