//! The site: which networks the classes of parties are that profiles name,
//! such as the controllers of RFC 8520. One value, an array ascending by name:
//!
//! ```text
//! [[class, [network, …]], …]
//! ```
//!
//! A network is bytes: how many bits count, and the address. A class that the
//! site does not hold has no members, but for local networks, which have a
//! usual meaning.

use crate::codes::*;
use crate::keys;
use crate::page::contains;
use crate::profile::MAX_CLASSES;
use postern::cbor::{Cursor, Reader};
use postern::{state_get, state_set, Abort, Reply};

/// The class that stands for local networks.
const LOCAL: &[u8] = b"local-networks";
/// Bytes of a site.
const MAX_SITE: usize = 12 << 10;

/// What no router passes on to other sites: private, link-local and broadcast
/// addresses (RFC 6890), multicast within link and site (RFC 5771, RFC 7346).
const USUAL_LOCAL: &[u8] = &[
    0x8c, // twelve networks
    0x45, 8, 10, 0, 0, 0, //
    0x45, 12, 172, 16, 0, 0, //
    0x45, 16, 192, 168, 0, 0, //
    0x45, 16, 169, 254, 0, 0, //
    0x45, 24, 224, 0, 0, 0, //
    0x45, 8, 239, 0, 0, 0, //
    0x45, 32, 255, 255, 255, 255, //
    0x51, 10, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
    0x51, 7, 0xfc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
    0x51, 16, 0xff, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
    0x51, 16, 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
    0x51, 16, 0xff, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// set site: [8, site].
#[inline(never)]
pub fn set(r: &mut Reader) -> Reply {
    let raw = r.raw()?;
    r.done()?;
    if raw.len() > MAX_SITE {
        return Err(TOO_LARGE);
    }
    check(&mut Reader::new(raw))?;
    state_set(keys::SITE, raw);
    Ok(&[])
}

fn check(r: &mut Reader) -> Result<(), Abort> {
    let mut last: &[u8] = &[];
    for i in 0..r.array()? {
        r.array_of(2)?;
        let class = r.text()?.as_bytes();
        if class <= last {
            return Err(BAD_SITE.of_item(i));
        }
        last = class;
        for _ in 0..r.array()? {
            match r.bytes()? {
                [bits, address @ ..] if matches!(address.len(), 4 | 16) && *bits as usize <= 8 * address.len() => {}
                _ => return Err(BAD_SITE.of_item(i)),
            }
        }
    }
    Ok(())
}

/// The networks of a profile's classes, and those that are local.
pub struct Site {
    classes: [&'static [u8]; MAX_CLASSES],
    count: usize,
    local: &'static [u8],
}

impl Site {
    /// Finds the networks of encoded class names.
    pub fn of(names: &[u8]) -> Site {
        let raw = state_get(keys::SITE).unwrap_or(&[]);
        let mut site = Site { classes: [&[]; MAX_CLASSES], count: 0, local: networks(raw, LOCAL).unwrap_or(USUAL_LOCAL) };
        let mut names = Cursor::new(names);
        site.count = (names.uint() as usize).min(MAX_CLASSES);
        for class in &mut site.classes[..site.count] {
            *class = networks(raw, names.bytes()).unwrap_or(&[]);
        }
        site
    }

    /// The classes of which an address is a member, as bits.
    pub fn classes(&self, address: &[u8]) -> u32 {
        let members = self.classes[..self.count].iter().enumerate();
        members.fold(0, |bits, (i, networks)| bits | (holds(networks, address) as u32) << i)
    }

    /// Whether an address is on a local network; what has none cannot leave it.
    pub fn is_local(&self, address: &[u8]) -> bool {
        address.is_empty() || holds(self.local, address)
    }
}

// The encoded networks of a class.
fn networks(site: &'static [u8], class: &[u8]) -> Option<&'static [u8]> {
    let mut c = Cursor::new(site);
    if site.is_empty() {
        return None;
    }
    for _ in 0..c.uint() {
        c.uint();
        let name = c.bytes();
        let networks = c.raw();
        if name == class {
            return Some(networks);
        }
    }
    None
}

fn holds(networks: &[u8], address: &[u8]) -> bool {
    let mut c = Cursor::new(networks);
    if networks.is_empty() {
        return false;
    }
    (0..c.uint()).any(|_| match c.bytes() {
        [bits, network @ ..] => contains(network, *bits, address),
        [] => false,
    })
}
