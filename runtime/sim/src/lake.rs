//! The object store under the lake, and how manifests are read from it.
//!
//! Owns objects that are created once. Manifests are the real ones, as JSON;
//! a data file keeps its change batches as they are, in place of Parquet.

use std::collections::BTreeMap;
use std::sync::Arc;

use dabi_core::change::ChangeBatch;
use dabi_core::manifest::{
    Contents, DataFile, FileSpan, Head, Manifest, ManifestNumber, TERMS, term_from_path,
};
use dabi_core::position::{Position, Topic};
use dabi_core::table::SourceTable;
use dabi_core::version::Term;

/// The objects.
#[derive(Default)]
pub(crate) struct Objects {
    small: BTreeMap<String, Vec<u8>>,
    files: BTreeMap<String, Vec<ChangeBatch>>,
    /// Those among the objects, as a reader understands them.
    manifests: Vec<Manifest>,
}

impl Objects {
    /// A conditional PUT; false if the object is there.
    ///
    /// # Panics
    /// At a manifest that breaks a rule: no reader would go on behind it.
    pub(crate) fn put_new(&mut self, path: &str, bytes: &[u8]) -> bool {
        if self.small.contains_key(path) {
            return false;
        }
        self.small.insert(path.to_owned(), bytes.to_vec());
        if ManifestNumber::from_path(path).is_some() {
            let manifest: Manifest = serde_json::from_slice(bytes).expect("a manifest");
            manifest.follows(self.head().as_ref()).expect("manifests that follow each other");
            self.manifests.push(manifest);
        }
        true
    }

    pub(crate) fn get(&self, path: &str) -> Option<&[u8]> {
        self.small.get(path).map(Vec::as_slice)
    }

    pub(crate) fn put_file(&mut self, path: &str, batches: Vec<ChangeBatch>) {
        self.files.insert(path.to_owned(), batches);
    }

    /// Every manifest, in order.
    pub(crate) fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    pub(crate) fn head(&self) -> Option<Head> {
        self.manifests.last().map(Manifest::head)
    }

    /// The highest term that was claimed or has written.
    pub(crate) fn highest_term(&self) -> Term {
        let claimed = self.small.range(TERMS.to_owned()..).map_while(|(path, _)| term_from_path(path)).max();
        claimed.max(self.head().map(|head| head.term)).unwrap_or(Term(0))
    }

    /// Where the lake stands.
    pub(crate) fn position(&self) -> Position {
        self.head().map(|head| head.position).unwrap_or_default()
    }

    /// The events of `table` in the files that manifests name, in order.
    pub(crate) fn events(&self, table: &SourceTable) -> Vec<ChangeBatch> {
        let files =
            self.manifests.iter().flat_map(|manifest| &manifest.files).filter(|file| file.table == *table);
        files
            .flat_map(|file| self.files.get(&file.path).expect("a file stands before its manifest"))
            .cloned()
            .collect()
    }
}

/// The files of one commit, by table: what the manifest says of them, and what
/// is in them.
pub(crate) fn files(
    name: impl Fn(&SourceTable) -> String,
    batches: &[ChangeBatch],
) -> (Contents, Vec<(String, Vec<ChangeBatch>)>) {
    let mut by_table: BTreeMap<&SourceTable, Vec<ChangeBatch>> = BTreeMap::new();
    for batch in batches {
        by_table.entry(batch.table()).or_default().push(batch.clone());
    }
    let (mut contents, mut objects) = (Contents::default(), Vec::new());
    for (table, batches) in by_table {
        let path = name(table);
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let (table, spans) = (table.clone(), spans(&batches));
        contents.files.push(DataFile {
            path: path.clone(),
            table,
            rows,
            bytes: rows,
            kafka_ts_ms: None,
            spans,
        });
        objects.push((path, batches));
    }
    (contents, objects)
}

fn spans(batches: &[ChangeBatch]) -> BTreeMap<Topic, BTreeMap<i32, FileSpan>> {
    let mut spans: BTreeMap<Topic, BTreeMap<i32, FileSpan>> = BTreeMap::new();
    for batch in batches {
        let (span, rows) = (batch.span(), batch.num_rows() as u64);
        let of_partition = spans.entry(Arc::clone(batch.topic())).or_default().entry(batch.partition());
        let held = of_partition.or_insert(FileSpan { from: span.from, to: span.to, rows: 0 });
        *held = FileSpan { from: held.from.min(span.from), to: held.to.max(span.to), rows: held.rows + rows };
    }
    spans
}
