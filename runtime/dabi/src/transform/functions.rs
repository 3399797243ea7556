//! Compiled functions, kept so that a module which differs from one before in a
//! few of them compiles in a moment: an edit of a transform leaves its SDK and
//! its standard library as they were.
//!
//! Owns how many bytes are kept. What a key stands for is Cranelift's: the
//! function's code and every flag that it was compiled under.
//!
//! Invariant: at most [`BYTES_MAX`] of keys and code, and what was asked for last
//! goes last.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use wasmtime::CacheStore;

/// Enough for several transforms; what goes is compiled again.
const BYTES_MAX: usize = 16 << 20;

/// The kept functions.
#[derive(Default)]
pub(super) struct Functions(Mutex<Ages>);

/// Two ages: what is asked for moves to the newer one, and when that is full the
/// older one goes.
#[derive(Default)]
struct Ages {
    newer: HashMap<Box<[u8]>, Box<[u8]>>,
    newer_bytes: usize,
    older: HashMap<Box<[u8]>, Box<[u8]>>,
}

impl Ages {
    fn insert(&mut self, key: Box<[u8]>, code: Box<[u8]>) {
        let bytes = key.len() + code.len();
        if self.newer_bytes + bytes > BYTES_MAX / 2 {
            self.older = std::mem::take(&mut self.newer);
            self.newer_bytes = 0;
        }
        if bytes <= BYTES_MAX / 2 && self.newer.insert(key, code).is_none() {
            self.newer_bytes += bytes;
        }
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut ages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((key, code)) = ages.older.remove_entry(key) {
            ages.insert(key, code);
        }
        ages.newer.get(key).map(|code| Cow::Owned(code.to_vec()))
    }

    fn insert(&self, key: &[u8], code: Vec<u8>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.into(), code.into());
        true
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Functions").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let functions = Functions::default();
        let code = |number: u32| {
            let mut code = vec![0; 1 << 20];
            code[..4].copy_from_slice(&number.to_le_bytes());
            code
        };
        for number in 0..100_u32 {
            functions.insert(&number.to_le_bytes(), code(number));
            assert_eq!(functions.get(&0_u32.to_le_bytes()).as_deref(), Some(code(0).as_slice()));
        }
        let kept = (0..100_u32).filter(|number| functions.get(&number.to_le_bytes()).is_some()).count();
        assert!((2..=BYTES_MAX >> 20).contains(&kept), "{kept}");
        assert!(functions.get(&99_u32.to_le_bytes()).is_some());
        assert!(functions.get(&1_u32.to_le_bytes()).is_none());
    }
}
