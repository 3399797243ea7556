//! Learning a template from one record that the general path decoded.
//!
//! Refuses what a template cannot stand for: names with escapes or repeated,
//! images of different shape, a table or a shape that hangs on values.

use std::collections::HashSet;

use super::super::json::Kind;
use super::super::layout::Layout;
use super::super::meta::{SLOTS, Slot};
use super::super::scan::Scanner;
use super::super::{envelope, flattened};
use super::{Lesson, Part, Step, Subject, TABLE_HEADERS, Template, Then};

/// Fields of `source` that do not change from record to record: cheaper to
/// compare than to scan. Those that name the table must not change.
const CONSTANTS: [&str; 6] = ["version", "connector", "name", "schema", "db", "table"];

/// Names that say what a payload is: a row that has one of them is recognised by
/// its values, so a template cannot stand for it.
const TELLING: [&str; 11] =
    ["op", "before", "after", "source", "status", "ddl", "ts_ms", "ts_us", "ts_ns", "schema", "payload"];

/// The template of a record; `None` if there can be none.
pub(super) fn template(subject: &Subject<'_, '_>, lesson: &Lesson, layout: &Layout) -> Option<Template> {
    let teacher = Teacher { subject, layout };
    let headers = || TABLE_HEADERS.map(|name| subject.record.headers.last(name).map(Box::from));
    Some(Template {
        layout: lesson.layout,
        width: layout.columns.len(),
        schema: subject.schema.clone(),
        flattened: lesson.flattened,
        value: if lesson.flattened { teacher.flattened()? } else { teacher.envelope()? },
        key: match subject.key {
            Some(key) => Some(teacher.key(key)?),
            None => None,
        },
        table_headers: (!lesson.names_table).then(headers),
    })
}

struct Teacher<'t, 'a> {
    subject: &'t Subject<'t, 'a>,
    layout: &'t Layout,
}

impl Teacher<'_, '_> {
    fn width(&self) -> usize {
        self.layout.columns.len()
    }

    /// Places of values: see [`super::Values`].
    fn after(&self, name: &str) -> Option<usize> {
        self.layout.place(name, usize::MAX)
    }

    fn before(&self, name: &str) -> Option<usize> {
        Some(self.width() + self.after(name)?)
    }

    fn meta(&self, slot: Slot) -> usize {
        2 * self.width() + slot as usize
    }

    fn ignored(&self) -> usize {
        2 * self.width() + SLOTS
    }

    /// A key of columns of the row, and what a router adds to it.
    fn key(&self, key: &[u8]) -> Option<Vec<Step>> {
        let mut pen = Pen::new(key);
        let mut names = 0;
        pen.object(|pen, name| {
            names += usize::from(!name.starts_with(flattened::MARK));
            pen.slot(self.ignored())
        })?;
        (names == self.layout.key.len()).then(|| pen.finish())?
    }

    fn flattened(&self) -> Option<Vec<Step>> {
        let mut pen = Pen::new(self.subject.value);
        let (mut marked, mut telling) = (false, Vec::new());
        pen.object(|pen, name| {
            marked |= name.starts_with(flattened::MARK);
            telling.extend(TELLING.into_iter().find(|telling| *telling == name));
            match flattened::slot(name) {
                Some(Slot::Schema | Slot::Db | Slot::Table) => pen.constant(),
                Some(slot) => pen.slot(self.meta(slot)),
                None if name.starts_with(flattened::MARK) => pen.slot(self.ignored()),
                None => pen.slot(self.after(name)?),
            }
        })?;
        // with `__…` fields, only an envelope's own two can still tell otherwise
        let doubt =
            if marked { telling.contains(&"op") && telling.contains(&"source") } else { !telling.is_empty() };
        if doubt {
            return None;
        }
        pen.finish()
    }

