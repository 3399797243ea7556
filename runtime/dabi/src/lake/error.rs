//! What can go wrong with the lake, by what a caller does about it.

use dabi_core::manifest::{ManifestNumber, Refusal};
use dabi_core::version::Term;

/// A failure of the lake.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// A setting cannot be used.
    #[error("lake: {0}")]
    Settings(String),
    /// The store answered with an error.
    #[error("lake: {action} {path}: {source}{}", remedy(source))]
    Store {
        /// What was tried, a verb.
        action: &'static str,
        /// On which object.
        path: String,
        /// The store's answer.
        source: object_store::Error,
    },
    /// The store overwrites objects that it was asked to create.
    #[error(
        "lake: the store at {url} ignores conditional PUT (If-None-Match: *): two writers would overwrite each \
         other's manifests. Use a store that honours it (AWS S3, MinIO since 2024, Cloudflare R2, Ceph since \
         Tentacle), or a local folder on one machine"
    )]
    NoConditionalPut {
        /// Root of the lake.
        url: String,
    },
    /// Another writer has taken over.
    #[error(
        "lake: fenced: manifest {number} was written by {writer} under term {by}, this process has term {term}. \
         Another dabi writes this lake: stop one of the two; what this one had not committed the other reads \
         from Kafka again"
    )]
    Fenced {
        /// Term of this process.
        term: Term,
        /// Term of the other.
        by: Term,
        /// Id of the other.
        writer: String,
        /// Where they met.
        number: ManifestNumber,
    },
    /// All 2^24 terms are used.
    #[error("lake: no term is left: start a new lake")]
    TermsExhausted,
    /// The stop signal came before the work was done.
    #[error("lake: stopped before the commit; the events will be read from Kafka again")]
    Stopped,
    /// A rule of the manifests would be, or was, broken.
    #[error("lake: {0}")]
    Refused(#[from] Refusal),
    /// An object is not what its name says.
    #[error(
        "lake: {path} is damaged: {reason}. Restore it from a backup or an older version of the object; dabi \
         never changes what it has written"
    )]
    Damaged {
        /// Which object.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Parquet could not encode or decode.
    #[error("lake: {action} {path}: {source}")]
    Parquet {
        /// What was tried, a verb.
        action: &'static str,
        /// The file or table.
        path: String,
        /// Parquet's answer.
        source: parquet::errors::ParquetError,
    },
}

/// What a caller does about a [`LakeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LakeErrorKind {
    /// Try again: the store may come back.
    Transient,
    /// Halt: another process owns the lake.
    Fenced,
    /// Nothing: it was asked to stop.
    Stopped,
    /// Halt: a person must act.
    Permanent,
}

impl LakeError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> LakeErrorKind {
        match self {
            Self::Store { source, .. } if is_transient(source) => LakeErrorKind::Transient,
            Self::Fenced { .. } => LakeErrorKind::Fenced,
            Self::Stopped => LakeErrorKind::Stopped,
            _ => LakeErrorKind::Permanent,
        }
    }
}

/// Could the same request succeed later, with no one doing anything but
/// bringing the store back? `Generic` is connections, timeouts, 5xx, and local
/// I/O errors such as a full disk.
pub(super) fn is_transient(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. } | object_store::Error::JoinError { .. })
}

fn remedy(error: &object_store::Error) -> &'static str {
    use object_store::Error as E;
    match error {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
            ". Check [lake] access_key and secret_key (or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) and that they \
             may read, write and list below [lake] url"
        }
        E::NotFound { .. } => ". Check that the bucket or folder of [lake] url exists",
        E::Generic { .. } => ". Check that the store of [lake] url is up and [lake] endpoint is its address",
        _ => "",
    }
}
