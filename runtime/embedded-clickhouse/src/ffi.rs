//! The C API of `libchdb`, and all the unsafe code of this program.
//!
//! Owns loading the library and the lifetimes of its objects: a stream cannot
//! outlive its connection, a result is freed once. Does not own what a
//! statement means (`engine`).
//!
//! Invariant: one connection is used by one thread at a time (`&mut`); the
//! library itself may be called from any thread.

#![expect(unsafe_code, reason = "the C API of libchdb is reached through dlsym")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use libloading::Library;

type Conn = *mut c_void;
type Res = *mut c_void;
type Ins = *mut c_void;
/// connection, statement, format, parameter names and values
type Run = unsafe extern "C" fn(
    Conn,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> *mut c_void;

macro_rules! symbols {
    ($($field:ident: $name:literal => $signature:ty,)*) => {
        struct Symbols { $($field: $signature,)* }

        impl Symbols {
            /// # Safety
            /// The library must be libchdb: the signatures are taken on trust.
            unsafe fn load(library: &Library) -> Result<Self, libloading::Error> {
                Ok(Self { $($field: *unsafe { library.get::<$signature>($name) }?,)* })
            }
        }
    };
}

symbols! {
    set_signal_handlers_enabled: b"chdb_set_signal_handlers_enabled" => unsafe extern "C" fn(c_int),
    version: b"chdb_version" => unsafe extern "C" fn() -> *const c_char,
    connect: b"chdb_connect" => unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut Conn,
    close: b"chdb_close_conn" => unsafe extern "C" fn(*mut Conn),
    query: b"chdb_query_with_params_n" => Run,
    stream_query: b"chdb_stream_query_with_params_n" => Run,
    stream_fetch: b"chdb_stream_fetch_result" => unsafe extern "C" fn(Conn, Res) -> Res,
    stream_cancel: b"chdb_stream_cancel_query" => unsafe extern "C" fn(Conn, Res),
    destroy_result: b"chdb_destroy_query_result" => unsafe extern "C" fn(Res),
    insert: b"chdb_stream_insert_with_params_n" => Run,
    insert_append: b"chdb_stream_append" => unsafe extern "C" fn(Ins, *const c_void, usize) -> c_int,
    insert_done: b"chdb_stream_done" => unsafe extern "C" fn(Ins) -> Res,
    insert_cancel: b"chdb_stream_cancel_insert" => unsafe extern "C" fn(Ins),
    insert_destroy: b"chdb_destroy_insert_stream" => unsafe extern "C" fn(Ins),
    insert_error: b"chdb_stream_insert_error" => unsafe extern "C" fn(Ins) -> *const c_char,
    result_buffer: b"chdb_result_buffer" => unsafe extern "C" fn(Res) -> *const c_char,
    result_length: b"chdb_result_length" => unsafe extern "C" fn(Res) -> usize,
    result_rows_read: b"chdb_result_rows_read" => unsafe extern "C" fn(Res) -> u64,
    result_storage_rows_read: b"chdb_result_storage_rows_read" => unsafe extern "C" fn(Res) -> u64,
    result_storage_bytes_read: b"chdb_result_storage_bytes_read" => unsafe extern "C" fn(Res) -> u64,
    result_rows_written: b"chdb_result_rows_written" => unsafe extern "C" fn(Res) -> u64,
    result_bytes_written: b"chdb_result_bytes_written" => unsafe extern "C" fn(Res) -> u64,
    result_error: b"chdb_result_error" => unsafe extern "C" fn(Res) -> *const c_char,
    classify: b"chdb_classify_query_n" => unsafe extern "C" fn(
        Conn, *const c_char, usize, *const c_char, usize, *mut RawClass) -> c_int,
}

#[repr(C)]
struct RawClass {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    class: u32,
}

/// What kind of statement the engine's parser sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// How many statements the text holds; 0 where it cannot be parsed.
    pub(crate) statements: u32,
    /// It changes nothing.
    pub(crate) read_only: bool,
}

/// Parameters of a statement: `{name:Type}` and the text of its value.
pub(crate) type Params = [(String, String)];

/// The loaded library. It is never unloaded: its background threads run on.
pub(crate) struct Api {
    symbols: Symbols,
}

