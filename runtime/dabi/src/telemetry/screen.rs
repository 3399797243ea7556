//! The terminal, shared by log lines and whatever is drawn live at its bottom.

use std::io::{self, Write};
use std::sync::LazyLock;

use indicatif::MultiProgress;
use tracing_subscriber::fmt::MakeWriter;

static SCREEN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// What is drawn on stderr; nothing is, where that is no terminal.
#[must_use]
pub fn screen() -> &'static MultiProgress {
    &SCREEN
}

/// Writes log lines to stderr, above what is drawn.
pub(super) struct AboveScreen;

impl Write for AboveScreen {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        SCREEN.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for AboveScreen {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}
