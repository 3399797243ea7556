//! What happens in the shop.
//!
//! Owns the mix and the choice of rows. Does not apply anything: it looks at the
//! tables and says what changes.
//!
//! Real shops are skewed, so this one is: a few products and customers make most
//! orders, and it is the young orders that change. What has no limit in a real
//! shop has one here: the oldest orders go to an archive, and where users or
//! products have become too many, an arrival becomes a departure.
//!
//! Invariant: only rows that exist change, and every reference holds when the
//! transaction ends. Nothing is taken for granted, as a truncate may have
//! emptied any table: what an order needs and is not there arrives first.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use crate::catalogue;
use crate::row::{Id, Order, OrderProduct, Product, Row, User};
use crate::shop::Settings;
use crate::tables::{Ids, Tables};
use crate::transaction::{Change, Micros};

/// Orders that go to the archive together.
const ARCHIVED_TOGETHER: usize = 10;
/// Rows that are looked at for one that suits.
const CANDIDATES: usize = 8;
/// Rows that refer to one whose key changes, at most.
const MOVED_TOGETHER_MAX: usize = 40;
/// How long the orders reach back with which the shop opens.
const PAST_US: i64 = 90 * 86_400_000_000;

/// What may happen, with its weight among 1,000.
const MIX: [(Happening, u16); 10] = [
    (Happening::Order, 430),
    (Happening::Tip, 280),
    (Happening::CartChange, 110),
    (Happening::Cancellation, 50),
    (Happening::UserArrival, 60),
    (Happening::ProductChange, 40),
    (Happening::ProductArrival, 15),
    (Happening::NewLabel, 5),
    (Happening::NewOrderNumber, 6),
    (Happening::NewNumber, 4),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happening {
    Order,
    Tip,
    CartChange,
    Cancellation,
    UserArrival,
    ProductChange,
    ProductArrival,
    NewLabel,
    NewOrderNumber,
    NewNumber,
}

/// The shop as it is when something happens.
pub(crate) struct Scene<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) settings: &'a Settings,
    pub(crate) ids: &'a mut Ids,
    pub(crate) rng: &'a mut Rng,
    pub(crate) now: Micros,
}

