//! Failpoints: places at which a debug build can be made to kill itself.
//!
//! Owns the list of them, and the death: with `DABI_KILL_AT=RowsSent:3` the
//! process sends itself SIGKILL when it comes to [`Failpoint::RowsSent`] for the
//! third time. Does not own what must hold afterwards (`tests/it/survival/failpoints`).
//!
//! Invariant: a release build has nothing of it. [`reach`] is empty there, and the
//! variable is not read. That hangs on `debug_assertions` and not on a cargo
//! feature, which would have everything built twice.
//!
//! The crate `fail` does not fit: its points are strings that nobody holds
//! against the code, are switched by a feature, and panic, return or wait, where
//! after `kill -9` no line of the process may run any more.

/// Declares the points, and [`Failpoint::ALL`] from the same list.
macro_rules! failpoints {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A place at which a crash is worth trying.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Failpoint {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Failpoint {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

failpoints! {
    /// The lake is claimed under a new term, which has done nothing yet.
    TermClaimed,
    /// The lake is taken over by an empty manifest; the star is not.
    LakeTakenOver,
    /// The star is taken over by a record, and no row of the term is there.
    StarTakenOver,
    /// A page of the lake went through a changed transform without row state.
    ReplayedPage,
    /// One outbox of the store is sent again; there may be more.
    OutboxResent,
    /// A page of the lake is in row state that is built anew.
    RebuiltPage,
    /// A new generation is whole, and readers see the one before.
    ViewsDue,
    /// Readers see the new generation; letters of the one before are not cleared.
    ViewsSwitched,
    /// A table of an older generation is about to be dropped.
    DropDue,
    /// The star says that it is brought up; Kafka is not open.
    BroughtUp,
    /// An epoch is closed, and neither lane has it.
    EpochClosed,
    /// The lake's lane has an epoch that the star's has not.
    EpochHalfHanded,
    /// Kafka's group has been told a position.
    GroupMirrored,
    /// An epoch of row state is computed, and nothing of it is in the log.
    StateUnwritten,
    /// It is in the log, which is not synced.
    StateUnsynced,
    /// It is durable, and the mark beside the log is still that of the epoch before.
    StateUnmarked,
    /// It is committed, and its rows have not left.
    StateCommitted,
    /// Some frames of a checkpoint are written.
    CheckpointHalfWritten,
    /// A checkpoint is whole and has no name yet.
    CheckpointUnnamed,
    /// It has its name; what it replaces is still there.
    CheckpointNamed,
    /// One of the logs that it replaces is removed.
    LogRemoved,
    /// An epoch is evaluated, and nothing of it is in the warehouse.
    RowsUnsent,
    /// The rows of one table are in the warehouse; those of others may be on their way.
    TableSent,
    /// All rows are in the warehouse, and no dead letter.
    RowsSent,
    /// All rows and dead letters are there; `_dabi_epochs` does not say so.
    EpochUnrecorded,
    /// `_dabi_epochs` says it, and nobody in this process knows.
    EpochRecorded,
    /// A commit of the lake is sealed; this file of it is about to be uploaded.
    UploadDue,
    /// A file is uploaded; others may be on their way.
    Uploaded,
    /// All files are uploaded, and no manifest names them.
    ManifestDue,
    /// The manifest is there; the checkpoint that may be due is not.
    ManifestCommitted,
    /// A checkpoint of the lake is there, too.
    ManifestsCheckpointed,
    /// A changed module is about to be switched to.
    SwitchDue,
    /// It is switched to; what it needs of older rows has not begun.
    Switched,
    /// A page of older rows is filled in beside the live epochs.
    FilledPage,
    /// All of them are; the star's lane does not know.
    FillDone,
}

/// The process has come to `point`, and dies there if that was asked for.
#[cfg(debug_assertions)]
pub(crate) fn reach(point: Failpoint) {
    armed::reach(point);
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn reach(_: Failpoint) {}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::Failpoint;

    const VARIABLE: &str = "DABI_KILL_AT";

    /// Where the process is to die, and how often it may still pass.
    struct Armed {
        text: String,
        point: Failpoint,
        left: AtomicU32,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let Some((point, nth)) = parse(&text) else {
            // It would never come to a point that is misspelt, and its test would wait.
            panic!("{VARIABLE}={text}: write a failpoint and how often to come to it, as in RowsSent:3");
        };
        Some(Armed { text, point, left: AtomicU32::new(nth) })
    });

    /// `RowsSent:3`, or `RowsSent` for the first time.
    fn parse(text: &str) -> Option<(Failpoint, u32)> {
        let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
        let point = Failpoint::ALL.iter().find(|point| format!("{point:?}") == name)?;
        Some((*point, nth.parse().ok().filter(|nth| *nth > 0)?))
    }

    pub(super) fn reach(point: Failpoint) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.point == point) else { return };
        if armed.left.fetch_sub(1, Ordering::Relaxed) != 1 {
            return;
        }
        eprintln!("killed at failpoint {}", armed.text);
        kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
        // The signal ends every thread; this one goes nowhere until it has.
        loop {
            std::thread::park();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_is_named_with_the_times_it_is_passed() {
            assert_eq!(parse("RowsSent:3"), Some((Failpoint::RowsSent, 3)));
            assert_eq!(parse("RowsSent"), Some((Failpoint::RowsSent, 1)));
            for wrong in ["", "rowssent", "RowsSent:0", "RowsSent:x", "RowsSent:3:4", "Elsewhere:1"] {
                assert_eq!(parse(wrong), None, "{wrong}");
            }
        }
    }
}
