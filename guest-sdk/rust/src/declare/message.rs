//! Text at compile time: comparing it, and putting an error message together.

use crate::data_type::{DataType, Scalar};

pub(super) const fn same_text(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// Text put together while compiling; what does not fit is cut.
pub(super) struct Message {
    bytes: [u8; 512],
    len: usize,
}

impl Message {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; 512], len: 0 }
    }

    pub(super) const fn text(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut index = 0;
        while index < text.len() && self.len < self.bytes.len() {
            self.bytes[self.len] = text[index];
            self.len += 1;
            index += 1;
        }
        self
    }

    const fn number(self, number: u8) -> Self {
        let digit = [b'0' + number % 10];
        let message = if number >= 10 { self.number(number / 10) } else { self };
        match str::from_utf8(&digit) {
            Ok(digit) => message.text(digit),
            Err(_) => message,
        }
    }

    pub(super) const fn data_type(self, data_type: DataType, nullable: bool) -> Self {
        let message = if nullable { self.text("Option<") } else { self };
        let message = match data_type {
            DataType::Scalar(scalar) => message.scalar(scalar),
            DataType::List(scalar) => message.text("Vec<").scalar(scalar).text(">"),
        };
        if nullable { message.text(">") } else { message }
    }

    const fn scalar(self, scalar: Scalar) -> Self {
        let message = self.text(scalar.rust_name());
        match scalar {
            Scalar::Decimal { precision, scale } => {
                message.text("<").number(precision).text(", ").number(scale).text(">")
            }
            _ => message,
        }
    }

    #[track_caller]
    pub(super) const fn panic(&self) -> ! {
        match str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => panic!("{}", text),
            Err(_) => panic!("the two rows do not fit"),
        }
    }
}
