//! Pages: the bodies of the rules of one action on one resource type. A page
//! is the number of pages (2 bytes, big-endian, meant on page 0 alone), then
//! bodies, each behind its length (2 bytes). A decision reads page 0 and only
//! those further pages that exist.

use crate::codes::TOO_LARGE;
use crate::keys::Key;
use crate::rule;
use postern::{state_delete, state_get_into, state_set, Abort, MAX_VALUE};

/// How many pages an action's rules on a type may fill.
const MAX_PAGES: u16 = 32;
const HEADER: usize = 2;

/// The number of pages that page 0 tells.
pub fn count(first: &[u8]) -> u16 {
    match first {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// The bodies of a page.
pub fn bodies(page: &[u8]) -> Bodies {
    Bodies { page, at: HEADER }
}

pub struct Bodies<'a> {
    page: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Bodies<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.page.get(self.at..)?;
        let (length, rest) = match rest {
            [high, low, rest @ ..] => ((*high as usize) << 8 | *low as usize, rest),
            _ => return None,
        };
        self.at += 2 + length;
        rest.get(..length)
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
    pub fn append(&mut self, first: Key, body: &[u8]) -> Result<(), Abort> {
        let mut len = self.read(&first);
        let mut last = 0;
        if len == 0 {
            self.buf[..HEADER].copy_from_slice(&1u16.to_be_bytes());
            len = HEADER;
        } else if count(self.buf) > 1 {
            last = count(self.buf) - 1;
            len = self.read(&first.with_page(last));
        }
        if len + 2 + body.len() > MAX_VALUE {
            last += 1;
            self.set_count(&first, last + 1)?;
            self.buf[..HEADER].fill(0);
            len = HEADER;
        }
        let len = self.put(len, body);
        self.write(&first.with_page(last), len);
        Ok(())
    }

    fn set_count(&mut self, first: &Key, pages: u16) -> Result<(), Abort> {
        if pages > MAX_PAGES {
            return Err(TOO_LARGE);
        }
        let len = self.read(first);
        self.buf[..HEADER].copy_from_slice(&pages.to_be_bytes());
        self.write(first, len);
        Ok(())
    }

    /// Writes a length and body at `at` and returns where they end.
    fn put(&mut self, at: usize, body: &[u8]) -> usize {
        self.buf[at..at + 2].copy_from_slice(&(body.len() as u16).to_be_bytes());
        self.buf[at + 2..at + 2 + body.len()].copy_from_slice(body);
        at + 2 + body.len()
    }

    /// Puts a body in the place of the one with its id. Where the page has no
    /// room for it, the rule moves to the end of the list.
    pub fn replace(&mut self, first: Key, body: &[u8]) -> Result<(), Abort> {
        let id = rule::body_id(body);
        if let Some((key, len, start, end)) = self.find(first, id) {
            let grown = len - (end - start) + 2 + body.len();
            if grown <= MAX_VALUE {
                self.buf.copy_within(end..len, start + 2 + body.len());
                self.put(start, body);
                self.write(&key, grown);
                return Ok(());
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
            for body in bodies(&self.buf[..len]) {
                let end = start + 2 + body.len();
                if rule::body_id(body) == id {
                    return Some((key, len, start, end));
                }
                start = end;
            }
        }
        None
    }
}
