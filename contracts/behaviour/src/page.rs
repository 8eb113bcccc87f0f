//! Pages of access control entries (RFC 8519, as RFC 8520 uses them). The
//! profile's maker sorts entries into buckets, so that a flow is compared with
//! those few that may concern it, however many there are.
//!
//! A page is one byte, 1 where the bucket has another page, and entries:
//!
//! ```text
//! length of what follows (2) | sequence (2) | flags (2) | fields
//! ```
//!
//! numbers big-endian, fields in the order of their flags, each there if its
//! flag is set. Of the entries that hold for a flow the one with the lowest
//! sequence decides.
//!
//! An entry lies in the bucket of its rarest field: see [`Bucket`].

use crate::codes::*;
use crate::site::Site;
use postern::{Abort, Flow};

pub const DROP: u16 = 1; // forbids; else admits
pub const TO_DEVICE: u16 = 1 << 1; // else from it
pub const IPV4: u16 = 1 << 2;
pub const IPV6: u16 = 1 << 3;
pub const PROTOCOL: u16 = 1 << 4; // protocol (1)
pub const NETWORK: u16 = 1 << 5; // of the remote address: bits (1) | address (4 or 16)
pub const REMOTE_PORT: u16 = 1 << 6; // from (2) | to (2)
pub const LOCAL_PORT: u16 = 1 << 7; // from (2) | to (2)
pub const ICMP_TYPE: u16 = 1 << 8; // type (1)
pub const ICMP_CODE: u16 = 1 << 9; // code (1)
pub const BY_DEVICE: u16 = 1 << 10; // the device began the exchange
pub const BY_OTHER: u16 = 1 << 11;
pub const ETHERTYPE: u16 = 1 << 12; // ethertype (2)
pub const LOCAL: u16 = 1 << 13; // the other party is on a local network
pub const CLASS: u16 = 1 << 14; // one of the profile's classes (1)
pub const NAME: u16 = 1 << 15; // length (1) | name, lower case

const HEADER: usize = 6;
/// Bytes of a page, its entries and what the host adds.
pub const MAX_PAGE: usize = 8 << 10;
/// How many pages a bucket may have.
pub const MAX_PAGES: u8 = 16;
/// How many buckets a profile may have.
pub const MAX_BUCKETS: u64 = 1024;

/// What decides in which bucket entries and flows meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Entries that have none of the following.
    Any = 0,
    /// One address.
    Address = 1,
    /// One name.
    Name = 2,
    /// One class.
    Class = 3,
    /// A protocol and one remote port.
    RemotePort = 4,
    /// A protocol and one local port.
    LocalPort = 5,
    /// A type of frames.
    Ethertype = 6,
}

impl Bucket {
    /// The kinds, the rarest first: an entry lies under the first that it has.
    pub const ALL: [Bucket; 7] = [
        Bucket::Address,
        Bucket::Name,
        Bucket::Class,
        Bucket::RemotePort,
        Bucket::LocalPort,
        Bucket::Ethertype,
        Bucket::Any,
    ];

    /// The number of the bucket, by FNV-1a with 32 bits over a byte of kind and
    /// direction and the value.
    pub fn number(self, to_device: bool, value: &[&[u8]], mask: u16) -> u16 {
        let mut hash = step(0x811c_9dc5, (self as u8) << 1 | to_device as u8);
        for part in value {
            hash = part.iter().fold(hash, |hash, &c| step(hash, c));
        }
        (hash ^ hash >> 16) as u16 & mask
    }
}

#[inline]
fn step(hash: u32, c: u8) -> u32 {
    (hash ^ c as u32).wrapping_mul(0x0100_0193)
}

/// A flow with what is known of its other party.
pub struct Subject<'a> {
    pub flow: Flow<'a>,
    /// The other party's name in lower case.
    pub name: &'a [u8],
    /// Bit i: it is of the profile's class i.
    pub classes: u32,
    pub site: &'a Site,
}

