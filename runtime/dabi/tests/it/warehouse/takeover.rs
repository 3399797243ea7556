//! What an older owner still sends when a newer one has taken the star over.

use dabi::warehouse::{ClearedLetterRow, DeadLetterRow, LetterFilter, LetterScope, WarehouseError};
use dabi_core::dead_letter::Stage;
use dabi_core::version::{Epoch, Term, Version};

use super::{Fixture, notes};
use crate::support::block_on;

/// The newer owner drops what it does not show: then nobody can show it again.
#[test]
fn a_table_that_is_gone_is_never_shown() {
    let fixture = Fixture::start();
    let table = notes();
    fixture.ensure(&table).unwrap();
    fixture.execute("CREATE TABLE star.f__g2 AS star.f__g1");
    fixture.execute("CREATE OR REPLACE VIEW star.f AS SELECT id FROM star.f__g2");
    let generations = || block_on(fixture.warehouse.generations("f", &fixture.never)).unwrap();
    assert_eq!(generations().shown, Some(2));
    let others: Vec<String> = generations().others(&[2]).map(str::to_owned).collect();
    assert_eq!(others, ["f__g1"]);

    block_on(fixture.warehouse.drop_generation("f__g1", &fixture.never)).unwrap();
    let late = block_on(fixture.warehouse.show_tables(&[table], &fixture.never)).unwrap_err();
    assert!(matches!(late, WarehouseError::Refused { .. }), "{late}");
    assert_eq!(generations().shown, Some(2));
    assert_eq!(fixture.count("star.f"), 0);
}

/// A view may lose its table for a moment; it is then seen, and replaced.
#[test]
fn a_view_that_lost_its_table_tells_so_and_can_be_switched() {
    let fixture = Fixture::start();
    let table = notes();
    fixture.ensure(&table).unwrap();
    fixture.execute("CREATE TABLE star.f__g2 AS star.f__g1");
    fixture.execute("CREATE OR REPLACE VIEW star.f AS SELECT id FROM star.f__g2");
    block_on(fixture.warehouse.drop_generation("f__g2", &fixture.never)).unwrap();
    let generations = block_on(fixture.warehouse.generations("f", &fixture.never)).unwrap();
    assert_eq!((generations.shown, generations.tables.as_slice()), (Some(2), &["f__g1".to_owned()][..]));
    block_on(fixture.warehouse.show_tables(&[table], &fixture.never)).unwrap();
    assert_eq!(fixture.count("star.f"), 0);
}

fn letter(generation: u32, key: &str) -> DeadLetterRow {
    DeadLetterRow {
        transform: "a".into(),
        generation,
        module: "m".into(),
        source: "shop.t".into(),
        key: key.into(),
        topic: "shop.t".into(),
        partition: 0,
        offset: 7,
        stage: Stage::Transform,
        code: "poison".into(),
        message: "it is".into(),
        row: "{}".into(),
        lsn: Some(5),
        ts_us: None,
    }
}

struct Letters(Fixture);

impl Letters {
    fn raise(&self, generation: u32, key: &str, version: Version) {
        self.store(&[letter(generation, key)], &[], version);
    }

    fn clear(&self, generation: u32, key: &str, version: Version) {
        self.store(&[], &[ClearedLetterRow { transform: "a".into(), generation, key: key.into() }], version);
    }

    fn store(&self, raised: &[DeadLetterRow], cleared: &[ClearedLetterRow], version: Version) {
        let token = format!("{}-{raised:?}{cleared:?}", version.0);
        let (warehouse, never) = (&self.0.warehouse, &self.0.never);
        block_on(warehouse.insert_dead_letters(raised, cleared, version, &token, never)).unwrap();
    }

    fn carry(&self, version: Version) {
        block_on(self.0.warehouse.carry_letters(&["a", "it's"], version, &self.0.never)).unwrap();
    }

    fn scope(&self, generation: u32, lowest: Version, version: Version) {
        let scope = LetterScope { generation, lowest };
        block_on(self.0.warehouse.scope_letters(&["a", "it's"], scope, version, &self.0.never)).unwrap();
    }

    /// As people see them, and as a transform without row state takes them over.
    #[track_caller]
    fn check(&self, keys: &[&str]) {
        let filter = LetterFilter { transform: Some("a".into()), ..LetterFilter::default() };
        let patience = std::time::Duration::from_secs(10);
        let shown = block_on(self.0.warehouse.latest_dead_letters(&filter, 10, patience)).unwrap();
        let mut shown: Vec<&str> = shown.iter().map(|letter| letter.id.as_str()).collect();
        shown.sort_unstable();
        let open = block_on(self.0.warehouse.open_letters("a", &self.0.never)).unwrap();
        let mut open: Vec<&str> = open.iter().map(|letter| letter.key.as_str()).collect();
        open.sort_unstable();
        assert_eq!((&shown[..], &open[..]), (keys, keys));
    }
}

fn version(term: u32, epoch: u64) -> Version {
    Version::new(Term(term), Epoch(epoch))
}

/// Without row state: an owner carries over what is open, and what another one
/// still raises does not count.
#[test]
fn letters_of_a_lower_version_do_not_count_but_those_carried_over() {
    let letters = Letters(Fixture::start());
    letters.raise(1, "it's open", version(1, 1));
    letters.raise(1, "mended", version(1, 2));
    letters.clear(1, "mended", version(1, 3));
    letters.check(&["it's open"]);
    for _ in 0..2 {
        // Both are asked again after a doubtful answer.
        letters.carry(version(2, 0));
        letters.scope(1, version(2, 0), version(2, 0));
        letters.raise(1, "late", version(1, 9));
    }
    letters.check(&["it's open"]);
    letters.clear(1, "it's open", version(2, 1));
    letters.raise(1, "late", version(2, 2));
    letters.check(&["late"]);
    letters.scope(1, version(1, 0), version(1, 0));
    letters.check(&["late"]);
}

/// With row state: letters belong to the tables that are shown.
#[test]
fn letters_of_tables_that_are_not_shown_do_not_count() {
    let letters = Letters(Fixture::start());
    letters.scope(5, Version(0), version(5, 9));
    letters.raise(5, "known", version(5, 1));
    letters.raise(7, "known", version(7, 1));
    letters.raise(7, "unknown", version(7, 1));
    letters.check(&["known"]);
    letters.scope(5, Version(0), version(8, 0));
    letters.scope(7, Version(0), version(7, 9));
    letters.clear(5, "known", version(5, 2));
    letters.check(&[]);
}
