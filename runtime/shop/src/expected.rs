//! What the star must hold: its targets, computed from the shop's rows.
//!
//! Owns a formulation of its own, independent of the transforms. Both sides of a
//! comparison are texts: [`Target::select`] prints a row of ClickHouse as the
//! array of texts that [`Shop::expected`] gives.
//!
//! | value | text |
//! |---|---|
//! | a number | decimal |
//! | a flag | `true`, `false` |
//! | a day | `2026-11-25` |
//! | a time | `2026-11-25 18:04:05.123456`, UTC |
//! | a text | itself |
//! | nothing | `NULL` |

use chrono::{DateTime, Datelike, NaiveDate, Utc, Weekday};

use crate::row::{Order, OrderProduct, Product, Row, User};
use crate::shop::Shop;
use crate::table::Table;
use crate::tables::Tables;
use crate::transaction::Micros;
use crate::versions::{Dimension, DimensionVersion};

/// The first and the last day of `dim_date`: what the calendar of a pipeline
/// has that sets no other.
pub const CALENDAR: [&str; 2] = ["2000-01-01", "2049-12-31"];

/// The tables whose history the star shows: a shop that does not keep it cannot
/// say what must stand there.
pub const HISTORY: &[Table] = &[Table::Users, Table::Products];

/// A table of the star.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the tables' own names")]
pub enum Target {
    FOrders,
    FOrderLines,
    DimProducts,
    DimUsers,
    DimAisles,
    DimDepartments,
    DimDate,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::FOrders,
        Self::FOrderLines,
        Self::DimProducts,
        Self::DimUsers,
        Self::DimAisles,
        Self::DimDepartments,
        Self::DimDate,
    ];

    /// Its name in ClickHouse.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FOrders => "f_orders",
            Self::FOrderLines => "f_order_lines",
            Self::DimProducts => "dim_products",
            Self::DimUsers => "dim_users",
            Self::DimAisles => "dim_aisles",
            Self::DimDepartments => "dim_departments",
            Self::DimDate => "dim_date",
        }
    }

    /// Its columns that are compared: all but `f_orders.day_part`, which the
    /// demo invites to play with.
    #[must_use]
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::FOrders => &["order_id", "user_id", "order_date", "user_key", "date_key", "is_tip_given"],
            Self::FOrderLines => &[
                "order_id",
                "product_id",
                "user_id",
                "order_date",
                "product_key",
                "user_key",
                "date_key",
                "add_to_cart_order",
            ],
            Self::DimProducts => &[
                "product_id",
                "product_name",
                "aisle_id",
                "department_id",
                "aisle",
                "department",
                "is_organic",
                "version_key",
                "valid_from",
                "valid_to",
                "is_current",
            ],
            Self::DimUsers => &["user_id", "label", "version_key", "valid_from", "valid_to", "is_current"],
            Self::DimAisles => &["aisle_id", "aisle"],
            Self::DimDepartments => &["department_id", "department"],
            Self::DimDate => &["date_key", "date", "year", "month", "month_name", "is_weekend"],
        }
    }

    /// An expression of ClickHouse for a row as an array of texts.
    ///
    /// ```
    /// # use dabi_shop::Target;
    /// assert_eq!(Target::DimAisles.select(), "[ifNull(toString(aisle_id), 'NULL'), ifNull(toString(aisle), 'NULL')]");
    /// ```
    #[must_use]
    pub fn select(self) -> String {
        let columns = self.columns().iter().map(|column| format!("ifNull(toString({column}), 'NULL')"));
        format!("[{}]", columns.collect::<Vec<_>>().join(", "))
    }
}

impl Shop {
    /// The rows of `target` that the star must hold now, sorted.
    ///
    /// # Panics
    /// If the shop does not keep [`HISTORY`].
    #[must_use]
    pub fn expected(&self, target: Target) -> Vec<Vec<String>> {
        assert!(self.keeps(HISTORY), "a shop whose star is expected keeps the history of {HISTORY:?}");
        let tables = self.tables();
        let mut rows: Vec<Vec<String>> = match target {
            Target::FOrders => {
                let users = self.users();
                tables.orders.values().filter_map(|row| order(row, &users)).collect()
            }
            Target::FOrderLines => {
                let (users, products) = (self.users(), self.products());
                tables.lines.values().filter_map(|row| line(row, tables, &users, &products)).collect()
            }
            Target::DimProducts => {
                let products = self.products();
                products.versions().filter_map(|version| product(version, tables)).collect()
            }
            Target::DimUsers => self.users().versions().map(user).collect(),
            Target::DimAisles => tables
                .aisles
                .values()
                .map(|row| vec![row.aisle_id.0.to_string(), row.aisle.to_string()])
                .collect(),
            Target::DimDepartments => {
                let departments = tables
                    .departments
                    .values()
                    .map(|row| vec![row.department_id.0.to_string(), row.department.to_string()]);
                departments.collect()
            }
            Target::DimDate => days(),
        };
        rows.sort_unstable();
        rows
    }

