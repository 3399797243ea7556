//! Watching the transforms' folder.
//!
//! Owns notify: which entries of the folder something happened to, whatever
//! way an editor saves, and whether the folder itself is there. Does not own
//! what an entry is or what to do about it: an event is only a hint to look.
//!
//! Invariant: whatever is changed after [`Watcher::new`] is reported at least
//! once after the change, also in a folder that was deleted and has returned.

mod saves;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

pub use saves::Saves;

/// Folders inside of a project that hold what a toolchain makes.
const MADE_BY_TOOLS: [&str; 4] = ["target", "node_modules", "__pycache__", "dist"];

/// The folder cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error(
    "watch {}: {source}; changes are taken up at the next start (on Linux, raising fs.inotify.max_user_watches \
     or fs.inotify.max_user_instances may help)", dir.display()
)]
pub struct WatchError {
    dir: PathBuf,
    source: notify::Error,
}

/// What changed since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Names of entries of the folder that something happened to, or in.
    pub entries: BTreeSet<String>,
    /// Anything may have happened: the folder came or went, or events were lost.
    pub everything: bool,
}

/// Watches one folder until dropped.
pub struct Watcher {
    notify: RecommendedWatcher,
    dir: PathBuf,
    inbox: Arc<Inbox>,
}

/// Filled by notify's thread; bounded by the number of entries.
#[derive(Default)]
struct Inbox {
    changed: Mutex<Changed>,
    wake: Notify,
}

impl Watcher {
    /// Watches `dir`, and its parent for the case that `dir` comes and goes.
    ///
    /// # Errors
    /// If the system has no more watches, or there is no such folder.
    pub fn new(dir: &Path) -> Result<Self, WatchError> {
        let failed = |source| WatchError { dir: dir.to_owned(), source };
        let absolute = dir.canonicalize().map_err(|error| failed(error.into()))?;
        let inbox = Arc::new(Inbox::default());
        let handler = {
            let (inbox, dir) = (Arc::clone(&inbox), absolute.clone());
            move |event: notify::Result<Event>| inbox.take_in(&dir, event)
        };
        let mut notify = notify::recommended_watcher(handler).map_err(failed)?;
        if let Some(parent) = absolute.parent() {
            notify.watch(parent, RecursiveMode::NonRecursive).map_err(failed)?;
        }
        notify.watch(&absolute, RecursiveMode::Recursive).map_err(failed)?;
        Ok(Self { notify, dir: absolute, inbox })
    }

    /// Waits until something has changed. May be dropped and called again
    /// without losing anything.
    pub async fn changed(&mut self) -> Changed {
        loop {
            let changed = std::mem::take(&mut *self.inbox.lock());
            if changed.everything {
                self.watch_again();
            }
            if changed != Changed::default() {
                return changed;
            }
            self.inbox.wake.notified().await;
        }
    }

    /// A folder that has returned is another one to the system.
    fn watch_again(&mut self) {
        // Both fail while the folder is away; its return is seen by its parent.
        let _ = self.notify.unwatch(&self.dir);
        let _ = self.notify.watch(&self.dir, RecursiveMode::Recursive);
    }
}

impl Inbox {
    fn take_in(&self, dir: &Path, event: notify::Result<Event>) {
        {
            let mut changed = self.lock();
            match event {
                Ok(event) if event.need_rescan() => changed.everything = true,
                Ok(event) if is_look(event.kind) => return,
                Ok(event) => event.paths.iter().for_each(|path| note(&mut changed, dir, path)),
                // Something was missed; looking at everything makes up for it.
                Err(_) => changed.everything = true,
            }
        }
        self.wake.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Changed> {
        // A set of names is whole after every statement.
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody only looked (toolchains read every source file).
fn is_look(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// Adds what an event at `path` means.
fn note(changed: &mut Changed, dir: &Path, path: &Path) {
    if path == dir {
        changed.everything = true;
        return;
    }
    // Anything else in the parent is not ours.
    let Ok(inside) = path.strip_prefix(dir) else { return };
    let mut names = inside.components().map(|component| match component {
        Component::Normal(name) => name.to_owned(),
        _ => OsString::new(),
    });
    let Some(entry) = names.next().and_then(|name| name.into_string().ok()) else { return };
    if is_scratch(&entry) || names.any(|name| is_made(&name.to_string_lossy())) {
        return;
    }
    changed.entries.insert(entry);
}

fn is_made(name: &str) -> bool {
    is_scratch(name) || MADE_BY_TOOLS.contains(&name)
}

/// Hidden files, and the copies that editors keep while they save.
fn is_scratch(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || name.ends_with(".swp") || name.ends_with(".tmp")
}

#[cfg(test)]
mod tests;
