//! JSON as the text that it is.

use std::fmt;
use std::ops::Deref;

/// Text that is known to be JSON. `T` is `String` or `&str`.
///
/// It stays text: a document that is only passed on keeps its numbers, its
/// order and its spaces. Parse it with the JSON crate of your choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T = String>(pub T);

impl<T: AsRef<str>> Deref for Json<T> {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_ref()
    }
}

impl<T: fmt::Display> fmt::Display for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
