//! Claiming a term: the fence between two writers of one lake.

use bytes::Bytes;
use dabi_core::manifest::{Author, TERMS, WriterId, term_from_path, term_path};
use dabi_core::version::Term;
use serde::Serialize;

use super::Lake;
use super::error::LakeError;
use super::store::{Created, store_error};

/// What a claim holds: who made it, for people who look, and to know our own.
#[derive(Serialize)]
struct Claim<'a> {
    pipeline: &'a str,
    term: Term,
    writer: &'a WriterId,
}

impl Lake {
    /// Claims the term that is one higher than any claimed or used before.
    ///
    /// # Errors
    /// If the store refuses, or no term is left.
    pub async fn claim_term(&self, pipeline: &str, writer: &WriterId) -> Result<Author, LakeError> {
        let claimed = self.store.list(TERMS, None).await.map_err(store_error("list", TERMS))?;
        let claimed = claimed.iter().filter_map(|path| term_from_path(path)).max();
        let used = self.head().await?.map(|head| head.term);
        let mut term = claimed.max(used).unwrap_or(Term(0));
        loop {
            if term >= Term::MAX {
                return Err(LakeError::TermsExhausted);
            }
            term = Term(term.0 + 1);
            let path = term_path(term);
            let claim = serde_json::to_vec(&Claim { pipeline, term, writer })
                .map_err(|e| LakeError::Settings(format!("write a claim as JSON: {e}")))?;
            let created = self.store.create(&path, Bytes::from(claim)).await;
            if let Created::Ours = created.map_err(store_error("claim", &path))? {
                return Ok(Author { pipeline: pipeline.to_owned(), term, writer: writer.clone() });
            }
        }
    }
}