/// The entries of a page.
pub fn entries(page: &[u8]) -> Entries {
    Entries { rest: page.get(1..).unwrap_or(&[]) }
}

pub struct Entries<'a> {
    rest: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub sequence: u16,
    pub flags: u16,
    fields: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let head = self.rest.get(..HEADER)?;
        let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let end = 2 + number(0) as usize;
        let fields = self.rest.get(HEADER..end)?;
        self.rest = &self.rest[end..];
        Some(Entry { sequence: number(2), flags: number(4), fields })
    }
}

/// Steps over the fields of an entry.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    // Empty where the entry is too short, which check refused.
    #[inline]
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        self.take(1).first().copied()
    }

    #[inline]
    fn pair(&mut self) -> Option<u16> {
        match self.take(2) {
            [high, low] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        }
    }

    #[inline]
    fn range(&mut self) -> Option<(u16, u16)> {
        Some((self.pair()?, self.pair()?))
    }
}

impl<'a> Entry<'a> {
    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether the entry forbids what it holds for.
    pub fn forbids(&self) -> bool {
        self.has(DROP)
    }

    /// Whether the entry holds for a flow. Where nobody saw who began, both
    /// directions may have.
    pub fn holds(&self, s: &Subject) -> bool {
        let f = &s.flow;
        let width = [IPV4, IPV6].iter().zip([4, 16]).all(|(&flag, size)| !self.has(flag) || f.remote.len() == size);
        if !width || self.has(TO_DEVICE) != f.to_device {
            return false;
        }
        if self.has(BY_DEVICE) && f.begun_by_device == Some(false) || self.has(BY_OTHER) && f.begun_by_device == Some(true) {
            return false;
        }
        // Whether an address is local takes longest to tell, so that comes last.
        self.fields_hold(s).unwrap_or(false) && (!self.has(LOCAL) || s.site.is_local(f.remote))
    }

    fn fields_hold(&self, s: &Subject) -> Option<bool> {
        let (f, mut r) = (&s.flow, Fields { rest: self.fields });
        let within = |port: Option<u16>, (from, to): (u16, u16)| port.map_or(false, |p| p >= from && p <= to);
        if self.has(PROTOCOL) && Some(r.byte()?) != f.protocol {
            return Some(false);
        }
        if self.has(NETWORK) {
            let bits = r.byte()?;
            if !contains(r.take(self.width()), bits, f.remote) {
                return Some(false);
            }
        }
        if self.has(REMOTE_PORT) && !within(f.remote_port, r.range()?) {
            return Some(false);
        }
        if self.has(LOCAL_PORT) && !within(f.local_port, r.range()?) {
            return Some(false);
        }
        if self.has(ICMP_TYPE) && Some(r.byte()?) != f.icmp.map(|i| (i >> 8) as u8) {
            return Some(false);
        }
        if self.has(ICMP_CODE) && Some(r.byte()?) != f.icmp.map(|i| i as u8) {
            return Some(false);
        }
        if self.has(ETHERTYPE) && r.pair()? != f.ethertype {
            return Some(false);
        }
        if self.has(CLASS) && s.classes >> (r.byte()? & 31) & 1 == 0 {
            return Some(false);
        }
        if self.has(NAME) {
            let len = r.byte()? as usize;
            return Some(r.take(len) == s.name);
        }
        Some(true)
    }

    // Bytes of an address of the entry's kind.
    fn width(&self) -> usize {
        if self.has(IPV6) {
            16
        } else {
            4
        }
    }

