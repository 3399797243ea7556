//! Answers: headers, status codes, and what a broken stream ends with.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::engine::{DbError, Engine, Summary};

/// The status that a server gives for an error code.
pub(crate) fn status(code: u32) -> StatusCode {
    match code {
        6 | 26 | 27 | 38 | 41 | 43 | 44 | 53 | 62 | 69 | 70 | 72 | 117 | 130 | 131 | 164 | 312 | 372
        | 373 | 456 | 457 => StatusCode::BAD_REQUEST,
        46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 => StatusCode::NOT_FOUND,
        193 | 194 | 497 | 516 => StatusCode::FORBIDDEN,
        48 => StatusCode::NOT_IMPLEMENTED,
        159 => StatusCode::GATEWAY_TIMEOUT,
        202 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The error as the body of an answer: a server's text ends with its version,
/// and clients look for that.
pub(crate) fn error_text(error: &DbError, version: &str) -> String {
    let text = error.text.trim_end();
    if text.contains("(version ") {
        format!("{text}\n")
    } else {
        format!("{text} (version {version} (dabi))\n")
    }
}

/// Marks the error at the end of a streamed answer.
pub(crate) struct ExceptionTag(String);

impl ExceptionTag {
    /// A tag that no data can guess.
    pub(crate) fn random() -> Self {
        // RandomState is seeded by the system, differently for every one.
        Self(format!("{:016x}", RandomState::new().build_hasher().finish()))
    }

    /// The end of a streamed answer that failed after its first bytes.
    pub(crate) fn trailer(&self, message: &str) -> String {
        let (tag, length) = (&self.0, message.len());
        format!("\r\n__exception__\r\n{tag}\r\n{message}{length} {tag}\r\n__exception__\r\n")
    }
}

/// Facts of one request that its answer's headers tell.
pub(crate) struct Headers<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) query_id: &'a str,
    pub(crate) started: Instant,
}

impl Headers<'_> {
    /// Headers of every answer.
    pub(crate) fn common(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        set(&mut headers, "x-clickhouse-query-id", self.query_id);
        set(&mut headers, "x-clickhouse-timezone", &self.engine.timezone);
        set(&mut headers, "x-clickhouse-server-display-name", "dabi");
        headers
    }

    /// Headers of an answer that has a format and a summary.
    pub(crate) fn of_result(&self, format: &str, summary: Summary, tag: Option<&ExceptionTag>) -> HeaderMap {
        let mut headers = self.common();
        set(&mut headers, "x-clickhouse-format", format);
        set(&mut headers, header::CONTENT_TYPE.as_str(), content_type(format));
        let text = |n: u64| n.to_string();
        let summary = json!({
            "read_rows": text(summary.read.0),
            "read_bytes": text(summary.read.1),
            "written_rows": text(summary.written.0),
            "written_bytes": text(summary.written.1),
            "total_rows_to_read": text(summary.read.0),
            "result_rows": text(summary.result.0),
            "result_bytes": text(summary.result.1),
            "elapsed_ns": self.started.elapsed().as_nanos().to_string(),
        });
        set(&mut headers, "x-clickhouse-summary", &summary.to_string());
        if let Some(tag) = tag {
            set(&mut headers, "x-clickhouse-exception-tag", &tag.0);
        }
        headers
    }

    /// Headers of an answer that is an error.
    pub(crate) fn of_error(&self, error: &DbError) -> HeaderMap {
        let mut headers = self.common();
        set(&mut headers, "x-clickhouse-exception-code", &error.code.to_string());
        set(&mut headers, header::CONTENT_TYPE.as_str(), "text/plain; charset=UTF-8");
        headers
    }
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    // A query id is the client's text, and may be no header value.
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

fn content_type(format: &str) -> &'static str {
    let format = format.to_ascii_lowercase();
    if format.starts_with("tabseparated") || format.starts_with("tsv") {
        "text/tab-separated-values; charset=UTF-8"
    } else if format.starts_with("csv") {
        "text/csv; charset=UTF-8"
    } else if format == "jsoneachrow" || format == "jsoncompacteachrow" {
        "application/x-ndjson; charset=UTF-8"
    } else if format.starts_with("json") {
        "application/json; charset=UTF-8"
    } else if format.starts_with("pretty") || format == "vertical" {
        "text/plain; charset=UTF-8"
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_text_ends_as_clients_expect() {
        let error = DbError::new(60, "UNKNOWN_TABLE", "no such table");
        let text = error_text(&error, "26.7");
        assert!(text.starts_with("Code: 60. DB::Exception: ") && text.ends_with("))\n"), "{text}");
    }

    #[test]
    fn a_trailer_states_the_length_of_its_message() {
        let tag = ExceptionTag("0123456789abcdef".into());
        let trailer = tag.trailer("Code: 1. DB::Exception: x (version 1 (dabi))\n");
        assert!(trailer.ends_with("\n45 0123456789abcdef\r\n__exception__\r\n"), "{trailer:?}");
    }
}
