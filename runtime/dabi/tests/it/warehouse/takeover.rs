//! What an older owner still sends when a newer one has taken the star over.

use dabi::warehouse::{DeadLetterRow, LetterFilter, WarehouseError};
use dabi_core::dead_letter::Stage;
use dabi_core::engine::stateful::ClearedLetter;
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

fn letter(transform: &str, key: &str) -> DeadLetterRow {
    DeadLetterRow {
        transform: transform.into(),
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
    fn raise(&self, transform: &str, key: &str, version: Version) {
        self.store(&[letter(transform, key)], &[], version);
    }

    fn clear(&self, transform: &str, key: &str, version: Version) {
        self.store(&[], &[ClearedLetter { transform: transform.into(), key: key.into() }], version);
    }

    fn store(&self, raised: &[DeadLetterRow], cleared: &[ClearedLetter], version: Version) {
        let token = format!("{}-{}-{raised:?}{cleared:?}", version.0, raised.len());
        let (warehouse, never) = (&self.0.warehouse, &self.0.never);
        block_on(warehouse.insert_dead_letters(raised, cleared, version, &token, never)).unwrap();
    }

    /// As people see them, and as a transform without row state takes them over.
    #[track_caller]
    fn check(&self, transform: &str, keys: &[&str]) {
        let filter = LetterFilter { transform: Some(transform.into()), ..LetterFilter::default() };
        let patience = std::time::Duration::from_secs(10);
        let shown = block_on(self.0.warehouse.latest_dead_letters(&filter, 10, patience)).unwrap();
        let mut shown: Vec<&str> = shown.iter().map(|letter| letter.id.as_str()).collect();
        shown.sort_unstable();
        let open = block_on(self.0.warehouse.open_letters(transform, &self.0.never)).unwrap();
        let mut open: Vec<&str> = open.iter().map(|letter| letter.key.as_str()).collect();
        open.sort_unstable();
        assert_eq!((&shown[..], &open[..]), (keys, keys));
    }
}

#[test]
fn letters_below_the_floor_do_not_count_but_those_carried_over() {
    let letters = Letters(Fixture::start());
    let (warehouse, never) = (&letters.0.warehouse, &letters.0.never);
    let old = |epoch| Version::new(Term(1), Epoch(epoch));
    let new = |epoch| Version::new(Term(2), Epoch(epoch));
    letters.raise("a", "it's open", old(1));
    letters.raise("a", "mended", old(2));
    letters.clear("a", "mended", old(3));
    letters.raise("b", "of another", old(1));
    letters.check("a", &["it's open"]);

    for _ in 0..2 {
        block_on(warehouse.carry_letters(&["a"], new(0), never)).unwrap();
        block_on(warehouse.raise_letter_floor(&["a"], new(0), never)).unwrap();
        // Both are asked again after a doubtful answer.
        letters.raise("a", "late", old(9));
    }
    letters.check("a", &["it's open"]);
    letters.check("b", &["of another"]);

    letters.clear("a", "it's open", new(1));
    letters.raise("a", "late", new(2));
    letters.check("a", &["late"]);
    block_on(warehouse.raise_letter_floor(&["a", "b"], new(3), never)).unwrap();
    block_on(warehouse.raise_letter_floor(&["a"], old(1), never)).unwrap();
    letters.check("a", &[]);
    letters.check("b", &[]);
}
