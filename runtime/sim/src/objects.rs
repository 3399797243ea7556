//! The object store under the lake, as one process reaches it.
//!
//! Owns what a client of such a store makes of a bad line: it tries again by
//! itself, so that its own success comes back as a conflict; and now and then a
//! store reports a conflict where there is none.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dabi_core::manifest::term_from_path;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::network::{Lateness, Line};

/// How often a client tries by itself.
const ATTEMPTS: usize = 3;
/// One conditional PUT in so many is reported as a conflict, and is none.
const FALSE_CONFLICT_ONE_IN: u32 = 40;

/// See the module.
pub(crate) struct Objects(pub(crate) Line);

impl Objects {
    /// Makes a request as a client does.
    async fn ask<T, F>(&self, what: &str, request: impl Fn(Arc<InMemory>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        for _ in 0..ATTEMPTS {
            let objects = Arc::clone(&self.0.world.objects);
            if let Some(answer) = self.0.attempt(what, Lateness::Possible, request(objects)).await {
                return answer;
            }
        }
        Err(Error::Generic { store: "simulated", source: "no answer".into() })
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.0.life).finish()
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated")
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_new = matches!(options.mode, PutMode::Create);
        if is_new && self.0.world.with(|world| world.strikes(FALSE_CONFLICT_ONE_IN)) {
            self.0.note(|| format!("put {path}: a false conflict"));
            return Err(Error::AlreadyExists { path: path.to_string(), source: "409".into() });
        }
        self.ask(&format!("put {path}"), |objects| {
            let (path, payload, options) = (path.clone(), payload.clone(), options.clone());
            let (world, id) = (self.0.world.clone(), self.0.life.id);
            async move {
                let put = objects.put_opts(&path, payload, options).await;
                if let (Ok(_), Some(term)) = (&put, term_from_path(path.as_ref())) {
                    world.with(|world| world.claims.push((term, id)));
                }
                put
            }
        })
        .await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask(&format!("get {path}"), |objects| {
            let (path, options) = (path.clone(), options.clone());
            async move { objects.get_opts(&path, options).await }
        })
        .await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (Self(self.0.clone()), prefix.cloned());
        let listed = async move {
            let what = format!("list {}", prefix.as_ref().map_or("", AsRef::as_ref));
            let found = this.ask(&what, |objects| {
                let prefix = prefix.clone();
                async move { objects.list(prefix.as_ref()).try_collect::<Vec<ObjectMeta>>().await }
            });
            let found = found.await?;
            Ok::<_, Error>(stream::iter(found.into_iter().map(Ok)))
        };
        listed.into_stream().try_flatten().boxed()
    }

    async fn put_multipart_opts(
        &self,
        _path: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("files are small")
    }

    fn delete_stream(&self, _paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        unreachable!("nothing in a lake is deleted")
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        unreachable!("a lake is listed by folder")
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        unreachable!("nothing in a lake is copied")
    }
}
