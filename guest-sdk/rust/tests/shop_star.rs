//! The shop's whole star, as its transforms will be: history, looked-up rows,
//! and facts that refer to the versions of dimensions.

use dabi_sdk::bindings::types::{
    AsOf, Batch, Column, ColumnData, ColumnSource, InputColumn, MissingPolicy, Spec, Target, TargetKind,
    Values, VarBytes,
};
use dabi_sdk::prelude::*;
use dabi_sdk::row;

mod dim_date {
    use dabi_sdk::prelude::*;

    #[derive(SourceRow)]
    #[source(table = "dabi.calendar")]
    pub(crate) struct Day {
        pub(crate) date: Date,
        pub(crate) iso_weekday: i32,
    }

    /// One row per day.
    #[derive(StarRow, Debug, PartialEq)]
    #[star(table = "dim_date")]
    pub(crate) struct DimDate {
        /// yyyymmdd
        #[key]
        pub(crate) date_key: i32,
        pub(crate) date: Passed<Date>,
        pub(crate) year: Passed<i32>,
        pub(crate) month: Passed<i32>,
        #[column(low_cardinality)]
        pub(crate) month_name: Passed<String>,
        pub(crate) is_weekend: bool,
    }

    #[dabi_sdk::transform]
    pub(crate) fn dim_date(day: Day) -> Option<DimDate> {
        Some(DimDate {
            date_key: day.date.key()?,
            date: passed(),
            year: passed(),
            month: passed(),
            month_name: passed(),
            is_weekend: day.iso_weekday >= 6,
        })
    }
}

mod dim_products {
    use dabi_sdk::prelude::*;

    #[derive(SourceRow)]
    #[source(table = "public.aisles")]
    pub(crate) struct Aisle;

    #[derive(SourceRow)]
    #[source(table = "public.departments")]
    pub(crate) struct Department<'a> {
        #[expect(dead_code, reason = "tells a department that is missing from one without a name")]
        pub(crate) department_id: i32,
        pub(crate) department: Option<&'a str>,
    }

    #[derive(SourceRow)]
    #[source(table = "public.products")]
    pub(crate) struct Product<'a> {
        pub(crate) product_name: &'a str,
        #[lookup(on = "aisle_id")]
        pub(crate) aisle: Aisle,
        #[lookup(on = "department_id")]
        pub(crate) department: Option<Department<'a>>,
    }

    /// Every version of every product.
    #[derive(StarRow, Debug, PartialEq)]
    #[star(table = "dim_products", kind = "scd2")]
    pub(crate) struct DimProduct<'a> {
        #[key]
        pub(crate) product_id: Passed<i64>,
        #[column(tracked)]
        pub(crate) product_name: &'a str,
        #[column(tracked)]
        pub(crate) aisle_id: Passed<i32>,
        #[column(from = "aisle.aisle", low_cardinality)]
        pub(crate) aisle: Passed<String>,
        #[column(low_cardinality)]
        pub(crate) department: &'a str,
    }

    #[dabi_sdk::transform]
    pub(crate) fn dim_products(product: Product) -> DimProduct {
        DimProduct {
            product_id: passed(),
            product_name: product.product_name.trim(),
            aisle_id: passed(),
            aisle: passed(),
            department: product.department.and_then(|found| found.department).unwrap_or("none"),
        }
    }
}

mod dim_users {
    use dabi_sdk::prelude::*;

    #[derive(SourceRow)]
    #[source(table = "public.users")]
    pub(crate) struct User;

    /// Every version of every user.
    #[derive(StarRow, Debug, PartialEq)]
    #[star(table = "dim_users", kind = "scd2")]
    pub(crate) struct DimUser {
        #[key]
        pub(crate) user_id: Passed<i64>,
        pub(crate) name: Passed<Option<String>>,
    }

    #[dabi_sdk::transform]
    pub(crate) fn dim_users(_: User) -> DimUser {
        DimUser { user_id: passed(), name: passed() }
    }
}

mod f_orders {
    use dabi_sdk::prelude::*;

    #[derive(SourceRow)]
    #[source(table = "public.orders")]
    pub(crate) struct Order {
        pub(crate) order_date: TimestampTz,
        pub(crate) tip_given: Option<bool>,
    }