impl Scene<'_> {
    /// What the next transaction changes; never nothing.
    pub(crate) fn next(&mut self) -> Vec<Change> {
        if self.tables.orders.len() > self.settings.orders_max {
            return self.archive();
        }
        let weights: u16 = MIX.iter().map(|(_, weight)| weight).sum();
        let mut roll = self.rng.u16(..weights);
        let happening = MIX.iter().find(|(_, weight)| {
            let hit = roll < *weight;
            roll = roll.saturating_sub(*weight);
            hit
        });
        let changes = self.happen(happening.map_or(Happening::Order, |(happening, _)| *happening));
        // No row suits: an order is always possible.
        if changes.is_empty() { self.order() } else { changes }
    }

    fn happen(&mut self, happening: Happening) -> Vec<Change> {
        match happening {
            Happening::Order => self.order(),
            Happening::Tip => self.tip(),
            Happening::CartChange => self.cart_change(),
            Happening::Cancellation => self.cancellation(),
            Happening::UserArrival => self.user_arrival(),
            Happening::ProductChange => self.product_change(),
            Happening::ProductArrival => self.product_arrival(),
            Happening::NewLabel => self.new_label(),
            Happening::NewOrderNumber => self.new_order_number(),
            Happening::NewNumber if self.rng.bool() => self.new_user_number(),
            Happening::NewNumber => self.new_product_number(),
        }
    }

    /// What the shop opens with.
    pub(crate) fn opening(&mut self) -> Vec<Row> {
        let mut rows: Vec<Row> = catalogue::departments().map(Row::from).collect();
        rows.extend(catalogue::aisles().map(|(aisle, _)| Row::from(aisle)));
        let users = (0..self.settings.users).map(|_| User { user_id: self.ids.next_user() });
        let users: Vec<User> = users.collect();
        let products: Vec<Product> = (0..self.settings.products).map(|_| self.product()).collect();
        let (mut orders, mut lines) = (Vec::new(), Vec::new());
        if !users.is_empty() && !products.is_empty() {
            for number in 0..self.settings.orders {
                let user = &users[skewed(self.rng, users.len())];
                let order_date = self.past(number);
                let tip_given = (self.rng.u8(..10) > 0).then(|| self.rng.bool());
                let order_id = self.ids.next_order();
                orders.push(Order { order_id, user_id: user.user_id, order_date, tip_given });
                let chosen: BTreeSet<usize> =
                    (0..self.cart_size()).map(|_| skewed(self.rng, products.len())).collect();
                lines.extend((1..).zip(chosen).map(|(add_to_cart_order, at)| OrderProduct {
                    order_id,
                    product_id: products[at].product_id,
                    add_to_cart_order,
                }));
            }
        }
        rows.extend(users.into_iter().map(Row::from));
        rows.extend(products.into_iter().map(Row::from));
        rows.extend(orders.into_iter().map(Row::from));
        rows.extend(lines.into_iter().map(Row::from));
        rows
    }

    /// When the order of that number was made, of those before the shop opened.
    fn past(&mut self, number: usize) -> Micros {
        let orders = i64::try_from(self.settings.orders.max(1)).unwrap_or(i64::MAX);
        let left = orders - i64::try_from(number).unwrap_or(orders);
        Micros(self.now.0 - PAST_US / orders * left + self.rng.i64(0..PAST_US / orders))
    }

    fn order(&mut self) -> Vec<Change> {
        let share = self.rng.f64();
        let Some(user) = near(&self.tables.users, share * share) else { return self.user_arrival() };
        let user_id = user.user_id;
        let chosen: Vec<Product> = (0..self.cart_size())
            .filter_map(|_| {
                let share = self.rng.f64();
                near(&self.tables.products, share * share * share).cloned()
            })
            .collect();
        if chosen.is_empty() {
            return self.product_arrival();
        }
        let order_id = self.ids.next_order();
        let placed = Order { order_id, user_id, order_date: self.now, tip_given: None };
        let mut changes = vec![Change::Insert(placed.clone().into())];
        let mut in_cart = BTreeSet::new();
        for product in chosen {
            if in_cart.insert(product.product_id) {
                let add_to_cart_order = i32::try_from(in_cart.len()).unwrap_or(i32::MAX);
                let line = OrderProduct { order_id, product_id: product.product_id, add_to_cart_order };
                changes.push(Change::Insert(line.into()));
            }
        }
        // Some tip at the till: the row changes in the transaction that made it.
        if self.rng.u8(..10) == 0 {
            changes.push(update(&placed, Order { tip_given: Some(true), ..placed.clone() }));
        }
        changes
    }

    fn tip(&mut self) -> Vec<Change> {
        for _ in 0..CANDIDATES {
            let Some(order) = self.young_order() else { break };
            let tip_given = match order.tip_given {
                None => Some(self.rng.u8(..5) < 3),
                // Somebody has second thoughts.
                Some(given) if self.rng.u8(..20) == 0 => Some(!given),
                Some(_) => continue,
            };
            return vec![update(&order, Order { tip_given, ..order.clone() })];
        }
        Vec::new()
    }

    /// A product more, or one less; the lines behind it move up.
    fn cart_change(&mut self) -> Vec<Change> {
        let Some(order) = self.young_order() else { return Vec::new() };
        let mut lines: Vec<OrderProduct> = self.tables.lines_of_order(order.order_id).cloned().collect();
        lines.sort_by_key(|line| line.add_to_cart_order);
        if lines.len() < 2 || self.rng.bool() {
            let Some(product) = near(&self.tables.products, self.rng.f64()) else { return Vec::new() };
            if lines.iter().any(|line| line.product_id == product.product_id) {
                return Vec::new();
            }
            let last = lines.last().map_or(0, |line| line.add_to_cart_order);
            let (order_id, product_id) = (order.order_id, product.product_id);
            let line = OrderProduct { order_id, product_id, add_to_cart_order: last.saturating_add(1) };
            return vec![Change::Insert(line.into())];
        }
        let behind = lines.split_off(self.rng.usize(..lines.len()));
        let mut behind = behind.into_iter();
        let mut changes: Vec<Change> =
            behind.next().map(|line| Change::Delete(line.into())).into_iter().collect();
        changes.extend(behind.map(|line| {
            let add_to_cart_order = line.add_to_cart_order - 1;
            update(&line, OrderProduct { add_to_cart_order, ..line.clone() })
        }));
        changes
    }

    fn cancellation(&mut self) -> Vec<Change> {
        match self.young_order() {
            Some(order) if order.tip_given.is_none() => self.without(&order),
            _ => Vec::new(),
        }
    }

    fn archive(&self) -> Vec<Change> {
        let oldest = self.tables.orders.values().take(ARCHIVED_TOGETHER);
        oldest.flat_map(|order| self.without(order)).collect()
    }

    /// The order and its lines go.
    fn without(&self, order: &Order) -> Vec<Change> {
        let lines = self.tables.lines_of_order(order.order_id).cloned();
        let lines = lines.map(|line| Change::Delete(line.into()));
        lines.chain([Change::Delete(order.clone().into())]).collect()
    }

    fn user_arrival(&mut self) -> Vec<Change> {
        if self.tables.users.len() < self.settings.users_max() {
            return vec![Change::Insert(User { user_id: self.ids.next_user() }.into())];
        }
        let Some(user) = self.quiet_user() else { return Vec::new() };
        let mut changes: Vec<Change> =
            self.tables.orders_of(user.user_id).flat_map(|order| self.without(order)).collect();
        changes.push(Change::Delete(user.into()));
        changes
    }

    fn product_arrival(&mut self) -> Vec<Change> {
        if self.tables.products.len() >= self.settings.products_max() {
            let product = self.quiet_product();
            let unsold =
                product.filter(|product| self.tables.lines_of_product(product.product_id).next().is_none());
            return unsold.map(|product| Change::Delete(product.into())).into_iter().collect();
        }
        let product = self.product();
        let mut changes = self.shelf_of(&product);
        changes.push(Change::Insert(product.into()));
        changes
    }

    /// A new product, which nobody has put into the tables yet.
    fn product(&mut self) -> Product {
        let (aisle, department) = catalogue::any_aisle(self.rng);
        Product {
            product_id: self.ids.next_product(),
            product_name: catalogue::product_name(&aisle.aisle, department.department_id, self.rng),
            aisle_id: aisle.aisle_id,
            department_id: department.department_id,
            description: catalogue::description(self.rng),
        }
    }

    /// The aisle and department of `product`, where a truncate has taken them.
    fn shelf_of(&self, product: &Product) -> Vec<Change> {
        let shelf = catalogue::aisles().find(|(aisle, _)| aisle.aisle_id == product.aisle_id);
        let Some((aisle, department)) = shelf else { return Vec::new() };
        let mut missing = Vec::new();
        if !self.tables.departments.contains_key(&department.department_id) {
            missing.push(Change::Insert(department.into()));
        }
        if !self.tables.aisles.contains_key(&aisle.aisle_id) {
            missing.push(Change::Insert(aisle.into()));
        }
        missing
    }

    /// Another name, another aisle, or another text.
    fn product_change(&mut self) -> Vec<Change> {
        let Some(product) = near(&self.tables.products, self.rng.f64()).cloned() else { return Vec::new() };
        let mut changed = product.clone();
        match self.rng.u8(..10) {
            0..=4 => {
                let aisle = self.tables.aisles.get(&product.aisle_id).map_or("Surprise", |row| &*row.aisle);
                changed.product_name = catalogue::product_name(aisle, product.department_id, self.rng);
            }
            5..=7 => {
                let (aisle, department) = catalogue::any_aisle(self.rng);
                (changed.aisle_id, changed.department_id) = (aisle.aisle_id, department.department_id);
            }
            _ => changed.description = catalogue::description(self.rng),
        }
        let mut changes = self.shelf_of(&changed);
        changes.push(update(&product, changed));
        changes
    }

    fn new_label(&mut self) -> Vec<Change> {
        let share = self.rng.f64();
        if self.rng.u8(..8) == 0 {
            let row = near(&self.tables.departments, share).cloned();
            return row
                .map(|mut row| {
                    let before = row.clone();
                    row.department = catalogue::renamed(&row.department);
                    update(&before, row)
                })
                .into_iter()
                .collect();
        }
        let row = near(&self.tables.aisles, share).cloned();
        row.map(|mut row| {
            let before = row.clone();
            row.aisle = catalogue::renamed(&row.aisle);
            update(&before, row)
        })
        .into_iter()
        .collect()
    }

    /// A primary key changes, and with it those of the lines.
    fn new_order_number(&mut self) -> Vec<Change> {
        let Some(order) = self.young_order() else { return Vec::new() };
        let order_id = self.ids.next_order();
        let mut changes = vec![update(&order, Order { order_id, ..order.clone() })];
        let lines = self.tables.lines_of_order(order.order_id);
        changes.extend(lines.map(|line| update(line, OrderProduct { order_id, ..line.clone() })));
        changes
    }

    /// A primary key changes, and with it the orders' references.
    fn new_user_number(&mut self) -> Vec<Change> {
        let Some(user) = self.quiet_user() else { return Vec::new() };
        let orders: Vec<Order> = self.tables.orders_of(user.user_id).cloned().collect();
        if orders.len() > MOVED_TOGETHER_MAX {
            return Vec::new();
        }
        let user_id = self.ids.next_user();
        let mut changes = vec![update(&user, User { user_id })];
        changes.extend(orders.iter().map(|order| update(order, Order { user_id, ..order.clone() })));
        changes
    }

    /// A primary key changes, and with it those of the lines; a long description
    /// moves along unsent.
    fn new_product_number(&mut self) -> Vec<Change> {
        let Some(product) = self.quiet_product() else { return Vec::new() };
        let lines: Vec<OrderProduct> = self.tables.lines_of_product(product.product_id).cloned().collect();
        if lines.len() > MOVED_TOGETHER_MAX {
            return Vec::new();
        }
        let product_id = self.ids.next_product();
        let mut changes = vec![update(&product, Product { product_id, ..product.clone() })];
        changes.extend(lines.iter().map(|line| update(line, OrderProduct { product_id, ..line.clone() })));
        changes
    }

    /// Half of the answers are among the youngest quarter.
    fn young_order(&mut self) -> Option<Order> {
        let age = self.rng.f64();
        near(&self.tables.orders, 1.0 - age * age).cloned()
    }

    /// A user with few orders.
    fn quiet_user(&mut self) -> Option<User> {
        let some = (0..CANDIDATES).filter_map(|_| near(&self.tables.users, self.rng.f64()));
        some.min_by_key(|user| self.tables.orders_of(user.user_id).take(MOVED_TOGETHER_MAX + 1).count())
            .cloned()
    }

    /// A product on few lines.
    fn quiet_product(&mut self) -> Option<Product> {
        let some = (0..CANDIDATES).filter_map(|_| near(&self.tables.products, self.rng.f64()));
        some.min_by_key(|product| {
            self.tables.lines_of_product(product.product_id).take(MOVED_TOGETHER_MAX + 1).count()
        })
        .cloned()
    }

    /// One product to nine, five on average.
    fn cart_size(&mut self) -> usize {
        1 + self.rng.usize(..5) + self.rng.usize(..5)
    }
}

fn update<R: Clone + Into<Row>>(before: &R, after: R) -> Change {
    Change::Update { before: before.clone().into(), after: after.into() }
}

/// The row at `share` of the way from the lowest id to the highest.
fn near<K: Id, V>(rows: &BTreeMap<K, V>, share: f64) -> Option<&V> {
    let (first, last) = (rows.first_key_value()?.0.number(), rows.last_key_value()?.0.number());
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "any place between the two will do"
    )]
    let place = first.saturating_add((last.saturating_sub(first) as f64 * share) as i64).clamp(first, last);
    rows.range(K::from_number(place)..).next().map(|(_, row)| row)
}

/// A place below `len`, more often a low one.
fn skewed(rng: &mut Rng, len: usize) -> usize {
    let share = rng.f64();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a random place, below the length"
    )]
    let place = (share * share * len as f64) as usize;
    place.min(len.saturating_sub(1))
}
