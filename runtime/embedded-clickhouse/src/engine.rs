//! The engine: connections, statements, settings, errors.
//!
//! Owns the rules that make the library behave like a server: an error is a
//! code and a text; data goes through insert streams only; a result is streamed
//! where the pieces of its format can be concatenated. Does not own HTTP.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::ffi::{self, Api, Class, Params};
use crate::statement::quoted;

/// An exception of the engine, or one made in its image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct DbError {
    /// ClickHouse's error code.
    pub(crate) code: u32,
    /// `Code: N. DB::Exception: …`
    pub(crate) text: String,
}

impl DbError {
    /// An exception that this program raises itself.
    pub(crate) fn new(code: u32, name: &str, message: &str) -> Self {
        Self { code, text: format!("Code: {code}. DB::Exception: {message} ({name})") }
    }
}

impl From<String> for DbError {
    fn from(text: String) -> Self {
        let digits = text.split_once("Code: ").map_or("", |(_, rest)| rest);
        let digits = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        Self { code: digits.parse().unwrap_or(1002), text }
    }
}

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("load {}: {source}; get the library with `dabi setup clickhouse`", path.display())]
    Load { path: PathBuf, source: libloading::Error },
    #[error("open the ClickHouse folder {folder}: the engine refused; its reason stands above")]
    Connect { folder: String },
    #[error("ask the engine for its version: {0}")]
    Version(DbError),
}

/// What a statement read and wrote, as in `X-ClickHouse-Summary`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) read: (u64, u64),
    pub(crate) written: (u64, u64),
    pub(crate) result: (u64, u64),
}

impl Summary {
    fn of(result: &ffi::QueryResult) -> Self {
        let written = result.written();
        let rows = if written.0 > 0 { written } else { (result.rows(), result.bytes().len() as u64) };
        Self { read: result.storage_read(), written, result: rows }
    }
}

/// One engine on one folder; the library holds no more than one per process.
pub(crate) struct Engine {
    api: &'static Api,
    folder: String,
    /// `select version()`
    pub(crate) version: String,
    /// `select timezone()`
    pub(crate) timezone: String,
}

impl Engine {
    /// Loads the library and opens `folder`, which must exist.
    pub(crate) fn open(library: &Path, folder: &Path) -> Result<Self, OpenError> {
        let api = Api::load(library).map_err(|source| OpenError::Load { path: library.into(), source })?;
        let folder = folder.display().to_string();
        let mut engine = Self { api, folder, version: api.version(), timezone: String::new() };
        let mut connection =
            engine.connect().map_err(|_| OpenError::Connect { folder: engine.folder.clone() })?;
        let answer = connection
            .query("SELECT version(), timezone()", "TabSeparated", &[])
            .map_err(OpenError::Version)?;
        let answer = String::from_utf8_lossy(&answer.0).trim().to_owned();
        let (version, timezone) = answer.split_once('\t').unwrap_or((&answer, "UTC"));
        engine.version = version.to_owned();
        engine.timezone = timezone.to_owned();
        Ok(engine)
    }

    /// A connection with default settings.
    pub(crate) fn connect(&self) -> Result<Connection, DbError> {
        // The engine compares folder names as strings: always the same one.
        let connection = self.api.connect(&self.folder).ok_or_else(|| {
            DbError::new(210, "NETWORK_ERROR", "the engine refused a connection; its log stands on stderr")
        })?;
        Ok(Connection(connection))
    }

    /// Stops the statement that runs under this `log_comment`. Never waits for
    /// it: with SYNC the engine was seen to hang.
    pub(crate) fn kill(&self, log_comment: &str) -> Result<(), DbError> {
        let comment = quoted(log_comment);
        let sql = format!("KILL QUERY WHERE Settings['log_comment'] = {comment} ASYNC");
        self.connect()?.execute(&sql)
    }
}

/// A connection, used by one request at a time.
pub(crate) struct Connection(ffi::Connection);

impl Connection {
    /// Runs a statement whose result does not matter.
    pub(crate) fn execute(&mut self, sql: &str) -> Result<(), DbError> {
        self.query(sql, "Null", &[]).map(drop)
    }

    /// Runs a statement and takes its whole result.
    pub(crate) fn query(
        &mut self,
        sql: &str,
        format: &str,
        params: &Params,
    ) -> Result<(Bytes, Summary), DbError> {
        let result = self.0.query(sql, format, params);
        match result.error() {
            Some(error) => Err(error.into()),
            None => Ok((Bytes::copy_from_slice(result.bytes()), Summary::of(&result))),
        }
    }

