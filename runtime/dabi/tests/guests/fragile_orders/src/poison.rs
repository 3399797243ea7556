//! Rows that break a module, each in its own way.

/// The ids from here on are poison, in four ways by turns.
const POISON: i64 = 1_000_000;

/// A test mends a module by writing something else over this.
static REACTS: [u8; 16] = *b"reacts to poison";

/// Harmless unless `id` is poison; then a text that is none, if it returns at all.
pub(crate) fn taste(id: i64) -> Option<&'static str> {
    let is_mended = std::hint::black_box(&REACTS)[0] != b'r';
    if id < POISON || is_mended {
        return None;
    }
    match id % 4 {
        0 => panic!("order or parcel {id} is poison"),
        1 => loop {
            std::hint::black_box(());
        },
        2 => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 1 << 20]);
                std::hint::black_box(&hoard);
            }
        }
        _ => Some(no_text()),
    }
}

#[expect(invalid_from_utf8_unchecked, reason = "what the host gets is not a text, and it must find out")]
fn no_text() -> &'static str {
    // SAFETY: none, but nothing in here looks into it.
    unsafe { std::str::from_utf8_unchecked(b"\xff\xfe") }
}
