//! One request, run on a thread that may block.
//!
//! Owns the order of things: connection, database and settings, statement,
//! then an insert stream, a select stream or a whole answer. Talks to the HTTP
//! side through channels only.
//!
//! Invariants: the data of an insert never becomes part of a statement, and is
//! committed only after the whole body came; the head of an answer is sent
//! once, after the first piece of the result.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::answer::{ExceptionTag, Headers, error_text, status};
use crate::body;
use crate::engine::{Connection, DbError, Engine, Summary, is_streamable};
use crate::request::{Request, SessionRequest};
use crate::session::{self, Session, Sessions};
use crate::statement::{Split, answering, identifier, is_empty, quoted, split_insert};

/// The first attempt to find the data of an insert looks at this much.
const HEAD_BYTES: usize = 64 << 10;
/// The longest statement, its data apart.
const STATEMENT_BYTES_MAX: usize = 16 << 20;
const PIECE_BYTES: usize = 1 << 20;
/// Pieces of an answer on their way to the client.
const PIECES_WAITING: usize = 8;

/// The head of an answer.
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The whole body, or the pieces to come.
    pub(crate) body: HeadBody,
}

/// How the body of an answer comes.
pub(crate) enum HeadBody {
    Whole(Bytes),
    Pieces(mpsc::Receiver<Result<Bytes, io::Error>>),
}

/// Bounds that every request runs under, unless its settings say otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `max_memory_usage`
    pub(crate) memory_bytes: u64,
    /// `max_threads`; 0 is the engine's choice
    pub(crate) threads: u64,
    /// The largest answer that is not streamed.
    pub(crate) answer_bytes: u64,
}

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) limits: Limits,
}

/// A request on its way to the engine.
pub(crate) struct Job {
    pub(crate) shared: Shared,
    pub(crate) request: Request,
    pub(crate) body: body::Receiver,
    /// `log_comment` of the statement: KILL QUERY finds it by this.
    pub(crate) id: String,
    pub(crate) started: Instant,
    pub(crate) head: oneshot::Sender<Head>,
    /// Set while a statement runs that is of no use without its client.
    pub(crate) killable: Arc<AtomicBool>,
}

impl Job {
    /// Runs the request and answers it.
    pub(crate) fn run(self) {
        let Self { shared, request, body, id, started, head, killable } = self;
        let query_id = request.query_id.as_deref().unwrap_or(&id);
        let headers = Headers { engine: &shared.engine, query_id, started };
        let mut run = Run {
            shared: &shared,
            request: &request,
            headers: &headers,
            id: &id,
            head: Some(head),
            whole: None,
            pieces: None,
            killable,
        };
        let outcome = match &request.session {
            None => run.in_own_connection(body),
            Some(wanted) => run.in_session(wanted, body),
        };
        if let Err(error) = outcome {
            let text = error_text(&error, &shared.engine.version);
            run.answer(status(error.code), headers.of_error(&error), text.into());
        }
        run.end_answer();
    }
}

/// A statement, and what of the body has been read beyond it.
struct Statement {
    sql: String,
    split: Split,
    data: Vec<u8>,
}

struct Run<'a> {
    shared: &'a Shared,
    request: &'a Request,
    headers: &'a Headers<'a>,
    id: &'a str,
    /// `None` once the head of the answer is sent.
    head: Option<oneshot::Sender<Head>>,
    /// An answer that waits until its session is free again: who has it may
    /// send the session's next request at once.
    whole: Option<Head>,
    /// The same for an answer in pieces: it ends when this is dropped.
    pieces: Option<mpsc::Sender<io::Result<Bytes>>>,
    killable: Arc<AtomicBool>,
}