    /// Checks that the entry is whole, and no more than that, and can hold.
    fn check(&self, classes: usize) -> Option<()> {
        let mut r = Fields { rest: self.fields };
        let both = |a: u16, b: u16| self.has(a) && self.has(b);
        if both(IPV4, IPV6) || both(BY_DEVICE, BY_OTHER) || self.has(ICMP_CODE) && !self.has(ICMP_TYPE) {
            return None;
        }
        if self.has(PROTOCOL) {
            r.byte()?;
        }
        if self.has(NETWORK) {
            let bits = r.byte()? as usize;
            let width = self.width();
            if !self.has(IPV4 | IPV6) || bits > 8 * width || r.take(width).len() != width {
                return None;
            }
        }
        for flag in [REMOTE_PORT, LOCAL_PORT] {
            if self.has(flag) {
                r.range().filter(|(from, to)| from <= to)?;
            }
        }
        for flag in [ICMP_TYPE, ICMP_CODE] {
            if self.has(flag) {
                r.byte()?;
            }
        }
        if self.has(ETHERTYPE) {
            r.pair()?;
        }
        if self.has(CLASS) {
            r.byte().filter(|&class| (class as usize) < classes)?;
        }
        if self.has(NAME) {
            let len = r.byte().filter(|&len| len > 0)? as usize;
            if r.take(len).iter().filter(|c| !c.is_ascii_uppercase()).count() != len {
                return None;
            }
        }
        Some(()).filter(|_| r.rest.is_empty())
    }

    /// The bucket in which flows look for the entry.
    fn bucket(&self, mask: u16) -> Option<u16> {
        let mut r = Fields { rest: self.fields };
        let to_device = self.has(TO_DEVICE);
        let number = |kind: Bucket, value: &[&[u8]]| Some(kind.number(to_device, value, mask));
        let protocol = if self.has(PROTOCOL) { r.take(1) } else { &[] };
        if self.has(NETWORK) {
            let bits = r.byte()? as usize;
            let address = r.take(self.width());
            if bits == 8 * self.width() {
                return number(Bucket::Address, &[address]);
            }
        }
        let remote = if self.has(REMOTE_PORT) { Some(r.range()?) } else { None };
        let local = if self.has(LOCAL_PORT) { Some(r.range()?) } else { None };
        r.take(self.has(ICMP_TYPE) as usize + self.has(ICMP_CODE) as usize);
        let ethertype = if self.has(ETHERTYPE) { r.take(2) } else { &[] };
        let class = if self.has(CLASS) { r.take(1) } else { &[] };
        if self.has(NAME) {
            r.byte()?;
            return number(Bucket::Name, &[r.rest]);
        }
        if self.has(CLASS) {
            return number(Bucket::Class, &[class]);
        }
        for (kind, range) in [(Bucket::RemotePort, remote), (Bucket::LocalPort, local)] {
            match range {
                Some((from, to)) if from == to && self.has(PROTOCOL) => return number(kind, &[protocol, &from.to_be_bytes()]),
                _ => {}
            }
        }
        if self.has(ETHERTYPE) {
            return number(Bucket::Ethertype, &[ethertype]);
        }
        number(Bucket::Any, &[])
    }
}

/// Whether a network holds an address of the same kind.
pub fn contains(network: &[u8], bits: u8, address: &[u8]) -> bool {
    if network.len() != address.len() {
        return false;
    }
    let (whole, rest) = (bits as usize / 8, bits % 8);
    let mask = !(0xff >> rest) as u8;
    network.get(..whole) == address.get(..whole)
        && (rest == 0 || network.get(whole).map(|b| b & mask) == address.get(whole).map(|b| b & mask))
}

/// Checks a page and returns how many entries it holds. Each must be where
/// flows look for it.
#[inline(never)]
pub fn check(page: &[u8], bucket: u16, mask: u16, classes: usize) -> Result<u64, Abort> {
    if page.len() > MAX_PAGE {
        return Err(TOO_LARGE);
    }
    let mut left = match page {
        [0 | 1, rest @ ..] => rest.len(),
        _ => return Err(BAD_PAGE),
    };
    let mut count = 0;
    for (i, entry) in entries(page).enumerate() {
        let here = entry.check(classes).and_then(|_| entry.bucket(mask)) == Some(bucket);
        if !here {
            return Err(BAD_PAGE.of_item(i));
        }
        left -= HEADER + entry.fields.len();
        count += 1;
    }
    if left != 0 || count == 0 {
        return Err(BAD_PAGE.of_item(count as usize));
    }
    Ok(count)
}
