//! The page: four files without a build step, part of the binary.
//!
//! Invariant: the page loads nothing from anywhere else, and what it shows of
//! events is text, never markup; the headers hold it to both.

use axum::http::header;
use axum::response::IntoResponse;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn html() -> impl IntoResponse {
    file("text/html", include_str!("page/index.html"))
}

pub(super) async fn style() -> impl IntoResponse {
    file("text/css", include_str!("page/page.css"))
}

pub(super) async fn script() -> impl IntoResponse {
    file("text/javascript", include_str!("page/page.js"))
}

pub(super) async fn chart() -> impl IntoResponse {
    file("text/javascript", include_str!("page/chart.js"))
}

fn file(kind: &str, text: &'static str) -> impl IntoResponse + use<> {
    let headers = [
        (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        // After an upgrade an old page must not read a new stream.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, text)
}
