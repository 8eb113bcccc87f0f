//! Devices as the ledger knows them.

use crate::cbor::Cursor;
use crate::codec::Hash;

/// A device's status. Only an active one reaches policies; the gateway denies
/// the others itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// In use.
    Active = 1,
    /// Out of use for a time, by its owner.
    Suspended = 2,
    /// Suspected of something.
    Quarantined = 3,
    /// Reported as stolen: only its owner says that it was found.
    Stolen = 4,
    /// Out of use for ever.
    Retired = 5,
}

impl Status {
    pub(crate) fn of(number: u64) -> Status {
        use Status::*;
        match number {
            1 => Active,
            2 => Suspended,
            3 => Quarantined,
            4 => Stolen,
            _ => Retired,
        }
    }
}

/// A device's record. The host wrote it, so it is read without checks, and
/// only what is asked for.
///
/// ```
/// use postern::{Device, Status};
/// // {2: "ACME", 5: 1, 6: {"floor": "3"}}
/// let raw = b"\xa3\x02\x64ACME\x05\x01\x06\xa1\x65floor\x613";
/// let device = Device::new(raw);
/// assert_eq!((device.manufacturer(), device.status()), ("ACME", Status::Active));
/// assert_eq!((device.label("floor"), device.label("room")), (Some("3"), None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    raw: &'a [u8],
}

impl Device<'static> {
    /// Reads a device's record from the ledger; None where there is none.
    pub fn get(id: &Hash) -> Option<Device<'static>> {
        crate::device_get(id).map(Device::new)
    }
}

impl<'a> Device<'a> {
    /// The record in its encoding.
    pub fn new(raw: &'a [u8]) -> Device<'a> {
        Device { raw }
    }

    // A cursor at the field, at the end of the record where it is missing.
    fn field(&self, wanted: u64) -> Cursor<'a> {
        let mut c = Cursor::new(self.raw);
        let mut left = c.uint();
        while left > 0 && !c.rest().is_empty() {
            if c.uint() == wanted {
                return c;
            }
            c.skip();
            left -= 1;
        }
        Cursor::default()
    }

    fn text(&self, key: u64) -> &'a str {
        text(self.field(key).bytes())
    }

    /// The account that owns it.
    pub fn owner(&self) -> Hash {
        let mut owner = [0; 32];
        let stored = self.field(1).bytes();
        if stored.len() == owner.len() {
            owner.copy_from_slice(stored);
        }
        owner
    }

    /// Who made it; "" where nobody said.
    pub fn manufacturer(&self) -> &'a str {
        self.text(2)
    }

    /// Its model.
    pub fn model(&self) -> &'a str {
        self.text(3)
    }

    /// Its serial.
    pub fn serial(&self) -> &'a str {
        self.text(4)
    }

    /// Its status.
    pub fn status(&self) -> Status {
        Status::of(self.field(5).uint())
    }

    /// A label that its owner attached.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.labels().find(|label| label.0 == name).map(|label| label.1)
    }

    /// Its labels, in the order of their encoding.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut c = self.field(6);
        let mut left = c.uint();
        core::iter::from_fn(move || {
            if left == 0 || c.rest().is_empty() {
                return None;
            }
            left -= 1;
            Some((text(c.bytes()), text(c.bytes())))
        })
    }

    /// Why it has its status.
    pub fn reason(&self) -> &'a str {
        self.text(7)
    }

    /// The height at which it got its status.
    pub fn since(&self) -> u64 {
        self.field(8).uint()
    }

    /// The height at which it was enrolled.
    pub fn enrolled(&self) -> u64 {
        self.field(10).uint()
    }
}

fn text(b: &[u8]) -> &str {
    core::str::from_utf8(b).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_or_empty() {
        // {1: 32 x 7, 3: "m", 5: 4, 6: {"a": "1", "bb": "2"}, 7: "gone", 8: 9, 10: 3}
        let mut raw = vec![0xa7, 1, 0x58, 32];
        raw.extend([7; 32]);
        raw.extend(b"\x03\x61m\x05\x04\x06\xa2\x61a\x611\x62bb\x612\x07\x64gone\x08\x09\x0a\x03");
        let d = Device::new(&raw);
        assert_eq!((d.owner(), d.manufacturer(), d.model(), d.serial()), ([7; 32], "", "m", ""));
        assert_eq!((d.status(), d.reason(), d.since(), d.enrolled()), (Status::Stolen, "gone", 9, 3));
        assert_eq!(d.labels().collect::<Vec<_>>(), [("a", "1"), ("bb", "2")]);
        assert_eq!((d.label("bb"), d.label("b")), (Some("2"), None));
    }

    #[test]
    fn a_damaged_record_is_harmless() {
        for raw in [&b""[..], b"\xff", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x06\xbb\xff", b"\xa1\x06\xa1\x65a"] {
            let d = Device::new(raw);
            assert_eq!((d.owner(), d.label("x"), d.model()), ([0; 32], None, ""));
        }
    }
}