impl Run<'_> {
    fn in_own_connection(&mut self, body: body::Receiver) -> Result<(), DbError> {
        let mut session = self.shared.sessions.take(&self.shared.engine)?;
        self.prepare(&mut session.connection)?;
        let sql = self.execute(&mut session.connection, body)?;
        // After an error, too, a fresh connection is better than a doubtful one.
        if !Session::is_changed_by(&sql) && self.undo(&mut session).is_ok() {
            self.shared.sessions.give_back(session);
        }
        Ok(())
    }

    /// Undoes what the URL of this request set.
    fn undo(&self, session: &mut Session) -> Result<(), DbError> {
        let names: Vec<String> = self.settings().into_iter().map(|(name, _)| name).collect();
        session.undo(&names, self.request.database.is_some())
    }

    fn in_session(&mut self, wanted: &SessionRequest, body: body::Receiver) -> Result<(), DbError> {
        let slot = self.shared.sessions.open(&wanted.id, wanted.timeout, wanted.must_exist)?;
        let mut guard = session::enter(&slot, &wanted.id, &self.shared.engine)?;
        let Some(session) = guard.as_mut() else { return Ok(()) };
        let outcome =
            self.prepare(&mut session.connection).and_then(|()| self.execute(&mut session.connection, body));
        if let Ok(sql) = &outcome {
            session.note(sql);
        }
        if self.undo(session).is_err() {
            // Rather a fresh session than one with another request's settings.
            *guard = None;
        }
        outcome.map(drop)
    }

    /// The settings of this request, those of its URL last, so that they win.
    fn settings(&self) -> Vec<(String, String)> {
        let limits = self.shared.limits;
        let mut settings = vec![
            ("async_insert".to_owned(), "0".to_owned()),
            // The library's own default would take `SELEC` for `SELECT SELEC`.
            ("implicit_select".to_owned(), "0".to_owned()),
            ("max_memory_usage".to_owned(), limits.memory_bytes.to_string()),
        ];
        if limits.threads > 0 {
            settings.push(("max_threads".to_owned(), limits.threads.to_string()));
        }
        for (name, value) in &self.request.settings {
            settings.retain(|(known, _)| known != name);
            settings.push((name.clone(), value.clone()));
        }
        // KILL QUERY finds the statement by it, so nobody else's may stand here.
        settings.retain(|(name, _)| name != "log_comment");
        settings.push(("log_comment".to_owned(), self.id.to_owned()));
        settings
    }

    fn prepare(&self, connection: &mut Connection) -> Result<(), DbError> {
        let settings = self.settings();
        let list: Vec<_> = settings
            .iter()
            .map(|(name, value)| format!("{} = {}", identifier(name), quoted(value)))
            .collect();
        connection.execute(&format!("SET {}", list.join(", ")))?;
        match &self.request.database {
            Some(database) => connection.execute(&format!("USE {}", identifier(database))),
            None => Ok(()),
        }
    }

    /// Runs the statement; returns its text.
    fn execute(&mut self, connection: &mut Connection, body: body::Receiver) -> Result<String, DbError> {
        let mut reader = body.reader(&self.request.coding).map_err(|e| broken_body(&e))?;
        let Statement { sql, split, data } = read_statement(&self.request.query, reader.as_mut())?;
        let proper = match &split {
            Split::Whole => sql.as_str(),
            Split::Insert { statement_end, .. } => sql.get(..*statement_end).unwrap_or_default(),
        };
        // An insert is judged with its FORMAT word and without its data.
        let judged = match &split {
            Split::Whole => proper.to_owned(),
            Split::Insert { format, .. } => format!("{proper} FORMAT {format}"),
        };
        if is_empty(judged.as_bytes()) {
            return Err(DbError::new(62, "SYNTAX_ERROR", "Empty query"));
        }
        let class = connection.classify(&judged);
        if class.statements > 1 {
            return Err(DbError::new(62, "SYNTAX_ERROR", "Multi-statements are not allowed"));
        }
        if self.request.read_only && !class.read_only {
            let message = "Cannot execute query in readonly mode: GET implies it; use POST";
            return Err(DbError::new(164, "READONLY", message));
        }
        match &split {
            Split::Insert { format, .. } => {
                self.insert(connection, proper, format, &data, reader.as_mut())?;
            }
            Split::Whole => {
                self.killable.store(class.read_only, Ordering::Relaxed);
                self.answer_query(connection, proper)?;
            }
        }
        Ok(sql)
    }

    fn insert(
        &mut self,
        connection: &mut Connection,
        sql: &str,
        format: &str,
        data: &[u8],
        reader: &mut dyn Read,
    ) -> Result<(), DbError> {
        let mut insert = connection.insert(sql, format, &self.request.params)?;
        insert.append(data)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => insert.append(piece.get(..n).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    insert.cancel();
                    return Err(broken_body(&error));
                }
            }
        }
        let summary = insert.finish()?;
        self.answer(StatusCode::OK, self.headers.of_result("TabSeparated", summary, None), Bytes::new());
        Ok(())
    }

    fn answer_query(&mut self, connection: &mut Connection, sql: &str) -> Result<(), DbError> {
        let asked = answering(sql.as_bytes());
        let format = asked.format.or_else(|| self.request.default_format.clone());
        let format = format.unwrap_or_else(|| "TabSeparated".to_owned());
        if asked.streamable && is_streamable(&format) && !self.request.whole_answer {
            return self.answer_in_pieces(connection, sql, &format);
        }
        if asked.streamable {
            let max = self.shared.limits.answer_bytes;
            connection.execute(&format!("SET max_result_bytes = {max}, result_overflow_mode = 'throw'"))?;
        }
        let outcome = connection.query(sql, &format, &self.request.params);
        if asked.streamable {
            connection.execute("SET max_result_bytes = DEFAULT, result_overflow_mode = DEFAULT")?;
        }
        let (bytes, summary) = outcome?;
        self.answer(StatusCode::OK, self.headers.of_result(&format, summary, None), bytes);
        Ok(())
    }

    fn answer_in_pieces(
        &mut self,
        connection: &mut Connection,
        sql: &str,
        format: &str,
    ) -> Result<(), DbError> {
        let mut select = connection.select(sql, format, &self.request.params)?;
        // The first piece tells whether the statement is good at all.
        let Some((first, summary)) = select.next()? else {
            let headers = self.headers.of_result(format, Summary::default(), None);
            self.answer(StatusCode::OK, headers, Bytes::new());
            return Ok(());
        };
        let tag = ExceptionTag::random();
        let (sender, pieces) = mpsc::channel(PIECES_WAITING);
        let headers = self.headers.of_result(format, summary, Some(&tag));
        self.send(Head { status: StatusCode::OK, headers, body: HeadBody::Pieces(pieces) });
        let sender = &*self.pieces.insert(sender);
        let mut piece = first;
        loop {
            if sender.blocking_send(Ok(piece)).is_err() {
                // The client has gone; dropping the stream cancels it.
                return Ok(());
            }
            piece = match select.next() {
                Ok(Some((next, _))) => next,
                Ok(None) => {
                    self.killable.store(false, Ordering::Relaxed);
                    return Ok(());
                }
                Err(error) => {
                    self.killable.store(false, Ordering::Relaxed);
                    let text = tag.trailer(&error_text(&error, &self.shared.engine.version));
                    let _ = sender.blocking_send(Ok(text.into()));
                    let _ = sender.blocking_send(Err(io::Error::other("the statement failed")));
                    return Ok(());
                }
            };
        }
    }

    fn answer(&mut self, status: StatusCode, headers: HeaderMap, body: Bytes) {
        self.killable.store(false, Ordering::Relaxed);
        self.whole = Some(Head { status, headers, body: HeadBody::Whole(body) });
    }

    fn end_answer(&mut self) {
        if let Some(head) = self.whole.take() {
            self.send(head);
        }
        self.pieces = None;
    }

    fn send(&mut self, head: Head) {
        if let Some(sender) = self.head.take() {
            // It fails if the client has gone: nobody to tell.
            let _ = sender.send(head);
        }
    }
}

