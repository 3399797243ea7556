-- The star of the test guest `star`, in SQL over the source's own tables.

CREATE VIEW expected_f_lines AS
SELECT
    i.order_id::BIGINT AS order_id,
    i.line_no::SMALLINT AS line_no,
    i.product_id::INTEGER AS product_id,
    i.qty::BIGINT AS qty,
    o.customer_id::BIGINT AS customer_id,
    o.status,
    o.placed_at::TIMESTAMPTZ AS placed_at,
    strftime(o.placed_at::TIMESTAMPTZ, '%Y%m%d')::INTEGER AS date_key,
    c.full_name AS customer,
    c.tier,
    c.birth_date::DATE AS birth_date,
    a.city,
    p.name AS product,
    p.active::BOOLEAN AS is_active,
    p.description,
    length(p.description)::INTEGER AS description_chars,
    category.name AS category,
    parent.name AS parent_category
FROM order_items AS i
JOIN orders AS o ON o.id = i.order_id
JOIN customers AS c ON c.id = o.customer_id
LEFT JOIN addresses AS a ON a.id = o.ship_address_id
LEFT JOIN products AS p ON p.id = i.product_id
LEFT JOIN categories AS category ON category.id = p.category_id
LEFT JOIN categories AS parent ON parent.id = category.parent_id;

-- Of the lines that share a city, the one with the smallest primary key counts.
CREATE VIEW expected_dim_cities AS
SELECT a.city, arg_min(a.country, (i.order_id::BIGINT, i.line_no::SMALLINT)) AS country
FROM order_items AS i
JOIN orders AS o ON o.id = i.order_id
JOIN addresses AS a ON a.id = o.ship_address_id
GROUP BY a.city;
