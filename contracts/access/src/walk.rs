//! Walking checked items where size matters more than time. The SDK's Cursor
//! is made to be part of its callers, which decisions need; all else shares
//! one copy of each of its functions.

use postern::cbor::Cursor;

/// A Cursor whose functions are called.
#[derive(Clone, Copy)]
pub struct Walk<'a>(Cursor<'a>);

impl<'a> Walk<'a> {
    #[inline(never)]
    pub fn new(raw: &'a [u8]) -> Walk<'a> {
        Walk(Cursor::new(raw))
    }

    /// An unsigned integer, or the number of items.
    #[inline(never)]
    pub fn uint(&mut self) -> u64 {
        self.0.uint()
    }

    /// How many items an array has that may be no bytes at all.
    #[inline(never)]
    pub fn count(&mut self) -> usize {
        if self.0.rest().is_empty() {
            return 0;
        }
        self.0.uint() as usize
    }

    #[inline(never)]
    pub fn int(&mut self) -> i64 {
        self.0.int()
    }

    /// A byte or text string.
    #[inline(never)]
    pub fn bytes(&mut self) -> &'a [u8] {
        self.0.bytes()
    }

    /// The same behind the head of an array or an integer.
    #[inline(never)]
    pub fn next_bytes(&mut self) -> &'a [u8] {
        self.0.uint();
        self.0.bytes()
    }

    /// One item, whole.
    #[inline(never)]
    pub fn raw(&mut self) -> &'a [u8] {
        self.0.raw()
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0.rest()
    }
}