    fn envelope(&self) -> Option<Vec<Step>> {
        let image = self.image()?;
        let mut pen = Pen::new(self.subject.value);
        let mut has_source = false;
        pen.object(|pen, name| match name {
            "before" => pen.image(Part::Before, image, |name| self.before(name)),
            "after" => pen.image(Part::After, image, |name| self.after(name)),
            "source" => {
                has_source = true;
                pen.object(|pen, name| match envelope::source_slot(name) {
                    _ if CONSTANTS.contains(&name) => pen.constant(),
                    Some(slot) => pen.slot(self.meta(slot)),
                    // null is taken to be so in other messages too
                    None if pen.scanner.peek()? == b'n' => pen.constant(),
                    None => pen.slot(self.ignored()),
                })
            }
            "transaction" => self.transaction(pen),
            "op" => pen.slot(self.meta(Slot::Op)),
            _ => pen.slot(self.ignored()),
        })?;
        has_source.then(|| pen.finish())?
    }

    fn transaction(&self, pen: &mut Pen<'_>) -> Option<()> {
        let value = Scanner::new(pen.scanner.rest()).value()?;
        if value.kind != Kind::Object {
            return pen.constant();
        }
        let mut inner = Pen::new(value.text);
        inner.object(|pen, name| match envelope::transaction_slot(name) {
            Some(slot) => pen.slot(self.meta(slot)),
            None => pen.slot(self.ignored()),
        })?;
        pen.optional(Part::Transaction, inner.finish()?)
    }

    /// The text of the image that was sent, as the shape of both.
    fn image(&self) -> Option<&[u8]> {
        let mut pen = Pen::new(self.subject.value);
        let mut images = Vec::new();
        pen.object(|pen, name| {
            let value = pen.scanner.value()?;
            if matches!(name, "before" | "after") && value.kind == Kind::Object {
                images.push(value.text);
            }
            Some(())
        })?;
        images.pop()
    }
}

/// Writes down steps while going through a message.
struct Pen<'a> {
    scanner: Scanner<'a>,
    /// where the literal began that is not written yet
    from: &'a [u8],
    steps: Vec<Step>,
}

impl<'a> Pen<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { scanner: Scanner::new(text), from: text, steps: Vec::new() }
    }

    /// Writes the literal up to here.
    fn write(&mut self, then: Then) -> Option<()> {
        let len = self.from.len() - self.scanner.rest().len();
        self.steps.push(Step { literal: self.from.get(..len)?.into(), then });
        self.from = self.scanner.rest();
        Some(())
    }

    /// The rest is literal.
    fn finish(mut self) -> Option<Vec<Step>> {
        self.white_space();
        if !self.scanner.is_at_end() {
            return None;
        }
        self.write(Then::Nothing)?;
        Some(self.steps)
    }

    fn white_space(&mut self) {
        while self.scanner.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            let _ = self.scanner.literal(&[self.scanner.peek().unwrap_or_default()]);
        }
    }

    /// Goes through an object; `field` goes through each value.
    fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        let mut seen = HashSet::new();
        self.white_space();
        self.scanner.literal(b"{")?;
        self.white_space();
        if self.scanner.peek()? == b'}' {
            return self.scanner.literal(b"}");
        }
        loop {
            let name = self.scanner.value().filter(|name| name.kind == Kind::Plain)?;
            let name = std::str::from_utf8(name.body()).ok()?;
            if !seen.insert(name) {
                return None;
            }
            self.white_space();
            self.scanner.literal(b":")?;
            self.white_space();
            field(self, name)?;
            self.white_space();
            if self.scanner.literal(b",").is_none() {
                return self.scanner.literal(b"}");
            }
            self.white_space();
        }
    }

    /// A value of any kind, that goes to a place.
    fn slot(&mut self, place: usize) -> Option<()> {
        self.write(Then::Value(place))?;
        self.scanner.value()?;
        self.from = self.scanner.rest();
        Some(())
    }

    /// A value that every message of this shape has.
    fn constant(&mut self) -> Option<()> {
        self.scanner.value().map(drop)
    }

    /// A row image, or null: with the shape of `image` wherever it is there.
    fn image(&mut self, part: Part, image: &[u8], place: impl Fn(&str) -> Option<usize>) -> Option<()> {
        let mut pen = Pen::new(image);
        pen.object(|pen, name| pen.slot(place(name)?))?;
        let body = pen.finish()?;
        self.optional(part, body)
    }

    fn optional(&mut self, part: Part, body: Vec<Step>) -> Option<()> {
        let end = self.steps.len() + 1 + body.len();
        self.write(Then::Optional(part, end))?;
        self.steps.extend(body);
        self.scanner.value()?;
        self.from = self.scanner.rest();
        Some(())
    }
}