impl Api {
    /// Loads the library at `path`.
    pub(crate) fn load(path: &Path) -> Result<&'static Self, libloading::Error> {
        // SAFETY: running the library's initialisers is what the user asked for
        // by naming it; the signatures are those of its C header.
        let library = Box::leak(Box::new(unsafe { Library::new(path) }?));
        let symbols = unsafe { Symbols::load(library) }?;
        // SAFETY: must precede the first connection, and does.
        unsafe { (symbols.set_signal_handlers_enabled)(0) };
        Ok(Box::leak(Box::new(Self { symbols })))
    }

    /// The version of the library.
    pub(crate) fn version(&self) -> String {
        // SAFETY: takes nothing, returns a static string.
        text(unsafe { (self.symbols.version)() }).unwrap_or_default()
    }

    /// Opens a connection on the engine's folder; `None` if it refuses (it
    /// tells why on stderr only).
    pub(crate) fn connect(&'static self, folder: &str) -> Option<Connection> {
        let arguments = [CString::new("dabi-clickhouse"), CString::new(format!("--path={folder}"))];
        let [Ok(name), Ok(path)] = arguments else { return None };
        let mut argv = [name.as_ptr().cast_mut(), path.as_ptr().cast_mut()];
        // SAFETY: two NUL-terminated strings that live through the call.
        let outer = unsafe { (self.symbols.connect)(2, argv.as_mut_ptr()) };
        // SAFETY: non-null, it points to a connection pointer.
        if outer.is_null() || unsafe { *outer }.is_null() {
            return None;
        }
        Some(Connection { api: self, outer })
    }
}

/// A connection: its own settings, current database and temporary tables.
pub(crate) struct Connection {
    api: &'static Api,
    outer: *mut Conn,
}

// SAFETY: the library allows a connection to move between threads; it does not
// allow two at once, and `&mut self` on every call sees to that.
unsafe impl Send for Connection {}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once; no stream outlives it by their lifetimes.
        unsafe { (self.api.symbols.close)(self.outer) };
    }
}

impl Connection {
    fn inner(&self) -> Conn {
        // SAFETY: valid until `close`.
        unsafe { *self.outer }
    }

    fn run(&self, function: Run, sql: &str, format: &str, params: &Params) -> *mut c_void {
        let names: Vec<_> = params.iter().map(|(name, _)| name.as_ptr().cast::<c_char>()).collect();
        let name_lengths: Vec<_> = params.iter().map(|(name, _)| name.len()).collect();
        let values: Vec<_> = params.iter().map(|(_, value)| value.as_ptr().cast::<c_char>()).collect();
        let value_lengths: Vec<_> = params.iter().map(|(_, value)| value.len()).collect();
        // SAFETY: pointers with their lengths, alive through the call; all three
        // functions of this signature copy what they keep.
        unsafe {
            function(
                self.inner(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                names.as_ptr(),
                name_lengths.as_ptr(),
                values.as_ptr(),
                value_lengths.as_ptr(),
                params.len(),
            )
        }
    }

    /// Runs a statement to its end.
    pub(crate) fn query(&mut self, sql: &str, format: &str, params: &Params) -> QueryResult {
        QueryResult { api: self.api, raw: self.run(self.api.symbols.query, sql, format, params) }
    }

    /// Starts a select whose result is fetched in pieces.
    pub(crate) fn select(
        &mut self,
        sql: &str,
        format: &str,
        params: &Params,
    ) -> Result<SelectStream<'_>, String> {
        let raw = self.run(self.api.symbols.stream_query, sql, format, params);
        let handle = QueryResult { api: self.api, raw };
        match handle.error() {
            Some(error) => Err(error),
            None => Ok(SelectStream { connection: self, handle }),
        }
    }

    /// Starts an insert whose data is appended in pieces.
    pub(crate) fn insert(
        &mut self,
        sql: &str,
        format: &str,
        params: &Params,
    ) -> Result<InsertStream<'_>, String> {
        let raw = self.run(self.api.symbols.insert, sql, format, params);
        let stream = InsertStream { connection: self, raw };
        match stream.error() {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Parses a statement without running it.
    pub(crate) fn classify(&mut self, sql: &str) -> Class {
        let mut class = RawClass { struct_size: 16, statement_count: 0, flags: 0, class: 4 };
        // SAFETY: a length-prefixed text and a struct of the size it states.
        let failed = unsafe {
            (self.api.symbols.classify)(
                self.inner(),
                sql.as_ptr().cast(),
                sql.len(),
                ptr::null(),
                0,
                &raw mut class,
            )
        };
        if failed != 0 {
            return Class { statements: 0, read_only: false };
        }
        Class { statements: class.statement_count, read_only: class.class == 0 }
    }
}

/// A result, or a piece of one.
pub(crate) struct QueryResult {
    api: &'static Api,
    raw: Res,
}

impl Drop for QueryResult {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: made by the library, destroyed once.
            unsafe { (self.api.symbols.destroy_result)(self.raw) };
        }
    }
}

