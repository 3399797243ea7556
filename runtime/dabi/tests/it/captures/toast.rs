//! Case 10: values that an update has left alone, and that were therefore not sent,
//! of every type that PostgreSQL stores apart from its row.

use dabi::lake::{Lake, LakeSettings};
use dabi_fixtures::{TOAST_VARIANTS, toast_tables};

use super::{LIMIT, judge_star, judge_with_and_without_state};
use crate::lake::fixtures::differences_of_fold;
use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::{block_on, free_port, wait_until};

/// The guests: `toast` has row state, which fills in what was not sent; under
/// REPLICA IDENTITY FULL everything is, and `toast_full` needs none.
const PACKAGES: [&str; 2] = ["toast", "toast_full"];

#[test]
fn values_that_were_left_alone_are_in_the_star_under_both_identities() {
    let (clickhouse, brokers) = (ClickHouse::start(), format!("127.0.0.1:{}", free_port()));
    let broker = Dabi::new("");
    let broker = broker.start(&["broker", "--listen", &brokers]);
    wait_until("the broker listens", LIMIT, || broker.output().contains("Kafka on"));
    for variant in TOAST_VARIANTS {
        judge_with_and_without_state(variant, &brokers, &clickhouse, &PACKAGES, |dabi| {
            judge(variant, dabi, &clickhouse);
        });
    }
}

fn judge(variant: &str, dabi: &Dabi, clickhouse: &ClickHouse) {
    let path = dabi.home().join("lake");
    let lake = Lake::open(&LakeSettings::at(path.to_str().expect("a path of text"))).expect("open the lake");
    let mut failures = String::new();
    for table in toast_tables() {
        failures += &judge_star(variant, &table, &format!("f_{}", table.name), clickhouse);
        failures += &block_on(differences_of_fold(&lake, variant, &table));
    }
    assert!(failures.is_empty(), "{failures}");
    let looked_up = format!(
        "SELECT count() FROM {variant}.f_toast AS t LEFT JOIN {variant}.f_toast_full AS f ON t.id = f.id \
         WHERE t.full_n != f.n OR t.full_text != f.c_text OR t.full_n IS NULL"
    );
    assert_eq!(clickhouse.query(&looked_up).trim(), "0", "{variant}: rows that were looked up");
}
