//! Sessions: connections that outlive their request, for `SET`, `USE` and
//! temporary tables.
//!
//! Invariant: one request at a time per session; what a request set through its
//! URL is gone when the next one begins, what the session set itself stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::engine::{Connection, DbError, Engine};
use crate::statement::{begins_with, identifier};

/// The engine's default; `session_timeout` gives another.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// As on a server.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
const SESSIONS_MAX: usize = 256;
/// Connections kept for requests without a session: as many as run at once.
const IDLE_MAX: usize = 32;

/// A session's connection and what the session did to it.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    /// Its own SET and USE statements, to be applied again.
    own: Vec<String>,
}

impl Session {
    /// Notes a statement that succeeded, if it changes the session itself.
    pub(crate) fn note(&mut self, sql: &str) {
        if begins_with(sql.as_bytes(), "SET") || begins_with(sql.as_bytes(), "USE") {
            self.own.retain(|known| known != sql);
            self.own.push(sql.to_owned());
        }
    }

    /// Does a statement leave something behind that only a session may keep?
    pub(crate) fn is_changed_by(sql: &str) -> bool {
        ["SET", "USE"].iter().any(|word| begins_with(sql.as_bytes(), word))
            || sql.to_ascii_uppercase().contains("TEMPORARY")
    }

    /// Undoes what the URL of a request set.
    pub(crate) fn undo(&mut self, settings: &[String], database: bool) -> Result<(), DbError> {
        if database {
            self.connection.execute("USE `default`")?;
        }
        if !settings.is_empty() {
            let list: Vec<_> =
                settings.iter().map(|name| format!("{} = DEFAULT", identifier(name))).collect();
            self.connection.execute(&format!("SET {}", list.join(", ")))?;
        }
        for sql in &self.own {
            self.connection.execute(sql)?;
        }
        Ok(())
    }
}

struct Slot {
    /// `None` after a failure to undo: the next request starts afresh.
    session: Arc<Mutex<Option<Session>>>,
    timeout: Duration,
    used: Instant,
}

/// All open sessions, and connections that wait for requests without one.
#[derive(Default)]
pub(crate) struct Sessions {
    slots: Mutex<HashMap<String, Slot>>,
    idle: Mutex<Vec<Session>>,
}

impl Sessions {
    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        // A panic elsewhere leaves the map whole: every change of it is one call.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection for one request. A new one costs the engine some 15 ms, and
    /// once there are tables five threads that it never gives back.
    ///
    /// # Errors
    /// If the engine refuses one.
    pub(crate) fn take(&self, engine: &Engine) -> Result<Session, DbError> {
        if let Some(idle) = self.idle().pop() {
            return Ok(idle);
        }
        Ok(Session { connection: engine.connect()?, own: Vec::new() })
    }

    /// Gives a connection back as it was taken.
    pub(crate) fn give_back(&self, session: Session) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(session);
        }
    }

    /// The session `id`, made if it is new and `must_exist` does not forbid.
    ///
    /// # Errors
    /// 372 if it must exist and does not; 373 from [`enter`] if it is busy.
    pub(crate) fn open(
        &self,
        id: &str,
        timeout: Duration,
        must_exist: bool,
    ) -> Result<Arc<Mutex<Option<Session>>>, DbError> {
        let mut slots = self.slots();
        if must_exist && !slots.contains_key(id) {
            return Err(DbError::new(372, "SESSION_NOT_FOUND", &format!("Session {id} not found")));
        }
        if slots.len() >= SESSIONS_MAX && !slots.contains_key(id) {
            let message = format!("more than {SESSIONS_MAX} sessions are open; let some time out");
            return Err(DbError::new(202, "TOO_MANY_SIMULTANEOUS_QUERIES", &message));
        }
        let slot = slots.entry(id.to_owned()).or_insert_with(|| Slot {
            session: Arc::default(),
            timeout,
            used: Instant::now(),
        });
        slot.used = Instant::now();
        slot.timeout = timeout.min(TIMEOUT_MAX);
        Ok(Arc::clone(&slot.session))
    }

    /// Closes sessions that nobody used within their timeout.
    pub(crate) fn close_idle(&self) {
        let now = Instant::now();
        let idle: Vec<Slot> = self
            .slots()
            .extract_if(|_, slot| {
                Arc::strong_count(&slot.session) == 1 && now.duration_since(slot.used) > slot.timeout
            })
            .map(|(_, slot)| slot)
            .collect();
        // Dropped here, outside of the lock: closing may take a while.
        drop(idle);
    }

    /// Closes all sessions that are not in use.
    pub(crate) fn close_all(&self) {
        let (slots, idle) = (std::mem::take(&mut *self.slots()), std::mem::take(&mut *self.idle()));
        drop((slots, idle));
    }
}

/// Takes a session for one request.
///
/// # Errors
/// 373 if another request has it.
pub(crate) fn enter<'a>(
    session: &'a Mutex<Option<Session>>,
    id: &str,
    engine: &Engine,
) -> Result<MutexGuard<'a, Option<Session>>, DbError> {
    let mut guard = match session.try_lock() {
        Ok(guard) => guard,
        // The request that panicked may have left anything behind.
        Err(TryLockError::Poisoned(poisoned)) => {
            let mut guard = poisoned.into_inner();
            *guard = None;
            session.clear_poison();
            guard
        }
        Err(TryLockError::WouldBlock) => {
            let message = format!("Session {id} is locked by a concurrent client");
            return Err(DbError::new(373, "SESSION_IS_LOCKED", &message));
        }
    };
    if guard.is_none() {
        *guard = Some(Session { connection: engine.connect()?, own: Vec::new() });
    }
    Ok(guard)
}
