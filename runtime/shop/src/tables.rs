//! The rows of the shop as they are now.
//!
//! Owns them, and which orders a user and which lines a product has. Does not
//! own what happens to them (`workload`).
//!
//! Invariant: the indexes hold exactly the live orders and lines.

use std::collections::{BTreeMap, BTreeSet};

use crate::row::{
    Aisle, AisleId, Department, DepartmentId, Order, OrderId, OrderProduct, Product, ProductId, Row, User,
    UserId,
};
use crate::table::Table;
use crate::transaction::Change;

/// The current rows of all tables.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub(crate) departments: BTreeMap<DepartmentId, Department>,
    pub(crate) aisles: BTreeMap<AisleId, Aisle>,
    pub(crate) users: BTreeMap<UserId, User>,
    pub(crate) products: BTreeMap<ProductId, Product>,
    pub(crate) orders: BTreeMap<OrderId, Order>,
    pub(crate) lines: BTreeMap<(OrderId, ProductId), OrderProduct>,
    orders_of: BTreeSet<(UserId, OrderId)>,
    lines_of: BTreeSet<(ProductId, OrderId)>,
}

/// The ids given last; the next row gets the one after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the ids' own names")]
pub struct Ids {
    pub user: UserId,
    pub product: ProductId,
    pub order: OrderId,
}

impl Default for Ids {
    fn default() -> Self {
        Self { user: UserId(0), product: ProductId(0), order: OrderId(0) }
    }
}

impl Ids {
    pub(crate) fn next_user(&mut self) -> UserId {
        self.user.0 += 1;
        self.user
    }

    pub(crate) fn next_product(&mut self) -> ProductId {
        self.product.0 += 1;
        self.product
    }

    pub(crate) fn next_order(&mut self) -> OrderId {
        self.order.0 += 1;
        self.order
    }
}

impl Tables {
    /// The rows of `table`, ascending by key.
    #[must_use]
    pub fn rows(&self, table: Table) -> Vec<Row> {
        match table {
            Table::Departments => self.departments.values().cloned().map(Row::from).collect(),
            Table::Aisles => self.aisles.values().cloned().map(Row::from).collect(),
            Table::Users => self.users.values().cloned().map(Row::from).collect(),
            Table::Products => self.products.values().cloned().map(Row::from).collect(),
            Table::Orders => self.orders.values().cloned().map(Row::from).collect(),
            Table::OrderProducts => self.lines.values().cloned().map(Row::from).collect(),
        }
    }

    /// How many rows `table` has.
    #[must_use]
    pub fn count(&self, table: Table) -> usize {
        match table {
            Table::Departments => self.departments.len(),
            Table::Aisles => self.aisles.len(),
            Table::Users => self.users.len(),
            Table::Products => self.products.len(),
            Table::Orders => self.orders.len(),
            Table::OrderProducts => self.lines.len(),
        }
    }

    /// Puts a row, in place of the one that has its key.
    pub fn put(&mut self, row: Row) {
        match row {
            Row::Department(row) => drop(self.departments.insert(row.department_id, row)),
            Row::Aisle(row) => drop(self.aisles.insert(row.aisle_id, row)),
            Row::User(row) => drop(self.users.insert(row.user_id, row)),
            Row::Product(row) => drop(self.products.insert(row.product_id, row)),
            Row::Order(row) => {
                let (order, user) = (row.order_id, row.user_id);
                if let Some(old) = self.orders.insert(order, row) {
                    self.orders_of.remove(&(old.user_id, order));
                }
                self.orders_of.insert((user, order));
            }
            Row::OrderProduct(row) => {
                self.lines_of.insert((row.product_id, row.order_id));
                self.lines.insert((row.order_id, row.product_id), row);
            }
        }
    }

    fn remove(&mut self, row: &Row) {
        match row {
            Row::Department(row) => drop(self.departments.remove(&row.department_id)),
            Row::Aisle(row) => drop(self.aisles.remove(&row.aisle_id)),
            Row::User(row) => drop(self.users.remove(&row.user_id)),
            Row::Product(row) => drop(self.products.remove(&row.product_id)),
            Row::Order(row) => {
                self.orders_of.remove(&(row.user_id, row.order_id));
                self.orders.remove(&row.order_id);
            }
            Row::OrderProduct(row) => {
                self.lines_of.remove(&(row.product_id, row.order_id));
                self.lines.remove(&(row.order_id, row.product_id));
            }
        }
    }

    fn truncate(&mut self, table: Table) {
        match table {
            Table::Departments => self.departments.clear(),
            Table::Aisles => self.aisles.clear(),
            Table::Users => self.users.clear(),
            Table::Products => self.products.clear(),
            Table::Orders => {
                self.orders.clear();
                self.orders_of.clear();
            }
            Table::OrderProducts => {
                self.lines.clear();
                self.lines_of.clear();
            }
        }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Insert(row) => self.put(row.clone()),
            Change::Update { before, after } => {
                if before.key() != after.key() {
                    self.remove(before);
                }
                self.put(after.clone());
            }
            Change::Delete(row) => self.remove(row),
            Change::Truncate(table) => self.truncate(*table),
        }
    }

    /// The orders of `user`, oldest first.
    pub(crate) fn orders_of(&self, user: UserId) -> impl Iterator<Item = &Order> {
        let orders = self.orders_of.range((user, OrderId(i64::MIN))..=(user, OrderId(i64::MAX)));
        orders.filter_map(|(_, order)| self.orders.get(order))
    }

    /// The lines of `order`.
    pub(crate) fn lines_of_order(&self, order: OrderId) -> impl Iterator<Item = &OrderProduct> {
        let all = (order, ProductId(i32::MIN))..=(order, ProductId(i32::MAX));
        self.lines.range(all).map(|(_, line)| line)
    }

    /// The lines that have `product`.
    pub(crate) fn lines_of_product(&self, product: ProductId) -> impl Iterator<Item = &OrderProduct> {
        let lines = self.lines_of.range((product, OrderId(i64::MIN))..=(product, OrderId(i64::MAX)));
        lines.filter_map(|(product, order)| self.lines.get(&(*order, *product)))
    }
}