    fn users(&self) -> Dimension<'_> {
        Dimension::of(self.history(), Table::Users, |_| false)
    }

    fn products(&self) -> Dimension<'_> {
        let is_tracked = |column: &str| ["product_name", "aisle_id", "department_id"].contains(&column);
        Dimension::of(self.history(), Table::Products, is_tracked)
    }
}

/// Without a version of its user an order waits.
fn order(row: &Order, users: &Dimension<'_>) -> Option<Vec<String>> {
    let [time, date_key] = ordered(row);
    let user_key = users.as_of(row.user_id.0, row.order_date)?.key.to_string();
    let is_tip_given = row.tip_given.unwrap_or(false).to_string();
    Some(vec![row.order_id.0.to_string(), row.user_id.0.to_string(), time, user_key, date_key, is_tip_given])
}

/// The shop keeps its references whole: what a line refers to is there. Without
/// a version of its user it waits, without one of its product it does not.
fn line(
    row: &OrderProduct,
    tables: &Tables,
    users: &Dimension<'_>,
    products: &Dimension<'_>,
) -> Option<Vec<String>> {
    let order = &tables.orders[&row.order_id];
    let [time, date_key] = ordered(order);
    let product = products.as_of(row.product_id.0.into(), order.order_date);
    Some(vec![
        row.order_id.0.to_string(),
        row.product_id.0.to_string(),
        order.user_id.0.to_string(),
        time,
        product.map_or_else(nothing, |version| version.key.to_string()),
        users.as_of(order.user_id.0, order.order_date)?.key.to_string(),
        date_key,
        row.add_to_cart_order.to_string(),
    ])
}

/// Aisle and department as they are now; without its aisle a version waits.
fn product(version: &DimensionVersion<'_>, tables: &Tables) -> Option<Vec<String>> {
    let Row::Product(row) = version.row else { unreachable!("a version of a product") };
    let Product { product_id, product_name, aisle_id, department_id, .. } = row;
    let department = tables.departments.get(department_id);
    let mut values = vec![
        product_id.0.to_string(),
        product_name.to_string(),
        aisle_id.0.to_string(),
        department_id.0.to_string(),
        tables.aisles.get(aisle_id)?.aisle.to_string(),
        department.map_or("none", |row| &*row.department).to_owned(),
        // The shop has no other word for it, and none that contains it.
        product_name.starts_with("Organic ").to_string(),
    ];
    values.extend(validity(version));
    Some(values)
}

fn user(version: &DimensionVersion<'_>) -> Vec<String> {
    let Row::User(User { user_id }) = version.row else { unreachable!("a version of a user") };
    let own = [user_id.0.to_string(), format!("user {}", user_id.0)];
    own.into_iter().chain(validity(version)).collect()
}

/// What dabi adds to a version.
fn validity(version: &DimensionVersion<'_>) -> [String; 4] {
    let to = version.to.map_or_else(nothing, time);
    [version.key.to_string(), time(version.from), to, version.to.is_none().to_string()]
}

fn nothing() -> String {
    "NULL".to_owned()
}

/// The days of the calendar. The shop has no part in it.
fn days() -> Vec<Vec<String>> {
    let [first, last]: [NaiveDate; 2] = CALENDAR.map(|day| day.parse().expect("a day"));
    let days = first.iter_days().take_while(|day| *day <= last);
    let day = |day: NaiveDate| {
        let is_weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let written = ["%Y%m%d", "%Y-%m-%d", "%Y", "%-m", "%B"].map(|form| day.format(form).to_string());
        written.into_iter().chain([is_weekend.to_string()]).collect()
    };
    days.map(day).collect()
}

/// When an order was made, and the key of that day.
fn ordered(row: &Order) -> [String; 2] {
    let day = moment(row.order_date);
    let date_key = i64::from(day.year()) * 10_000 + i64::from(day.month() * 100 + day.day());
    [time(row.order_date), date_key.to_string()]
}

fn time(time: Micros) -> String {
    moment(time).format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

fn moment(Micros(us): Micros) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).expect("the shop's times are of this age")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{OrderId, UserId};
    use crate::shop::Settings;

    #[test]
    fn an_order_as_texts() {
        let (mut shop, start) =
            (Shop::new(1, Settings { history: HISTORY, ..Settings::default() }), Micros(0));
        shop.open(start);
        let order_date = Micros(1_764_115_445_000_120);
        let row = |user| Order { order_id: OrderId(7), user_id: UserId(user), order_date, tip_given: None };
        // xxh3 of "3\0" and "0"
        let key = shop.users().as_of(3, order_date).expect("one of the first").key.to_string();
        let time = "2025-11-26 00:04:05.000120";
        assert_eq!(order(&row(3), &shop.users()).unwrap(), ["7", "3", time, &key, "20251126", "false"]);
        assert_eq!(order(&row(1_000_000), &shop.users()), None, "its user was never there");
    }

    #[test]
    fn a_day_as_texts() {
        let days = days();
        assert_eq!(days.len(), 18_263);
        assert_eq!(days[0], ["20000101", "2000-01-01", "2000", "1", "January", "true"]);
        assert_eq!(days[59], ["20000229", "2000-02-29", "2000", "2", "February", "false"]);
    }
}
