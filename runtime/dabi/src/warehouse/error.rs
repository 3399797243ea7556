//! What can go wrong with ClickHouse, and whether waiting helps.

use dabi_core::policy::{self, Action};
use dabi_core::star::Refusal;

use super::embedded::EmbeddedError;

/// Why the warehouse stops the pipeline.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// ClickHouse refused a statement, and would again.
    #[error("ClickHouse refuses to {doing}: {message}; {remedy}")]
    Refused {
        /// What was being done.
        doing: String,
        /// Its words.
        message: String,
        /// What a person can do.
        remedy: &'static str,
    },
    /// What has the name of a target is not dabi's.
    #[error(
        "{database}.{name} is there already and not dabi's view (its engine is {engine}); rename the target, or set \
         warehouse.database to a database of dabi's own"
    )]
    Taken {
        /// The database of the star.
        database: String,
        /// The target.
        name: String,
        /// What it is.
        engine: String,
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
    /// Rows that cannot be read back.
    #[error("read rows of {table} from ClickHouse: {source}")]
    Rows {
        /// The table.
        table: String,
        /// Arrow's words.
        source: arrow::error::ArrowError,
    },
    /// The embedded engine lives in the process that runs the pipeline.
    #[error(
        "warehouse.url is \"embedded\", and that engine belongs to the dabi that runs it; give the address and \
         password that it shows at its start as DABI_WAREHOUSE_URL and DABI_WAREHOUSE_PASSWORD"
    )]
    EmbeddedElsewhere,
    /// The embedded engine cannot be started.
    #[error("embedded ClickHouse: {0}")]
    Embedded(#[from] EmbeddedError),
    /// The pipeline stopped while this was waiting.
    #[error("stopped while waiting for ClickHouse to {0}")]
    Stopped(String),
}

impl WarehouseError {
    pub(super) fn refused(doing: &str, error: &clickhouse::error::Error) -> Self {
        let message = error.to_string();
        let remedy = exception_code(&message).map_or(OTHER_REMEDY, remedy);
        Self::Refused { doing: doing.to_owned(), message, remedy }
    }
}

const OTHER_REMEDY: &str =
    "what is not stored was not counted as done: once this is put right, start dabi again";

/// What a person can do about an exception.
fn remedy(code: u32) -> &'static str {
    match code {
        192 | 193 | 194 | 516 => "set warehouse.user and DABI_WAREHOUSE_PASSWORD",
        497 => "grant warehouse.user CREATE, ALTER, SELECT and INSERT on warehouse.database",
        16 | 47 | 53 | 60 | 81 => {
            "was a table of dabi changed or dropped from outside? start dabi again: it creates what is missing"
        }
        _ => OTHER_REMEDY,
    }
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

    #[test]
    fn a_refusal_says_what_to_do() {
        let error = clickhouse::error::Error::BadResponse("Code: 516. DB::Exception: wrong password".into());
        let error = WarehouseError::refused("store rows in f__g1", &error).to_string();
        assert!(
            error.contains("store rows in f__g1") && error.contains("DABI_WAREHOUSE_PASSWORD"),
            "{error}"
        );
    }
}