    /// One row per order.
    #[derive(StarRow, Debug, PartialEq)]
    #[star(table = "f_orders")]
    pub(crate) struct FOrder {
        #[key]
        pub(crate) order_id: Passed<i64>,
        pub(crate) user_id: Passed<i64>,
        pub(crate) order_date: Passed<TimestampTz>,
        /// The user as they were when they ordered.
        #[as_of(dimension = "dim_users", key = "user_id", at = "order_date")]
        pub(crate) user_key: Passed<VersionKey>,
        pub(crate) date_key: i32,
        pub(crate) is_tip_given: bool,
    }

    #[dabi_sdk::transform]
    pub(crate) fn f_orders(order: Order) -> Option<FOrder> {
        Some(FOrder {
            order_id: passed(),
            user_id: passed(),
            order_date: passed(),
            user_key: passed(),
            date_key: order.order_date.date().key()?,
            is_tip_given: order.tip_given.unwrap_or(false),
        })
    }
}

mod f_order_lines {
    use dabi_sdk::prelude::*;

    #[derive(SourceRow)]
    #[source(table = "public.users")]
    pub(crate) struct User<'a> {
        pub(crate) country: Option<&'a str>,
    }

    #[derive(SourceRow)]
    #[source(table = "public.orders")]
    pub(crate) struct Order<'a> {
        pub(crate) order_date: TimestampTz,
        #[lookup(on = "user_id", missing = "reject")]
        pub(crate) user: User<'a>,
    }

    #[derive(SourceRow)]
    #[source(table = "public.order_products")]
    pub(crate) struct Line<'a> {
        pub(crate) add_to_cart_order: i32,
        #[lookup(on = "order_id")]
        pub(crate) order: Order<'a>,
    }

    /// One row per order line.
    #[derive(StarRow, Debug, PartialEq)]
    #[star(table = "f_order_lines", order = "product_id, order_id")]
    pub(crate) struct FOrderLine<'a> {
        #[key]
        pub(crate) order_id: Passed<i64>,
        #[key]
        pub(crate) product_id: Passed<i64>,
        #[column(from = "order.user_id")]
        pub(crate) user_id: Passed<i64>,
        #[column(from = "order.order_date")]
        pub(crate) ordered_at: Passed<TimestampTz>,
        #[as_of(dimension = "dim_products", key = "product_id", at = "ordered_at")]
        pub(crate) product_key: Passed<Option<VersionKey>>,
        #[as_of(dimension = "dim_users", key = "user_id", at = "ordered_at", missing = "reject")]
        pub(crate) user_key: Passed<VersionKey>,
        #[column(from = "order.user.name")]
        pub(crate) user_name: Passed<Option<String>>,
        pub(crate) country: Option<&'a str>,
        pub(crate) date_key: i32,
        pub(crate) add_to_cart_order: i32,
    }

    /// One row per line and part of its basket.
    #[derive(StarRow, Debug, PartialEq)]
    #[star(table = "f_line_steps")]
    pub(crate) struct FLineStep {
        #[key]
        pub(crate) order_id: Passed<i64>,
        #[key]
        pub(crate) product_id: Passed<i64>,
        #[key]
        pub(crate) step: i32,
    }

    #[dabi_sdk::transform]
    pub(crate) fn f_order_lines<'a>(line: Line<'a>) -> Result<(FOrderLine<'a>, Vec<FLineStep>), RowError> {
        let steps = (0..line.add_to_cart_order)
            .map(|step| FLineStep { order_id: passed(), product_id: passed(), step })
            .collect();
        let day = line.order.order_date.date();
        let row = FOrderLine {
            order_id: passed(),
            product_id: passed(),
            user_id: passed(),
            ordered_at: passed(),
            product_key: passed(),
            user_key: passed(),
            user_name: passed(),
            country: line.order.user.country,
            date_key: day.key().ok_or_else(|| RowError::new("no-day", "the order has no day"))?,
            add_to_cart_order: line.add_to_cart_order,
        };
        Ok((row, steps))
    }
}

mod order_changes {
    use dabi_sdk::prelude::*;

    #[derive(SourceRow)]
    #[source(table = "public.orders")]
    pub(crate) struct Order<'a> {
        #[column(name = "_op")]
        pub(crate) op: &'a str,
    }

    /// One row per change of an order.
    #[derive(StarRow, Debug, PartialEq)]
    #[star(table = "order_changes", kind = "append")]
    pub(crate) struct OrderChange {
        #[key]
        pub(crate) order_id: Passed<i64>,
        #[column(from = "_ts")]
        pub(crate) changed_at: Passed<TimestampTz>,
        #[column(from = "_before.tip_given")]
        pub(crate) tip_before: Passed<Option<bool>>,
        pub(crate) is_new: bool,
    }

    #[dabi_sdk::transform]
    pub(crate) fn order_changes(order: Order) -> [OrderChange; 1] {
        [OrderChange {
            order_id: passed(),
            changed_at: passed(),
            tip_before: passed(),
            is_new: order.op == "c",
        }]
    }
}

