//! The guided path: messages whose shape is known are compared, not parsed.
//!
//! A connector writes the same names in the same order, again and again. A
//! [`Template`] is one such shape: literal bytes, and between them slots that
//! hold a value. Owns matching; learning is `learn`. Does not own what becomes of
//! the values: they take the same way as those of the general path.
//!
//! Invariant: a template matches only what the general path would decode to the
//! same layout with the same values. In any doubt it does not match, and the
//! general path decides.

mod learn;

use std::sync::Arc;

use super::Record;
use super::connect::ValueSchema;
use super::json::Lexeme;
use super::layout::{Layout, LayoutId};
use super::meta::{MetaRef, SLOTS};
use super::scan::Scanner;

/// How many shapes of a topic are remembered.
const TEMPLATES_MAX: usize = 4;
/// After this many records in a row that no template matches ..
const MISSES_MAX: u32 = 8;
/// .. only each of these is learned from, for learning costs more than parsing.
const LEARN_EVERY: u32 = 64;

/// Literal bytes, and what comes after them.
#[derive(Debug)]
struct Step {
    literal: Box<[u8]>,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    /// a value, and the place it goes to among the [`Values`]
    Value(usize),
    /// null, and on with step `end`; else an object, by the steps that follow
    Optional(Part, usize),
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    After,
    Before,
    Transaction,
}

/// One shape of a topic's messages; see the module.
#[derive(Debug)]
struct Template {
    layout: LayoutId,
    /// columns of the layout
    width: usize,
    /// the schema in front of the payload, by identity
    schema: Option<Arc<ValueSchema>>,
    flattened: bool,
    value: Vec<Step>,
    /// `None` for a null key
    key: Option<Vec<Step>>,
    /// headers that named the table, where the value does not
    table_headers: Option<[Option<Box<[u8]>>; 2]>,
}

/// The templates of a topic, the last used first.
#[derive(Default)]
pub(super) struct Templates {
    known: Vec<Template>,
    /// in a row
    misses: u32,
    #[cfg(test)]
    pub(super) hits: u64,
}

/// A record that is to be matched, its schemas cut off.
#[derive(Clone)]
pub(super) struct Subject<'r, 'a> {
    pub(super) record: &'r Record<'a>,
    pub(super) value: &'a [u8],
    pub(super) schema: Option<Arc<ValueSchema>>,
    pub(super) key: Option<&'a [u8]>,
}

/// What the general path found out about a record.
#[derive(Debug)]
pub(super) struct Lesson {
    pub(super) layout: LayoutId,
    pub(super) flattened: bool,
    /// did the value name its table itself?
    pub(super) names_table: bool,
    /// is it an event of a row?
    pub(super) has_row: bool,
}

/// That a template matched, and which images it found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    pub(super) layout: LayoutId,
    pub(super) flattened: bool,
    pub(super) after: bool,
    pub(super) before: bool,
}

/// The values of a match: those of the after-image by column, those of the
/// before-image, the fields of [`Meta`](super::meta::Meta), and one place for what is not looked at.
#[derive(Debug, Default)]
pub(super) struct Values<'a> {
    all: Vec<Lexeme<'a>>,
}

/// The values of a match, apart.
#[derive(Debug)]
pub(super) struct Found<'v, 'a> {
    pub(super) after: &'v mut [Lexeme<'a>],
    pub(super) before: &'v mut [Lexeme<'a>],
    pub(super) meta: MetaRef<'v, 'a>,
}

impl<'a> Values<'a> {
    fn reset(&mut self, width: usize) {
        self.all.clear();
        self.all.resize(2 * width + SLOTS + 1, Lexeme::ABSENT);
    }

    /// What was found; `None` before any match.
    pub(super) fn found(&mut self, found: Match) -> Option<Found<'_, 'a>> {
        let width = self.all.len().checked_sub(SLOTS + 1)? / 2;
        let (after, rest) = self.all.split_at_mut(width);
        let (before, rest) = rest.split_at_mut(width);
        Some(Found {
            after,
            before,
            meta: MetaRef { flattened: found.flattened, values: rest.first_chunk()? },
        })
    }

