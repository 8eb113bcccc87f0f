//! Reading what arrives, where size matters more than time: the SDK's Reader,
//! which refuses in one place instead of handing refusals on.

use crate::codes::{refuse, NOT_CANONICAL};
use postern::cbor::{Error, Fields, Kind, Reader, Writer};

/// A Reader whose functions are called, and end the call on what is malformed.
#[derive(Clone, Copy)]
pub struct Form<'a>(Reader<'a>);

/// What is read, or the end of the call.
fn or_refuse<T>(read: Result<T, Error>) -> T {
    read.unwrap_or_else(|_| refuse(NOT_CANONICAL))
}

macro_rules! reads {
    ($($(#[$meta:meta])* $name:ident($($arg:ident: $type:ty),*) -> $out:ty;)+) => {
        $(
            $(#[$meta])*
            #[inline(never)]
            pub fn $name(&mut self, $($arg: $type),*) -> $out {
                or_refuse(self.0.$name($($arg),*))
            }
        )+
    };
}

impl<'a> Form<'a> {
    pub fn new(raw: &'a [u8]) -> Form<'a> {
        Form(Reader::new(raw))
    }

    reads! {
        uint() -> u64;
        uint_max(max: u64) -> u64;
        int() -> i64;
        bytes() -> &'a [u8];
        bytes_of(n: usize) -> &'a [u8];
        text() -> &'a str;
        /// A text, encoded and as bytes.
        text_item() -> (&'a [u8], &'a [u8]);
        bool() -> bool;
        array() -> usize;
        array_of(n: usize) -> ();
        map() -> usize;
        fields() -> Fields;
        /// One item of any kind, whole.
        raw() -> &'a [u8];
        kind() -> Kind;
        /// Refuses what is left over.
        done() -> ();
    }

    /// The next key of a map that `fields` began.
    #[inline(never)]
    pub fn key(&mut self, fields: &mut Fields) -> Option<u64> {
        or_refuse(fields.next(&mut self.0))
    }
}

/// What a writer wrote.
#[inline(never)]
pub fn written(w: Writer) -> &'static [u8] {
    or_refuse(w.finish())
}