impl QueryResult {
    /// The engine's message, if the statement failed.
    pub(crate) fn error(&self) -> Option<String> {
        if self.raw.is_null() {
            return Some("Code: 1002. DB::Exception: the engine returned no result".into());
        }
        // SAFETY: a live result.
        text(unsafe { (self.api.symbols.result_error)(self.raw) }).filter(|error| !error.is_empty())
    }

    /// The formatted rows.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: a live result; its buffer lives as long as it does.
        unsafe {
            let length = (self.api.symbols.result_length)(self.raw);
            let buffer = (self.api.symbols.result_buffer)(self.raw);
            if buffer.is_null() || length == 0 {
                return &[];
            }
            std::slice::from_raw_parts(buffer.cast(), length)
        }
    }

    /// Rows in this result.
    pub(crate) fn rows(&self) -> u64 {
        // SAFETY: a live result.
        unsafe { (self.api.symbols.result_rows_read)(self.raw) }
    }

    /// Rows and bytes read from storage.
    pub(crate) fn storage_read(&self) -> (u64, u64) {
        // SAFETY: a live result.
        unsafe {
            (
                (self.api.symbols.result_storage_rows_read)(self.raw),
                (self.api.symbols.result_storage_bytes_read)(self.raw),
            )
        }
    }

    /// Rows and bytes written.
    pub(crate) fn written(&self) -> (u64, u64) {
        // SAFETY: a live result.
        unsafe {
            (
                (self.api.symbols.result_rows_written)(self.raw),
                (self.api.symbols.result_bytes_written)(self.raw),
            )
        }
    }
}

/// A running select. Dropped before its end, it is cancelled.
pub(crate) struct SelectStream<'a> {
    connection: &'a mut Connection,
    handle: QueryResult,
}

impl SelectStream<'_> {
    /// The next piece; one without rows is the last.
    pub(crate) fn fetch(&mut self) -> QueryResult {
        let api = self.connection.api;
        // SAFETY: the handle belongs to this connection.
        let raw = unsafe { (api.symbols.stream_fetch)(self.connection.inner(), self.handle.raw) };
        QueryResult { api, raw }
    }
}

impl Drop for SelectStream<'_> {
    fn drop(&mut self) {
        // SAFETY: cancel comes before destroy, also at the natural end.
        unsafe { (self.connection.api.symbols.stream_cancel)(self.connection.inner(), self.handle.raw) };
    }
}

/// A running insert. Dropped before [`InsertStream::finish`], it leaves no row.
pub(crate) struct InsertStream<'a> {
    connection: &'a mut Connection,
    raw: Ins,
}

impl InsertStream<'_> {
    fn error(&self) -> Option<String> {
        // SAFETY: a live stream.
        text(unsafe { (self.connection.api.symbols.insert_error)(self.raw) })
            .filter(|error| !error.is_empty())
    }

    fn error_or_unknown(&self) -> String {
        self.error().unwrap_or_else(|| "Code: 1002. DB::Exception: the engine refused the insert".to_owned())
    }

    /// Hands over a piece of the data; blocks while the engine is behind.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), String> {
        // SAFETY: a live stream; the library copies the data.
        let failed = unsafe {
            (self.connection.api.symbols.insert_append)(self.raw, data.as_ptr().cast(), data.len())
        };
        if failed == 0 { Ok(()) } else { Err(self.error_or_unknown()) }
    }

    /// Commits.
    pub(crate) fn finish(self) -> Result<QueryResult, String> {
        let api = self.connection.api;
        // SAFETY: a live stream; called once, since this takes it.
        let result = QueryResult { api, raw: unsafe { (api.symbols.insert_done)(self.raw) } };
        if result.raw.is_null() {
            return Err(self.error_or_unknown());
        }
        match result.error() {
            Some(error) => Err(error),
            None => Ok(result),
        }
    }

    /// Gives up: no row is kept.
    pub(crate) fn cancel(self) {
        // SAFETY: a live stream; drop destroys it.
        unsafe { (self.connection.api.symbols.insert_cancel)(self.raw) };
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        // SAFETY: destroyed once; without `done` nothing is committed.
        unsafe { (self.connection.api.symbols.insert_destroy)(self.raw) };
    }
}

fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the library's strings end with NUL.
    Some(unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

unsafe extern "C" {
    /// POSIX: ends the process without exit handlers.
    safe fn _exit(code: c_int) -> !;
}

/// Ends the process at once. The engine does not survive its own exit handlers
/// while its threads run, and everything acknowledged is on disk.
pub(crate) fn exit_without_handlers(code: i32) -> ! {
    _exit(code)
}
