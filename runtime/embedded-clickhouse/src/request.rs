//! What an HTTP request asks for: parameters, headers, credentials.
//!
//! Owns the reserved names of ClickHouse's HTTP interface; every other
//! parameter is a setting of the engine.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::body::Coding;
use crate::engine::DbError;
use crate::session;

/// A parsed request, its body apart.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// The `query` parameter.
    pub(crate) query: String,
    pub(crate) database: Option<String>,
    /// `default_format`, or the header; a FORMAT clause goes before it.
    pub(crate) default_format: Option<String>,
    pub(crate) query_id: Option<String>,
    pub(crate) session: Option<SessionRequest>,
    /// `wait_end_of_query=1`: no answer before the end of the statement.
    pub(crate) whole_answer: bool,
    pub(crate) coding: Coding,
    /// Parameters of the statement.
    pub(crate) params: Vec<(String, String)>,
    /// Settings of the engine.
    pub(crate) settings: Vec<(String, String)>,
    /// It came by GET, so it may not change anything.
    pub(crate) read_only: bool,
}

/// Which session, and how.
#[derive(Debug)]
pub(crate) struct SessionRequest {
    pub(crate) id: String,
    pub(crate) timeout: Duration,
    pub(crate) must_exist: bool,
}

/// Accepted and without effect here: this program has no roles, quotas or
/// progress headers, and what it answers is never compressed on loopback.
const IGNORED: [&str; 9] = [
    "user",
    "password",
    "role",
    "quota_key",
    "enable_http_compression",
    "buffer_size",
    "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
    "cancel_http_readonly_queries_on_client_close",
];

impl Request {
    /// Parses the parameters (of the URL, and of a form's parts) and headers.
    ///
    /// # Errors
    /// For what this program does not do and must not ignore.
    pub(crate) fn parse(
        parameters: Vec<(String, String)>,
        headers: &HeaderMap,
        read_only: bool,
    ) -> Result<Self, DbError> {
        let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(ToOwned::to_owned);
        let mut request = Self {
            database: header("x-clickhouse-database"),
            default_format: header("x-clickhouse-format"),
            coding: Coding { content: header(header::CONTENT_ENCODING.as_str()), blocks: false },
            read_only,
            ..Self::default()
        };
        let mut session_id = None;
        let mut timeout = session::DEFAULT_TIMEOUT;
        let mut must_exist = false;
        for (name, value) in parameters {
            let flag = value == "1" || value == "true";
            match name.as_str() {
                "query" => request.query = value,
                "database" => request.database = Some(value),
                "default_format" => request.default_format = Some(value),
                "query_id" => request.query_id = Some(value).filter(|id| !id.is_empty()),
                "session_id" => session_id = Some(value).filter(|id| !id.is_empty()),
                "session_check" => must_exist = flag,
                "session_timeout" => {
                    timeout = value.parse().map(Duration::from_secs).map_err(|_| {
                        DbError::new(
                            26,
                            "CANNOT_PARSE_QUOTED_STRING",
                            "session_timeout is a count of seconds",
                        )
                    })?;
                }
                "wait_end_of_query" => request.whole_answer = flag,
                "decompress" => request.coding.blocks = flag,
                "compress" if flag => {
                    let message = "compress=1 (compressed answers) is of no use on loopback; leave it out";
                    return Err(DbError::new(48, "NOT_IMPLEMENTED", message));
                }
                // Native blocks always come in the plain form of version 0.
                "compress" | "client_protocol_version" => {}
                ignored if IGNORED.contains(&ignored) => {}
                _ => match name.strip_prefix("param_") {
                    Some(param) => request.params.push((param.to_owned(), value)),
                    None => request.settings.push((name, value)),
                },
            }
        }
        request.session = session_id.map(|id| SessionRequest { id, timeout, must_exist });
        request.database = request.database.filter(|name| !name.is_empty());
        Ok(request)
    }
}

/// Are these the credentials of the only user?
pub(crate) fn is_authorized(password: &str, parameters: &[(String, String)], headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let parameter =
        |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let basic = header("authorization").and_then(|value| {
        let encoded = value.strip_prefix("Basic ")?.trim().to_owned();
        let text = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
        text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    });
    let (basic_user, basic_password) = basic.unzip();
    let user = header("x-clickhouse-user").or(basic_user).or_else(|| parameter("user"));
    let given = header("x-clickhouse-key").or(basic_password).or_else(|| parameter("password"));
    user.is_none_or(|user| user == "default") && given.is_some_and(|given| equal(&given, password))
}

/// Compares without telling by its time where the difference lies.
fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

/// Is the request meant for this machine? A page in a browser reaches loopback
/// through a name of its own that resolves to it; then the Host header tells.
pub(crate) fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|value| value.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_not_reserved_is_a_setting_or_a_parameter() {
        let parameters =
            pairs(&[("query", "SELECT 1"), ("param_a", "1"), ("max_threads", "1"), ("role", "x")]);
        let request = Request::parse(parameters, &headers(&[("x-clickhouse-database", "d")]), false).unwrap();
        assert_eq!(request.query, "SELECT 1");
        assert_eq!(request.database.as_deref(), Some("d"));
        assert_eq!(request.params, pairs(&[("a", "1")]));
        assert_eq!(request.settings, pairs(&[("max_threads", "1")]));
        assert_eq!(
            Request::parse(pairs(&[("compress", "1")]), &HeaderMap::new(), false).unwrap_err().code,
            48
        );
    }

    #[test]
    fn credentials_come_in_three_ways() {
        let right = |parameters: &[(&str, &str)], given: &[(&'static str, &str)]| {
            is_authorized("pw", &pairs(parameters), &headers(given))
        };
        assert!(right(&[("user", "default"), ("password", "pw")], &[]));
        assert!(right(&[], &[("x-clickhouse-user", "default"), ("x-clickhouse-key", "pw")]));
        assert!(right(&[], &[("authorization", "Basic ZGVmYXVsdDpwdw==")]));
        assert!(!right(&[], &[]));
        assert!(!right(&[("user", "other"), ("password", "pw")], &[]));
        assert!(!right(&[("password", "px")], &[]));
    }

    #[test]
    fn only_names_of_this_machine_are_local() {
        for (host, local) in
            [("127.0.0.1:81", true), ("localhost", true), ("[::1]:9", true), ("evil.example:81", false)]
        {
            assert_eq!(is_local(&headers(&[("host", host)])), local, "{host}");
        }
        assert!(!is_local(&HeaderMap::new()));
    }
}
