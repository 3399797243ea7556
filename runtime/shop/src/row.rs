//! Rows of the six tables.
//!
//! Owns their types and the one way to look at any of them: as values in the
//! order of the table's columns.

use std::sync::Arc;

use crate::table::Table;
use crate::transaction::Micros;

/// The number of a row.
pub(crate) trait Id: Copy + Ord {
    fn number(self) -> i64;

    /// For a number between those of two ids.
    fn from_number(number: i64) -> Self;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($number:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $number);

        impl Id for $name {
            fn number(self) -> i64 {
                self.0.into()
            }

            fn from_number(number: i64) -> Self {
                Self(number.try_into().expect("the number lies between two ids"))
            }
        }
    )*};
}

ids! {
    /// A user, from 1.
    UserId(i64);
    /// A department, from 1.
    DepartmentId(i32);
    /// An aisle, from 1.
    AisleId(i32);
    /// A product, from 1.
    ProductId(i32);
    /// An order, from 1.
    OrderId(i64);
}

/// Someone who orders.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns' own names")]
pub struct User {
    pub user_id: UserId,
}

/// A part of the shop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns' own names")]
pub struct Department {
    pub department_id: DepartmentId,
    pub department: Arc<str>,
}

/// A shelf of a department.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns' own names")]
pub struct Aisle {
    pub aisle_id: AisleId,
    pub aisle: Arc<str>,
}

/// What can be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns' own names")]
pub struct Product {
    pub product_id: ProductId,
    pub product_name: Arc<str>,
    pub aisle_id: AisleId,
    pub department_id: DepartmentId,
    pub description: Option<Arc<str>>,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns' own names")]
pub struct Order {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub order_date: Micros,
    /// Unknown until the courier has been.
    pub tip_given: Option<bool>,
}

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns' own names")]
pub struct OrderProduct {
    pub order_id: OrderId,
    pub product_id: ProductId,
    /// From 1, in the order in which the products were put into the cart.
    pub add_to_cart_order: i32,
}

/// A row of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "one for each table")]
pub enum Row {
    Department(Department),
    Aisle(Aisle),
    User(User),
    Product(Product),
    Order(Order),
    OrderProduct(OrderProduct),
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the values' own types")]
pub enum Value<'a> {
    Null,
    Integer(i64),
    Boolean(bool),
    Text(&'a str),
    Timestamp(Micros),
}

impl Row {
    /// The table whose row it is.
    #[must_use]
    pub fn table(&self) -> Table {
        match self {
            Self::Department(_) => Table::Departments,
            Self::Aisle(_) => Table::Aisles,
            Self::User(_) => Table::Users,
            Self::Product(_) => Table::Products,
            Self::Order(_) => Table::Orders,
            Self::OrderProduct(_) => Table::OrderProducts,
        }
    }

    /// Its values, in the order of [`Table::columns`].
    #[must_use]
    pub fn values(&self) -> Vec<Value<'_>> {
        match self {
            Self::Department(row) => vec![row.department_id.0.into(), Value::Text(&row.department)],
            Self::Aisle(row) => vec![row.aisle_id.0.into(), Value::Text(&row.aisle)],
            Self::User(row) => vec![row.user_id.0.into()],
            Self::Product(row) => vec![
                row.product_id.0.into(),
                Value::Text(&row.product_name),
                row.aisle_id.0.into(),
                row.department_id.0.into(),
                row.description.as_deref().map_or(Value::Null, Value::Text),
            ],
            Self::Order(row) => vec![
                row.order_id.0.into(),
                row.user_id.0.into(),
                Value::Timestamp(row.order_date),
                row.tip_given.map_or(Value::Null, Value::Boolean),
            ],
            Self::OrderProduct(row) => {
                vec![row.order_id.0.into(), row.product_id.0.into(), row.add_to_cart_order.into()]
            }
        }
    }

    /// The values of its primary key.
    #[must_use]
    pub fn key(&self) -> Vec<Value<'_>> {
        let mut values = self.values();
        values.truncate(self.table().key_columns());
        values
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

macro_rules! rows {
    ($($row:ident)*) => {$(
        impl From<$row> for Row {
            fn from(row: $row) -> Self {
                Self::$row(row)
            }
        }
    )*};
}

rows! { Department Aisle User Product Order OrderProduct }
