//! What can go wrong with ClickHouse, and whether waiting helps.

use dabi_core::policy::{self, Action};
use dabi_core::star::Refusal;

use super::embedded::EmbeddedError;

/// Why the warehouse stops the pipeline.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// ClickHouse refused a statement, and would again.
    #[error("ClickHouse refuses to {doing}: {message}")]
    Refused {
        /// What was being done.
        doing: String,
        /// Its words.
        message: String,
    },
    /// A table that is there does not fit its target.
    #[error(transparent)]
    Unfit(#[from] Refusal),
    /// The rows cannot be written as an Arrow stream: a defect of dabi.
    #[error("encode rows for {table}: {source}")]
    Encode {
        /// The table.
        table: String,
        /// Arrow's words.
        source: arrow::error::ArrowError,
    },
    /// An answer that dabi does not understand.
    #[error("ClickHouse's answer to {doing} is not as expected: {source}; is it a ClickHouse server?")]
    Answer {
        /// What was asked.
        doing: String,
        /// Where it stumbled.
        source: serde_json::Error,
    },
    /// The embedded engine cannot be started.
    #[error("embedded ClickHouse: {0}")]
    Embedded(#[from] EmbeddedError),
    /// The pipeline stopped while this was waiting.
    #[error("stopped while waiting for ClickHouse to {0}")]
    Stopped(String),
}

/// Does it pass by itself?
pub(super) fn action(error: &clickhouse::error::Error) -> Action {
    use clickhouse::error::Error;
    match error {
        Error::Network(_) | Error::TimedOut => Action::Retry,
        Error::BadResponse(message) => match exception_code(message) {
            Some(code) => policy::clickhouse(code),
            // No exception of ClickHouse: a proxy, or a connection cut off.
            None => Action::Retry,
        },
        _ => Action::Halt,
    }
}

/// N of `Code: N.` with which every exception begins.
fn exception_code(message: &str) -> Option<u32> {
    let (_, after) = message.split_once("Code: ")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_told_from_a_broken_proxy() {
        let answer = |text: &str| action(&clickhouse::error::Error::BadResponse(text.to_owned()));
        assert_eq!(answer("Code: 252. DB::Exception: Too many parts (300)"), Action::Retry);
        assert_eq!(answer("Code: 60. DB::Exception: Unknown table x"), Action::Halt);
        assert_eq!(answer("502 Bad Gateway"), Action::Retry);
    }
}
