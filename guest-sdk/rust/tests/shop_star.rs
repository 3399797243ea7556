//! The shop's whole star: history, looked-up rows, and facts that refer to the
//! versions of dimensions.

use dabi_sdk::bindings::types::{AsOf, ColumnSource, InputColumn, MissingPolicy, Spec, Target, TargetKind};
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
        pub(crate) department: &'a str,
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
        pub(crate) product_id: Passed<i32>,
        #[column(tracked)]
        pub(crate) product_name: &'a str,
        #[column(tracked)]
        pub(crate) aisle_id: Passed<i32>,
        #[column(tracked)]
        pub(crate) department_id: Passed<i32>,
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
            department_id: passed(),
            aisle: passed(),
            department: product.department.map_or("none", |found| found.department),
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
    }

    #[dabi_sdk::transform]
    pub(crate) fn dim_users(_: User) -> DimUser {
        DimUser { user_id: passed() }
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
        pub(crate) date_key: Option<i32>,
        pub(crate) is_tip_given: bool,
    }

    #[dabi_sdk::transform]
    pub(crate) fn f_orders(order: Order) -> FOrder {
        FOrder {
            order_id: passed(),
            user_id: passed(),
            order_date: passed(),
            user_key: passed(),
            date_key: order.order_date.date().key(),
            is_tip_given: order.tip_given.unwrap_or(false),
        }
    }
}

mod f_order_lines {
    use dabi_sdk::prelude::*;

    #[derive(SourceRow)]
    #[source(table = "public.orders")]
    pub(crate) struct Order {
        pub(crate) order_date: TimestampTz,
    }

    #[derive(SourceRow)]
    #[source(table = "public.order_products")]
    pub(crate) struct Line {
        #[lookup(on = "order_id")]
        pub(crate) order: Order,
    }

    /// One row per order line.
    #[derive(StarRow, Debug, PartialEq)]
    #[star(table = "f_order_lines")]
    pub(crate) struct FOrderLine {
        #[key]
        pub(crate) order_id: Passed<i64>,
        #[key]
        pub(crate) product_id: Passed<i32>,
        #[column(from = "order.user_id")]
        pub(crate) user_id: Passed<i64>,
        #[column(from = "order.order_date")]
        pub(crate) order_date: Passed<TimestampTz>,
        /// The product as it was when it was ordered; null if nobody knows.
        #[as_of(dimension = "dim_products", key = "product_id", at = "order_date")]
        pub(crate) product_key: Passed<Option<VersionKey>>,
        /// The user as they were when they ordered.
        #[as_of(dimension = "dim_users", key = "user_id", at = "order_date", missing = "reject")]
        pub(crate) user_key: Passed<VersionKey>,
        pub(crate) date_key: Option<i32>,
        pub(crate) add_to_cart_order: Passed<i32>,
    }

    #[dabi_sdk::transform]
    pub(crate) fn f_order_lines(line: Line) -> FOrderLine {
        FOrderLine {
            order_id: passed(),
            product_id: passed(),
            user_id: passed(),
            order_date: passed(),
            product_key: passed(),
            user_key: passed(),
            date_key: line.order.order_date.date().key(),
            add_to_cart_order: passed(),
        }
    }
}

fn order_lines() -> Spec {
    row::describe(f_order_lines::f_order_lines, "f_order_lines", "1")
}

fn inputs(columns: &[InputColumn]) -> Vec<(&str, bool)> {
    columns.iter().map(|column| (column.name.as_str(), column.read)).collect()
}

fn tracked(spec: &Spec) -> Vec<&str> {
    let columns = spec.targets[0].columns.iter();
    columns.filter(|column| column.tracked).map(|column| column.name.as_str()).collect()
}

fn sources(target: &Target) -> Vec<Option<u32>> {
    let source = |column: &dabi_sdk::bindings::types::TargetColumn| match column.source {
        ColumnSource::Input(position) => Some(position),
        ColumnSource::Computed | ColumnSource::AsOf(_) => None,
    };
    target.columns.iter().map(source).collect()
}

#[test]
fn a_line_takes_from_its_order_what_it_reads_and_what_it_passes_on() {
    let spec = order_lines();
    assert_eq!(
        inputs(&spec.columns),
        [("order_id", false), ("product_id", false), ("add_to_cart_order", false)]
    );
    let [order] = spec.lookups.as_slice() else { panic!("one lookup") };
    assert_eq!((order.name.as_str(), order.table.as_str()), ("order", "public.orders"));
    assert_eq!((&order.key, &order.on), (&vec!["order_id".to_owned()], &vec!["order_id".to_owned()]));
    assert_eq!(order.missing, MissingPolicy::Hold);
    assert_eq!(inputs(&order.columns), [("order_date", true), ("user_id", false)]);
    // Positions count through the source's columns, then the order's.
    assert_eq!(sources(&spec.targets[0]), [Some(0), Some(1), Some(4), Some(3), None, None, None, Some(2)]);
}

#[test]
fn references_to_versions_name_columns_of_the_fact() {
    let spec = order_lines();
    let target = &spec.targets[0];
    let shown = |reference: &AsOf| {
        (reference.dimension.clone(), reference.key.clone(), reference.at.clone(), reference.missing)
    };
    let at = || "order_date".to_owned();
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
    assert_eq!(tracked(&products), ["product_name", "aisle_id", "department_id"]);
    let [aisle, department] = products.lookups.as_slice() else { panic!("two lookups") };
    assert_eq!((aisle.missing, department.missing), (MissingPolicy::Hold, MissingPolicy::Nulls));
    let users = row::describe(dim_users::dim_users, "dim_users", "1");
    assert_eq!((users.targets[0].kind, tracked(&users)), (TargetKind::Scd2, vec![]));
    assert_eq!(tracked(&order_lines()), [""; 0]);
}

#[test]
fn the_functions_are_tested_as_functions() {
    let day = |iso_weekday| dim_date::Day { date: Date::from_days(0), iso_weekday };
    assert!(!dim_date::dim_date(day(5)).unwrap().is_weekend);
    assert!(dim_date::dim_date(day(6)).unwrap().is_weekend);
    let dates = row::describe(dim_date::dim_date, "dim_date", "1");
    assert_eq!(dates.source, "dabi.calendar");

    let product =
        |department| dim_products::Product { product_name: " tea ", aisle: dim_products::Aisle, department };
    assert_eq!(dim_products::dim_products(product(None)).department, "none");
    let found = dim_products::Department { department: "pantry" };
    assert_eq!(dim_products::dim_products(product(Some(found))).department, "pantry");
    assert_eq!(dim_products::dim_products(product(None)).product_name, "tea");

    let order = |tip_given| f_orders::Order { order_date: TimestampTz::from_micros(0), tip_given };
    assert!(!f_orders::f_orders(order(None)).is_tip_given);
    assert_eq!(f_orders::f_orders(order(Some(true))).date_key, Some(19_700_101));
    assert_eq!(dim_users::dim_users(dim_users::User).user_id, passed());
    let order = f_order_lines::Order { order_date: TimestampTz::from_micros(-1) };
    assert_eq!(f_order_lines::f_order_lines(f_order_lines::Line { order }).date_key, Some(19_691_231));
}
