//! Pages: the bodies of the rules of one action on one resource type. A page
//! is the number of pages (2 bytes, meant on page 0 alone), then entries: the
//! body's length (2 bytes), its gates (4 times 2 bytes) and the body, numbers
//! big-endian. A decision reads page 0 and only those further pages that exist.

use crate::codes::{refuse, TOO_LARGE};
use crate::keys::Key;
use crate::rule;
use core::cell::Cell;
use postern::{state_delete, state_get_into, state_set, MAX_VALUE};

/// How many pages an action's rules on a type may fill.
pub const MAX_PAGES: u16 = 32;

/// The pages of a list that were read, for who reads them often.
pub type Kept = [KeptPage; MAX_PAGES as usize];
pub type KeptPage = Cell<Option<&'static [u8]>>;
pub const NONE: KeptPage = Cell::new(None);
const HEADER: usize = 2;
/// Bytes of an entry before its body.
const PREFIX: usize = 2 + 2 * 4;

/// The number of pages that page 0 tells.
pub fn count(first: &[u8]) -> u16 {
    match first {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// The entries of a page.
pub fn entries(page: &[u8]) -> Entries {
    Entries { rest: page.get(HEADER..).unwrap_or(&[]) }
}

pub struct Entries<'a> {
    rest: &'a [u8],
}

/// A rule's gates, packed, and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub gates: u64,
    pub body: &'a [u8],
}

impl<'a> Entry<'a> {
    fn size(&self) -> usize {
        PREFIX + self.body.len()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    // A decision goes through here for each rule of its list.
    #[inline(always)]
    fn next(&mut self) -> Option<Entry<'a>> {
        match *self.rest {
            [high, low, a, b, c, d, e, f, g, h, ref rest @ ..] => {
                let length = u16::from_be_bytes([high, low]) as usize;
                let body = rest.get(..length)?;
                self.rest = &rest[length..];
                Some(Entry { gates: u64::from_le_bytes([a, b, c, d, e, f, g, h]), body })
            }
            _ => None,
        }
    }
}

/// Changes pages through one buffer, which is reused for all of a message.
pub struct Editor {
    buf: &'static mut [u8],
}

impl Editor {
    pub fn new() -> Editor {
        Editor { buf: postern::buffer(MAX_VALUE) }
    }

    fn read(&mut self, key: &Key) -> usize {
        state_get_into(key.bytes(), self.buf).unwrap_or(0)
    }

    fn write(&self, key: &Key, len: usize) {
        state_set(key.bytes(), &self.buf[..len]);
    }

    /// Appends a body to the last page of the list that `first` begins.
    pub fn append(&mut self, first: Key, body: &[u8]) {
        let mut len = self.read(&first);
        let mut last = 0;
        if len == 0 {
            self.buf[..HEADER].copy_from_slice(&1u16.to_be_bytes());
            len = HEADER;
        } else if count(self.buf) > 1 {
            last = count(self.buf) - 1;
            len = self.read(&first.with_page(last));
        }
        if len + PREFIX + body.len() > MAX_VALUE {
            last += 1;
            self.set_count(&first, last + 1);
            self.buf[..HEADER].fill(0);
            len = HEADER;
        }
        let len = self.put(len, body);
        self.write(&first.with_page(last), len);
    }

    fn set_count(&mut self, first: &Key, pages: u16) {
        if pages > MAX_PAGES {
            refuse(TOO_LARGE);
        }
        let len = self.read(first);
        self.buf[..HEADER].copy_from_slice(&pages.to_be_bytes());
        self.write(first, len);
    }

    /// Writes an entry at `at` and returns where it ends.
    fn put(&mut self, at: usize, body: &[u8]) -> usize {
        let (start, end) = (at + PREFIX, at + PREFIX + body.len());
        self.buf[at..at + 2].copy_from_slice(&(body.len() as u16).to_be_bytes());
        for (pair, gate) in self.buf[at + 2..start].chunks_mut(2).zip(rule::gates(body)) {
            pair.copy_from_slice(&gate.to_be_bytes());
        }
        self.buf[start..end].copy_from_slice(body);
        end
    }

    /// Puts a body in the place of the one with its id. Where the page has no
    /// room for it, the rule moves to the end of the list.
    pub fn replace(&mut self, first: Key, body: &[u8]) {
        let id = rule::body_id(body);
        if let Some((key, len, start, end)) = self.find(first, id) {
            let grown = len - (end - start) + PREFIX + body.len();
            if grown <= MAX_VALUE {
                self.buf.copy_within(end..len, start + PREFIX + body.len());
                self.put(start, body);
                self.write(&key, grown);
                return;
            }
            self.cut(&key, len, start, end);
        }
        self.append(first, body)
    }

    /// Removes the body with an id from a list.
    pub fn remove(&mut self, first: Key, id: &[u8]) {
        if let Some((key, len, start, end)) = self.find(first, id) {
            self.cut(&key, len, start, end);
        }
    }

    fn cut(&mut self, key: &Key, len: usize, start: usize, end: usize) {
        self.buf.copy_within(end..len, start);
        let left = len - (end - start);
        // The only page of a list goes with its last rule.
        if left == HEADER && count(self.buf) == 1 {
            state_delete(key.bytes());
        } else {
            self.write(key, left);
        }
    }

    /// Finds the body with an id: leaves its page in the buffer and returns
    /// the page's key and length and where the body starts and ends.
    fn find(&mut self, first: Key, id: &[u8]) -> Option<(Key, usize, usize, usize)> {
        let mut len = self.read(&first);
        for page in 0..count(&self.buf[..len]) {
            let key = first.with_page(page);
            if page > 0 {
                len = self.read(&key);
            }
            let mut start = HEADER;
            for entry in entries(&self.buf[..len]) {
                let end = start + entry.size();
                if rule::body_id(entry.body) == id {
                    return Some((key, len, start, end));
                }
                start = end;
            }
        }
        None
    }
}