    /// The same, empty, for another record: the memory is used again.
    pub(super) fn recycle<'b>(mut self) -> Values<'b> {
        self.all.clear();
        Values { all: self.all.into_iter().map(|_| Lexeme::ABSENT).collect() }
    }
}

impl Templates {
    /// Never learns: what is left is the general path.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { misses: u32::MAX, ..Self::default() }
    }

    /// Matches a record with what is known.
    pub(super) fn find<'a>(&mut self, subject: &Subject<'_, 'a>, values: &mut Values<'a>) -> Option<Match> {
        for at in 0..self.known.len() {
            if let Some(found) = self.known[at].find(subject, values) {
                if at > 0 {
                    self.known.swap(0, at);
                }
                self.misses = 0;
                #[cfg(test)]
                {
                    self.hits += 1;
                }
                return Some(found);
            }
        }
        None
    }

    /// Learns from a record that nothing matched and the general path decoded.
    /// The template in use stays the first, so that a stray shape costs it
    /// nothing.
    pub(super) fn learn(&mut self, subject: &Subject<'_, '_>, lesson: &Lesson, layout: &Layout) {
        self.misses = self.misses.saturating_add(1);
        if self.misses > MISSES_MAX && !self.misses.is_multiple_of(LEARN_EVERY) {
            return;
        }
        let template = learn::template(subject, lesson, layout);
        if let Some(template) =
            template.filter(|template| template.find(subject, &mut Values::default()).is_some())
        {
            self.known.truncate(TEMPLATES_MAX - 1);
            self.known.insert(self.known.len().min(1), template);
        }
    }

    /// Forgets the templates of a layout that is given up.
    pub(super) fn forget(&mut self, layout: LayoutId) {
        self.known.retain(|template| template.layout != layout);
    }
}

impl Template {
    fn find<'a>(&self, subject: &Subject<'_, 'a>, values: &mut Values<'a>) -> Option<Match> {
        let same_schema = match (&self.schema, &subject.schema) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        };
        if !same_schema {
            return None;
        }
        let found = self.find_value(subject.value, values)?;
        self.matches_key(subject.key)?;
        self.matches_headers(subject.record)?;
        Some(found)
    }

    fn find_value<'a>(&self, text: &'a [u8], values: &mut Values<'a>) -> Option<Match> {
        values.reset(self.width);
        let places = values.all.as_mut_slice();
        let mut found =
            Match { layout: self.layout, flattened: self.flattened, after: self.flattened, before: false };
        let mut scanner = Scanner::new(text);
        let mut at = 0;
        while let Some(step) = self.value.get(at) {
            at += 1;
            scanner.literal(&step.literal)?;
            match step.then {
                Then::Value(place) => scanner.value_into(places.get_mut(place)?)?,
                Then::Optional(part, end) => {
                    let present = scanner.peek()? != b'n';
                    if !present {
                        scanner.literal(b"null")?;
                        at = end;
                    }
                    match part {
                        Part::After => found.after = present,
                        Part::Before => found.before = present,
                        Part::Transaction => {}
                    }
                }
                Then::Nothing => {}
            }
        }
        scanner.is_at_end().then_some(found)
    }

    fn matches_key(&self, key: Option<&[u8]>) -> Option<()> {
        let (Some(steps), Some(key)) = (&self.key, key) else {
            return (self.key.is_none() && key.is_none()).then_some(());
        };
        let mut scanner = Scanner::new(key);
        for step in steps {
            scanner.literal(&step.literal)?;
            if let Then::Value(_) = step.then {
                scanner.value()?;
            }
        }
        scanner.is_at_end().then_some(())
    }

    fn matches_headers(&self, record: &Record<'_>) -> Option<()> {
        let Some(headers) = &self.table_headers else { return Some(()) };
        let same = headers
            .iter()
            .zip(TABLE_HEADERS)
            .all(|(ours, name)| record.headers.last(name) == ours.as_deref());
        same.then_some(())
    }
}

/// Headers that name the table, where the value does not.
const TABLE_HEADERS: [&str; 2] = ["__schema", "__table"];