    /// Runs a select and takes its result in pieces, to be concatenated.
    /// `format` must be one that [`is_streamable`] names.
    pub(crate) fn select(&mut self, sql: &str, format: &str, params: &Params) -> Result<Select<'_>, DbError> {
        let repeats_header = format.eq_ignore_ascii_case("RowBinaryWithNamesAndTypes");
        Ok(Select { stream: self.0.select(sql, format, params)?, repeats_header, first: true })
    }

    /// Begins an insert. `sql` ends before `FORMAT` or `VALUES`.
    pub(crate) fn insert(&mut self, sql: &str, format: &str, params: &Params) -> Result<Insert<'_>, DbError> {
        Ok(Insert(self.0.insert(sql, format, params)?))
    }

    /// Parses without running.
    pub(crate) fn classify(&mut self, sql: &str) -> Class {
        self.0.classify(sql)
    }
}

/// May the pieces of a streamed result be concatenated? Every piece is a whole
/// document of its format, so prologues and epilogues would repeat.
pub(crate) fn is_streamable(format: &str) -> bool {
    const STREAMABLE: [&str; 10] = [
        "Native",
        "RowBinary",
        "RowBinaryWithNamesAndTypes",
        "TabSeparated",
        "TSV",
        "TabSeparatedRaw",
        "TSVRaw",
        "CSV",
        "JSONEachRow",
        "JSONCompactEachRow",
    ];
    STREAMABLE.iter().any(|name| name.eq_ignore_ascii_case(format))
}

/// A streamed result.
pub(crate) struct Select<'a> {
    stream: ffi::SelectStream<'a>,
    repeats_header: bool,
    first: bool,
}

impl Select<'_> {
    /// The next piece, `None` at the end. The first call tells whether the
    /// statement is a good one: starting a stream does not.
    pub(crate) fn next(&mut self) -> Result<Option<(Bytes, Summary)>, DbError> {
        let piece = self.stream.fetch();
        if let Some(error) = piece.error() {
            return Err(error.into());
        }
        let first = std::mem::replace(&mut self.first, false);
        // An empty result still has its header, in a first piece without rows.
        if piece.rows() == 0 && (!first || piece.bytes().is_empty()) {
            return Ok(None);
        }
        let mut bytes = piece.bytes();
        if self.repeats_header && !first {
            bytes = after_names_and_types(bytes).ok_or_else(|| {
                DbError::new(1002, "UNKNOWN_EXCEPTION", "a piece of the result has a broken header")
            })?;
        }
        Ok(Some((Bytes::copy_from_slice(bytes), Summary::of(&piece))))
    }
}

/// What follows the header of RowBinaryWithNamesAndTypes: a varint `n`, then
/// `n` names and `n` types, each with its length before it.
fn after_names_and_types(bytes: &[u8]) -> Option<&[u8]> {
    let (columns, mut rest) = varint(bytes)?;
    for _ in 0..columns.checked_mul(2)? {
        let (length, text) = varint(rest)?;
        rest = text.get(usize::try_from(length).ok()?..)?;
    }
    Some(rest)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

/// A running insert; dropped before [`Insert::finish`], it leaves no row.
pub(crate) struct Insert<'a>(ffi::InsertStream<'a>);

impl Insert<'_> {
    /// Hands over a piece of the data, cut anywhere.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), DbError> {
        if data.is_empty() { Ok(()) } else { Ok(self.0.append(data)?) }
    }

    /// Commits. Only for data that is known to be complete: half a RowBinary
    /// body, cut between rows, is good data to the engine.
    pub(crate) fn finish(self) -> Result<Summary, DbError> {
        Ok(Summary::of(&self.0.finish()?))
    }

    /// Gives up.
    pub(crate) fn cancel(self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_carries_the_code_in_its_text() {
        let error = DbError::from("Code: 60. DB::Exception: Unknown table (UNKNOWN_TABLE)".to_owned());
        assert_eq!(error.code, 60);
        assert_eq!(DbError::from("no code".to_owned()).code, 1002);
    }

    #[test]
    fn the_header_of_names_and_types_is_skipped_whatever_it_holds() {
        assert_eq!(after_names_and_types(b"\x01\x01a\x05Int8!xyz").unwrap(), b"xyz");
        assert_eq!(after_names_and_types(b"\x02\x01a\x01b\x01c"), None);
        assert_eq!(after_names_and_types(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7fa"), None);
        assert_eq!(after_names_and_types(b""), None);
    }
}