/// Reads as much of the body as the statement needs: all of it, or for an
/// insert up to where its data begins.
fn read_statement(query: &str, reader: &mut dyn Read) -> Result<Statement, DbError> {
    if let Split::Insert { statement_end, format, data_start } = split_insert(query.as_bytes()) {
        let data = query.as_bytes().get(data_start..).unwrap_or_default().to_vec();
        let split = Split::Insert { statement_end, format, data_start };
        return Ok(Statement { sql: query.to_owned(), split, data });
    }
    let mut text = query.as_bytes().to_vec();
    if !text.is_empty() {
        text.push(b'\n');
    }
    let mut wanted = HEAD_BYTES;
    loop {
        let missing = u64::try_from(wanted.saturating_sub(text.len())).unwrap_or(u64::MAX);
        reader.take(missing).read_to_end(&mut text).map_err(|e| broken_body(&e))?;
        let ended = text.len() < wanted;
        let split = split_insert(&text);
        match &split {
            // A word at the very end of what was read may go on in what follows.
            Split::Insert { data_start, .. } if ended || *data_start + 2 < text.len() => {
                let data = text.split_off(*data_start);
                return Ok(Statement { sql: utf8(text)?, split, data });
            }
            Split::Whole if ended => return Ok(Statement { sql: utf8(text)?, split, data: Vec::new() }),
            _ if text.len() >= STATEMENT_BYTES_MAX => {
                let message = format!("a statement is longer than {STATEMENT_BYTES_MAX} bytes");
                return Err(DbError::new(62, "SYNTAX_ERROR", &message));
            }
            _ => wanted *= 2,
        }
    }
}

fn utf8(text: Vec<u8>) -> Result<String, DbError> {
    String::from_utf8(text).map_err(|_| DbError::new(62, "SYNTAX_ERROR", "the statement is not UTF-8"))
}

fn broken_body(error: &io::Error) -> DbError {
    let message = format!("the request body is broken: {error}");
    match error.kind() {
        io::ErrorKind::Unsupported => DbError::new(48, "NOT_IMPLEMENTED", &message),
        _ => DbError::new(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", &message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_longer_than_the_first_look_is_found_whole() {
        let columns = "a_long_name,".repeat(20_000);
        let body = format!("INSERT INTO t ({columns}b) FORMAT RowBinary\n\n\ndata");
        let statement = read_statement("", &mut body.as_bytes()).unwrap();
        assert!(statement.sql.ends_with("FORMAT RowBinary\n"));
        assert_eq!(statement.data, b"\n\ndata");
    }

    #[test]
    fn the_parameter_and_the_body_make_one_statement() {
        let statement = read_statement("SELECT", &mut &b"1"[..]).unwrap();
        assert_eq!((statement.sql.as_str(), statement.split), ("SELECT\n1", Split::Whole));
        let statement = read_statement("INSERT INTO t FORMAT CSV", &mut &b"\n1"[..]).unwrap();
        assert_eq!(statement.data, b"");
    }

    #[test]
    fn endless_text_is_refused() {
        let error = read_statement("SELECT", &mut io::repeat(b' ')).err().unwrap();
        assert_eq!(error.code, 62);
    }
}
