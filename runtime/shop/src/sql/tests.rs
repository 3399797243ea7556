use super::*;
use crate::row::{AisleId, DepartmentId, Order, OrderId, OrderProduct, Product, ProductId, User, UserId};
use crate::transaction::{Lsn, Micros, TransactionId};

fn transaction(changes: Vec<Change>) -> Transaction {
    let changes = changes.into_iter().map(|change| (Lsn(1), change)).collect();
    let (id, committed) = (TransactionId(1), Micros(0));
    Transaction { id, committed, begins: Lsn(1), ends: Lsn(2), snapshot: false, changes }
}

fn product() -> Product {
    Product {
        product_id: ProductId(5),
        product_name: "Farmer's Bread, Large".into(),
        aisle_id: AisleId(1),
        department_id: DepartmentId(2),
        description: None,
    }
}

#[test]
fn tables() {
    let tables = create_tables("public", Identity::Default);
    insta::assert_snapshot!(tables);
    assert!(
        create_tables("a\"b", Identity::Full).contains("ALTER TABLE \"a\"\"b\".users REPLICA IDENTITY FULL;")
    );
}

#[test]
fn every_kind_of_change() {
    let order = Order {
        order_id: OrderId(9),
        user_id: UserId(3),
        order_date: Micros(1_764_115_445_000_120),
        tip_given: None,
    };
    let line = |order_id, product_id, add_to_cart_order| OrderProduct {
        order_id: OrderId(order_id),
        product_id: ProductId(product_id),
        add_to_cart_order,
    };
    let update = |before: Row, after: Row| Change::Update { before, after };
    let changes = vec![
        Change::Insert(User { user_id: UserId(3) }.into()),
        Change::Insert(order.clone().into()),
        Change::Insert(line(9, 5, 1).into()),
        Change::Insert(line(9, 6, 2).into()),
        update(order.clone().into(), Order { tip_given: Some(true), ..order.clone() }.into()),
        update(product().into(), Product { product_name: "Bread".into(), ..product() }.into()),
        update(product().into(), product().into()),
        update(product().into(), Product { product_id: ProductId(7), ..product() }.into()),
        update(line(9, 5, 1).into(), line(9, 7, 1).into()),
        Change::Delete(line(9, 6, 2).into()),
        Change::Truncate(Table::Orders),
        Change::Truncate(Table::OrderProducts),
    ];
    let script = script("public", &transaction(changes));
    insta::assert_snapshot!(script);
}