fn inputs(columns: &[InputColumn]) -> Vec<(&str, bool, bool)> {
    columns.iter().map(|column| (column.name.as_str(), column.read, column.nullable)).collect()
}

fn sources(target: &Target) -> Vec<Option<u32>> {
    let source = |column: &dabi_sdk::bindings::types::TargetColumn| match column.source {
        ColumnSource::Input(position) => Some(position),
        ColumnSource::Computed | ColumnSource::AsOf(_) => None,
    };
    target.columns.iter().map(source).collect()
}

fn tracked(spec: &Spec) -> Vec<&str> {
    let columns = spec.targets[0].columns.iter();
    columns.filter(|column| column.tracked).map(|column| column.name.as_str()).collect()
}

#[test]
fn a_chain_of_lookups_is_laid_out_from_the_row_outwards() {
    let spec = row::describe(f_order_lines::f_order_lines, "f_order_lines", "1");
    let lookups: Vec<_> = spec
        .lookups
        .iter()
        .map(|lookup| (lookup.name.as_str(), lookup.table.as_str(), &lookup.key, &lookup.on, lookup.missing))
        .collect();
    let [order_id, user_id] = ["order_id", "user_id"].map(|name| vec![name.to_owned()]);
    let through = vec!["order.user_id".to_owned()];
    assert_eq!(
        lookups,
        [
            ("order", "public.orders", &order_id, &order_id, MissingPolicy::Hold),
            ("order_user", "public.users", &user_id, &through, MissingPolicy::Reject),
        ]
    );
    assert_eq!(
        inputs(&spec.columns),
        [("add_to_cart_order", true, false), ("order_id", false, false), ("product_id", false, false)]
    );
    assert_eq!(inputs(&spec.lookups[0].columns), [("order_date", true, false), ("user_id", false, false)]);
    assert_eq!(inputs(&spec.lookups[1].columns), [("country", true, true), ("name", false, true)]);
}

#[test]
fn passed_columns_count_through_the_lookups_of_all_tables() {
    let spec = row::describe(f_order_lines::f_order_lines, "f_order_lines", "1");
    let [lines, steps] = spec.targets.as_slice() else { panic!("two targets") };
    let (order_id, product_id, order_date, user_id, name) = (Some(1), Some(2), Some(3), Some(4), Some(6));
    assert_eq!(
        sources(lines),
        [order_id, product_id, user_id, order_date, None, None, name, None, None, None]
    );
    assert_eq!(sources(steps), [order_id, product_id, None]);
}

#[test]
fn references_to_versions_name_columns_of_the_fact() {
    let spec = row::describe(f_order_lines::f_order_lines, "f_order_lines", "1");
    let target = &spec.targets[0];
    let shown = |reference: &AsOf| {
        (reference.dimension.clone(), reference.key.clone(), reference.at.clone(), reference.missing)
    };
    let at = || "ordered_at".to_owned();
    assert_eq!(
        target.as_of.iter().map(shown).collect::<Vec<_>>(),
        [
            ("dim_products".into(), vec!["product_id".into()], at(), MissingPolicy::Nulls),
            ("dim_users".into(), vec!["user_id".into()], at(), MissingPolicy::Reject),
        ]
    );
    assert!(matches!(target.columns[4].source, ColumnSource::AsOf(0)) && target.columns[4].nullable);
    assert!(matches!(target.columns[5].source, ColumnSource::AsOf(1)) && !target.columns[5].nullable);
    let orders = row::describe(f_orders::f_orders, "f_orders", "1");
    assert_eq!(orders.targets[0].as_of[0].missing, MissingPolicy::Hold);
}

#[test]
fn versions_begin_with_a_change_of_what_the_row_itself_says() {
    let products = row::describe(dim_products::dim_products, "dim_products", "1");
    assert_eq!(products.targets[0].kind, TargetKind::Scd2);
    assert_eq!(tracked(&products), ["product_name", "aisle_id"]);
    let users = row::describe(dim_users::dim_users, "dim_users", "1");
    assert_eq!(tracked(&users), ["name"]);
    assert_eq!(tracked(&row::describe(f_orders::f_orders, "f_orders", "1")), [""; 0]);
    let changes = row::describe(order_changes::order_changes, "order_changes", "1");
    assert_eq!(changes.targets[0].kind, TargetKind::Append);
    assert_eq!(inputs(&changes.columns)[3], ("_before.tip_given", false, true));
}

