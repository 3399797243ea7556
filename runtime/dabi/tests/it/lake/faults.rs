//! What a store can do to a writer: outages, lost answers, false conflicts,
//! another writer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use dabi::lake::LakeErrorKind;
use dabi_core::position::Offset;
use dabi_core::version::Term;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::*;
use crate::support::orders::{TOPIC, batch, decoded, table};

/// What happens to one PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// no answer, nothing written
    Down,
    /// written, but the answer is lost
    LostAnswer,
    /// written, and the client's own retry finds it there
    ConflictWithOurselves,
    /// a conflict, and nothing is there
    FalseConflict,
}

/// A store in memory that fails as it is told.
#[derive(Debug, Default)]
struct FaultyStore {
    inner: InMemory,
    /// For the next PUTs below a folder.
    faults: Mutex<VecDeque<(&'static str, Fault)>>,
    ignores_conditions: bool,
}

impl FaultyStore {
    fn next_put(&self, folder: &'static str, faults: &[Fault]) {
        self.faults.lock().expect("no panic").extend(faults.iter().map(|fault| (folder, *fault)));
    }

    fn fault(&self, path: &Path) -> Option<Fault> {
        let mut faults = self.faults.lock().expect("no panic");
        let due = faults.front().is_some_and(|(folder, _)| path.as_ref().starts_with(folder));
        due.then(|| faults.pop_front().expect("just seen").1)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

fn down() -> Error {
    Error::Generic { store: "faulty", source: "connection refused".into() }
}

fn conflict(path: &Path) -> Error {
    Error::AlreadyExists { path: path.to_string(), source: "412".into() }
}

/// The trait is written out as `async_trait` expands it: one test is not worth
/// the dependency.
impl ObjectStore for FaultyStore {
    fn put_opts<'a, 'b, 'f>(
        &'a self,
        path: &'b Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> BoxFuture<'f, Result<PutResult>>
    where
        'a: 'f,
        'b: 'f,
    {
        if self.ignores_conditions {
            opts.mode = PutMode::Overwrite;
        }
        Box::pin(async move {
            match self.fault(path) {
                None => self.inner.put_opts(path, payload, opts).await,
                Some(Fault::Down) => Err(down()),
                Some(Fault::FalseConflict) => Err(conflict(path)),
                Some(Fault::LostAnswer) => self.inner.put_opts(path, payload, opts).await.and(Err(down())),
                Some(Fault::ConflictWithOurselves) => {
                    self.inner.put_opts(path, payload, opts).await.and(Err(conflict(path)))
                }
            }
        })
    }

    fn put_multipart_opts<'a, 'b, 'f>(
        &'a self,
        path: &'b Path,
        opts: PutMultipartOptions,
    ) -> BoxFuture<'f, Result<Box<dyn MultipartUpload>>>
    where
        'a: 'f,
        'b: 'f,
    {
        self.inner.put_multipart_opts(path, opts)
    }

    fn get_opts<'a, 'b, 'f>(&'a self, path: &'b Path, options: GetOptions) -> BoxFuture<'f, Result<GetResult>>
    where
        'a: 'f,
        'b: 'f,
    {
        self.inner.get_opts(path, options)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_delimiter<'a, 'b, 'f>(
        &'a self,
        prefix: Option<&'b Path>,
    ) -> BoxFuture<'f, Result<ListResult>>
    where
        'a: 'f,
        'b: 'f,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'c, 'f>(
        &'a self,
        from: &'b Path,
        to: &'c Path,
        options: CopyOptions,
    ) -> BoxFuture<'f, Result<()>>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
    {
        self.inner.copy_opts(from, to, options)
    }
}

/// A lake whose store fails as told.
fn faulty_lake() -> (Arc<FaultyStore>, Lake) {
    let store = Arc::new(FaultyStore::default());
    (Arc::clone(&store), Lake::in_store(store))
}

#[tokio::test]
async fn each_fault_of_a_put_is_survived_without_loss_or_doubling() {
    use Fault::{ConflictWithOurselves, Down, FalseConflict, LostAnswer};
    for faults in [
        &[Down, Down] as &[_],
        &[LostAnswer],
        &[ConflictWithOurselves],
        &[FalseConflict],
        &[FalseConflict, Down, LostAnswer],
    ] {
        for folder in ["_dabi/manifests", "shop.order_items"] {
            if folder == "shop.order_items" && faults.iter().any(|f| !matches!(f, Down | LostAnswer)) {
                continue; // only conditional PUTs meet conflicts
            }
            let (store, lake) = faulty_lake();
            let mut writer = Writer::open(&lake, "w").await.expect("an empty lake");
            store.next_put(folder, faults);
            writer.write(&decoded(vec![batch(0, 0, 10)])).await.expect("the fault passes");
            writer.write(&decoded(vec![batch(0, 10, 10)])).await.expect("no fault is left");
            assert!(store.faults.lock().expect("no panic").is_empty(), "the faults were met");
            check_holds(&lake, &table(), &[batch(0, 0, 20)]).await;
        }
    }
}

#[tokio::test]
async fn a_claim_and_a_takeover_survive_lost_answers() {
    let (store, lake) = faulty_lake();
    store.next_put("_dabi/terms", &[Fault::ConflictWithOurselves]);
    store.next_put("_dabi/manifests", &[Fault::LostAnswer]);
    let writer = Writer::open(&lake, "w").await.expect("the faults pass");
    assert_eq!((writer.author.term, writer.committer.head().number.0), (Term(1), 1));
}

#[tokio::test]
async fn the_older_of_two_writers_is_fenced() {
    let lake = memory_lake();
    let mut old = Writer::open(&lake, "old").await.expect("an empty lake");
    old.write(&decoded(vec![batch(0, 0, 10)])).await.expect("it owns the lake");
    old.append(&decoded(vec![batch(0, 10, 10)]));
    let mut new = Writer::open(&lake, "new").await.expect("a takeover");
    assert_eq!(new.committer.position().get(TOPIC, 0), Some(Offset(10)));

    let error = old.flush().await.expect_err("another writer has taken over");
    assert_eq!(error.kind(), LakeErrorKind::Fenced);
    assert!(
        error.to_string().contains("was written by new under term 2, this process has term 1"),
        "{error}"
    );
    new.write(&decoded(vec![batch(0, 10, 3)])).await.expect("it owns the lake");
    check_holds(&lake, &table(), &[batch(0, 0, 13)]).await;
}

#[tokio::test]
async fn an_old_claim_cannot_take_over() {
    let lake = memory_lake();
    let old = lake.claim_term("shop", &WriterId::new("old").expect("plain")).await.expect("an empty lake");
    Writer::open(&lake, "new").await.expect("a newer claim");
    let late =
        lake.open_writer(old, LakeLimits::default(), Status::default(), CancellationToken::new()).await;
    assert!(late.is_err_and(|error| error.kind() == LakeErrorKind::Fenced));
}

#[tokio::test]
async fn writers_that_start_together_get_terms_of_their_own() {
    let lake = memory_lake();
    let starts = (0..8).map(|n| {
        let lake = lake.clone();
        tokio::spawn(async move {
            let id = WriterId::new(&format!("w{n}")).expect("plain");
            lake.claim_term("shop", &id).await.expect("memory does not fail").term
        })
    });
    let mut terms = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        terms.push(start.await.expect("no panic"));
    }
    terms.sort_unstable();
    assert_eq!(terms, (1..=8).map(Term).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lake_belongs_to_one_pipeline() {
    let lake = memory_lake();
    Writer::open(&lake, "w").await.expect("an empty lake");
    let stranger = lake.claim_term("other", &WriterId::new("x").expect("plain")).await.expect("a term");
    let error =
        lake.open_writer(stranger, LakeLimits::default(), Status::default(), CancellationToken::new()).await;
    let error = error.err().expect("the lake is taken");
    assert!(error.to_string().contains("belongs to pipeline \"shop\""), "{error}");
}

#[tokio::test]
async fn a_stop_ends_the_waiting() {
    let (store, lake) = faulty_lake();
    let author = lake.claim_term("shop", &WriterId::new("w").expect("plain")).await.expect("a term");
    let stop = CancellationToken::new();
    let limits = LakeLimits::default();
    let (mut encoder, mut committer) =
        lake.open_writer(author, limits, Status::default(), stop.clone()).await.expect("a writer");
    store.next_put("shop.order_items", &[Fault::Down; 1000]);
    encoder.append(&decoded(vec![batch(0, 0, 10)]), Instant::now()).expect("it continues");
    let sealed = encoder.seal(Epoch(1)).expect("plain columns").expect("something to seal");
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        stop.cancel();
    });
    let error = committer.commit(sealed).await.expect_err("the store is down");
    assert_eq!(error.kind(), LakeErrorKind::Stopped);
    assert!(read(&lake, &table()).await.is_empty(), "nothing was committed");
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    let store = FaultyStore { ignores_conditions: true, ..FaultyStore::default() };
    let lake = Lake::in_store(Arc::new(store));
    let error = lake.self_test().await.expect_err("it would lose manifests");
    assert!(error.to_string().contains("ignores conditional PUT"), "{error}");
    let honest = memory_lake();
    honest.self_test().await.expect("memory honours conditions");
    honest.self_test().await.expect("the probe of an earlier start is there");
}