#[test]
fn the_functions_are_tested_as_functions() {
    let day = |iso_weekday| dim_date::Day { date: Date::from_days(0), iso_weekday };
    assert!(!dim_date::dim_date(day(5)).unwrap().is_weekend);
    assert!(dim_date::dim_date(day(6)).unwrap().is_weekend);

    let product =
        |department| dim_products::Product { product_name: " tea ", aisle: dim_products::Aisle, department };
    assert_eq!(dim_products::dim_products(product(None)).department, "none");
    let found = dim_products::Department { department_id: 1, department: Some("pantry") };
    assert_eq!(dim_products::dim_products(product(Some(found))).department, "pantry");
    assert_eq!(dim_products::dim_products(product(None)).product_name, "tea");

    let order = |tip_given| f_orders::Order { order_date: TimestampTz::from_micros(0), tip_given };
    assert!(!f_orders::f_orders(order(None)).unwrap().is_tip_given);
    assert_eq!(f_orders::f_orders(order(Some(true))).unwrap().date_key, 19_700_101);
    assert_eq!(dim_users::dim_users(dim_users::User).user_id, passed());
    assert!(order_changes::order_changes(order_changes::Order { op: "c" })[0].is_new);
}

fn column(data: Values, validity: Option<u8>) -> Column {
    Column { data: ColumnData::Scalar(data), validity: validity.map(|bits| vec![bits]) }
}

fn texts(values: &[&str], validity: Option<u8>) -> Column {
    let mut bytes = VarBytes { offsets: vec![0], data: Vec::new() };
    for value in values {
        bytes.data.extend_from_slice(value.as_bytes());
        bytes.offsets.push(u32::try_from(bytes.data.len()).expect("a short text"));
    }
    column(Values::VarBytes(bytes), validity)
}

#[test]
fn a_row_that_was_not_found_is_none_and_one_of_nulls_is_not() {
    let batch = Batch {
        rows: 3,
        columns: vec![
            texts(&["a", "b", "c"], None),
            // The first department was found, the second is not there, the third has no name.
            column(Values::S32s(vec![7, 0, 9]), Some(0b101)),
            texts(&["x", "", ""], Some(0b001)),
        ],
    };
    #[dabi_sdk::transform]
    fn names<'a>(product: dim_products::Product<'a>) -> Option<Seen<'a>> {
        Some(Seen { product_id: passed(), department: product.department?.department })
    }
    #[derive(StarRow)]
    #[star(table = "seen")]
    struct Seen<'a> {
        #[key]
        product_id: Passed<i64>,
        department: Option<&'a str>,
    }
    // SAFETY: the texts of this batch are UTF-8.
    let applied = unsafe { row::apply(names, &batch) }.unwrap();
    assert_eq!(applied.outputs[0].origin, [0, 2]);
    assert_eq!(applied.outputs[0].columns[0].validity, Some(vec![0b01]));
}

#[test]
fn one_row_may_give_several_of_several_tables() {
    let day_us = 86_400_000_000;
    let batch = Batch {
        rows: 3,
        columns: vec![
            column(Values::S32s(vec![2, 0, 1]), None),
            column(Values::S64s(vec![0, i64::MAX, day_us]), None),
            texts(&["", "", "no"], Some(0b100)),
        ],
    };
    // SAFETY: the texts of this batch are UTF-8.
    let applied = unsafe { row::apply(f_order_lines::f_order_lines, &batch) }.unwrap();
    let [lines, steps] = applied.outputs.as_slice() else { panic!("an output per table") };
    assert_eq!((lines.target, steps.target), (0, 1));
    assert_eq!(lines.origin, [0, 2]);
    assert_eq!(steps.origin, [0, 0, 2]);
    assert_eq!(lines.columns.len(), 3);
    assert!(matches!(&steps.columns[0].data, ColumnData::Scalar(Values::S32s(steps)) if *steps == [0, 1, 0]));
    let refused: Vec<_> = applied.errors.iter().map(|error| (error.row, error.code.as_str())).collect();
    assert_eq!(refused, [(1, "no-day")]);
}
