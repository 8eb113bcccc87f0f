//! Observations: what an `observe` entry gets of a device, and the judgement
//! that it gives. An `execute` that has [`Env::evidence`](crate::Env) gets one
//! as well, signed by the device.

use crate::cbor::{Decimal, Error, Kind, Reader, Writer};
use crate::codec::{Decode, Encode, Hash};
use crate::entry::Reply;

/// What an observation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservationKind {
    /// [`Measurement`]s.
    Telemetry = 1,
    /// [`Flow`]s.
    Flows = 2,
    /// One [`Silence`]: a timer of the gateway's.
    Silence = 3,
    /// One [`Denial`] of a request by the device.
    Denial = 4,
    /// [`Measurement`]s of where the device says it is.
    Location = 5,
}

/// What a gateway saw of a device.
///
/// ```
/// use postern::{cbor::Decimal, Measurement, Observation, ObservationKind};
/// // {1: 1, 2: 32 x 7, 3: 1000, 4: [{1: "t", 4: 21.5}]}
/// let mut message = vec![0xa4, 1, 1, 2, 0x58, 32];
/// message.extend([7; 32]);
/// message.extend([3, 0x19, 3, 0xe8, 4, 0x81, 0xa2, 1, 0x61, b't', 4, 0xc4, 0x82, 0x20, 0x18, 0xd7]);
/// let o: Observation = postern::decode(&message).unwrap();
/// assert_eq!((o.kind, o.device, o.time), (ObservationKind::Telemetry, [7; 32], 1000));
/// let first: Measurement = o.items().next().unwrap().unwrap();
/// assert_eq!((first.name, first.value), ("t", Some(Decimal { exponent: -1, mantissa: 215 })));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation<'a> {
    /// What the payload holds.
    pub kind: ObservationKind,
    /// The device that was observed.
    pub device: Hash,
    /// The gateway's time in ms since 1970; in evidence, the device's own.
    pub time: i64,
    payload: &'a [u8],
}

impl<'a> Observation<'a> {
    /// An observation with an encoded array of items.
    pub fn new(kind: ObservationKind, device: Hash, time: i64, payload: &'a [u8]) -> Observation<'a> {
        Observation { kind, device, time, payload }
    }

    /// How many items the payload holds.
    pub fn len(&self) -> usize {
        Reader::new(self.payload).array().unwrap_or(0)
    }

    /// Whether the payload holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items of the payload, of the type that its kind has. They are checked
    /// as they are read: after an error there are no more.
    pub fn items<T: Decode<'a>>(&self) -> Items<'a, T> {
        let mut r = Reader::new(self.payload);
        let left = r.array().unwrap_or(0);
        Items { r, left, of: core::marker::PhantomData }
    }
}

impl<'a> Decode<'a> for Observation<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        use ObservationKind::*;
        let (mut kind, mut device, mut time, mut payload) = (None, None, None, None);
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(r)? {
            match key {
                1 => kind = [Telemetry, Flows, Silence, Denial, Location].get((r.uint()? as usize).wrapping_sub(1)).copied(),
                2 => device = Some(Hash::decode(r)?),
                3 => time = Some(r.int()?),
                4 if r.kind()? == Kind::Array => payload = Some(r.rest()),
                _ => return Err(Error::Field),
            }
        }
        match (kind, device, time, payload) {
            (Some(kind), Some(device), Some(time), Some(payload)) => Ok(Observation { kind, device, time, payload }),
            _ => Err(Error::Field),
        }
    }
}

impl Encode for Observation<'_> {
    fn encode(&self, w: &mut Writer) {
        w.map(4).uint(1).uint(self.kind as u64).uint(2).bytes(&self.device);
        w.uint(3).int(self.time).uint(4).raw(self.payload);
    }
}

/// The items of a payload: see [`Observation::items`]. What is no item, or left
/// over after them, is an error, and the last that is given.
pub struct Items<'a, T> {
    r: Reader<'a>,
    left: usize,
    of: core::marker::PhantomData<fn() -> T>,
}

impl<'a, T: Decode<'a>> Iterator for Items<'a, T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let end = core::mem::replace(&mut self.r, Reader::new(&[])).done();
            return end.err().map(Err);
        }
        let item = T::decode(&mut self.r);
        self.left -= 1;
        if item.is_err() {
            self.left = 0;
            self.r = Reader::new(&[]);
        }
        Some(item)
    }
}

/// A resolved SenML record (RFC 8428).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Measurement<'a> {
    pub name: &'a str,
    /// In ms since 1970; None where the device told none.
    pub time: Option<i64>,
    /// "" where the device told none.
    pub unit: &'a str,
    pub value: Option<Decimal>,
    pub text: Option<&'a str>,
    pub bool: Option<bool>,
    pub data: Option<&'a [u8]>,
    pub sum: Option<Decimal>,
}

impl<'a> Decode<'a> for Measurement<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let mut m = Measurement::default();
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(r)? {
            match key {
                1 => m.name = r.text()?,
                2 => m.time = Some(r.int()?),
                3 => m.unit = r.text()?,
                4 => m.value = Some(r.decimal()?),
                5 => m.text = Some(r.text()?),
                6 => m.bool = Some(r.bool()?),
                7 => m.data = Some(r.bytes()?),
                8 => m.sum = Some(r.decimal()?),
                _ => return Err(Error::Field),
            }
        }
        if m.name.is_empty() {
            return Err(Error::Field);
        }
        Ok(m)
    }
}

/// The packets between a device and another party that belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow<'a> {
    /// Whether these packets went to the device, not from it.
    pub to_device: bool,
    /// The IP protocol; None where it is no IP.
    pub protocol: Option<u8>,
    /// The other party's address, 4 or 16 bytes; empty where it is no IP.
    pub remote: &'a [u8],
    /// The other party's port.
    pub remote_port: Option<u16>,
    /// The device's port.
    pub local_port: Option<u16>,
    /// Bytes, headers included.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// The other party's name, where DNS told it; else "".
    pub name: &'a str,
    /// Whether the device began the exchange; None where nobody saw.
    pub begun_by_device: Option<bool>,
    /// The frames' type; where the payload has none it is that of the address.
    pub ethertype: u16,
    /// ICMP's type and code, type << 8 | code.
    pub icmp: Option<u16>,
}

impl<'a> Decode<'a> for Flow<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let mut f = Flow::default();
        let mut ethertype = None;
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(r)? {
            match key {
                1 => f.to_device = r.uint_max(1)? == 1,
                2 => f.protocol = Some(r.uint_max(0xff)? as u8),
                3 => f.remote = r.bytes()?,
                4 => f.remote_port = Some(r.uint_max(0xffff)? as u16),
                5 => f.local_port = Some(r.uint_max(0xffff)? as u16),
                6 => f.bytes = r.uint()?,
                7 => f.packets = r.uint()?,
                8 => f.name = r.text()?,
                9 => f.begun_by_device = Some(r.bool()?),
                10 => ethertype = Some(r.uint_max(0xffff)? as u16),
                11 => f.icmp = Some(r.uint_max(0xffff)? as u16),
                _ => return Err(Error::Field),
            }
        }
        f.ethertype = match (ethertype, f.remote.len()) {
            (None | Some(0x0800), 4) => 0x0800,
            (None | Some(0x86dd), 16) => 0x86dd,
            (Some(other), 0) => other,
            _ => return Err(Error::Field),
        };
        Ok(f)
    }
}

/// That nothing was heard of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// When it reported last, ms since 1970.
    pub last: i64,
}

impl Decode<'_> for Silence {
    fn decode(r: &mut Reader) -> Result<Self, Error> {
        if r.map()? != 1 || r.uint()? != 1 {
            return Err(Error::Field);
        }
        Ok(Silence { last: r.int()? })
    }
}

/// A request of the device that was denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denial<'a> {
    /// The policy domain that it asked.
    pub domain: &'a str,
    /// The code of the denial.
    pub code: u64,
    /// The action that it asked for.
    pub action: &'a str,
    /// The resource's id.
    pub resource: &'a str,
}

impl<'a> Decode<'a> for Denial<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let mut d = Denial::default();
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(r)? {
            match key {
                1 => d.domain = r.text()?,
                2 => d.code = r.uint()?,
                3 => d.action = r.text()?,
                4 => d.resource = r.text()?,
                _ => return Err(Error::Field),
            }
        }
        Ok(d)
    }
}

/// How grave a judgement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing to tell.
    Fine = 0,
    /// Somebody should know.
    Alert = 1,
    /// It may be in wrong hands.
    SuspectedStolen = 2,
    /// It should be cut off.
    Quarantine = 3,
}

impl Default for Level {
    fn default() -> Level {
        Level::Fine
    }
}

/// What an `observe` entry answers.
///
/// ```
/// use postern::{Judgement, Level};
/// let j = Judgement { level: Level::Alert, score: 7, ..Judgement::default() };
/// assert_eq!(postern::encode(&j), [0xa2, 1, 1, 2, 7]);
/// assert_eq!(postern::encode(&Judgement::default()), [0xa0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement<'a> {
    /// How grave it is.
    pub level: Level,
    /// The contract's own measure.
    pub score: i64,
    /// The contract's own code; 0 for none.
    pub reason: u64,
    /// A reason in text, of one line.
    pub reason_id: &'a str,
    /// In how many ms the gateway is to observe the device's silence; 0 leaves
    /// the timer as it is.
    pub timer: u64,
    /// An encoded array of texts, each of one line of at most 256 bytes: one for
    /// each record worth a word. Empty for none.
    pub findings: &'a [u8],
}

impl Judgement<'_> {
    /// The reply that holds the judgement.
    pub fn reply(&self) -> Reply {
        crate::codec::reply(self)
    }
}

impl Encode for Judgement<'_> {
    fn encode(&self, w: &mut Writer) {
        let fields = [
            self.level != Level::Fine,
            self.score != 0,
            self.reason != 0,
            !self.reason_id.is_empty(),
            self.timer != 0,
            !self.findings.is_empty(),
        ];
        w.map(fields.iter().filter(|&&present| present).count());
        if fields[0] {
            w.uint(1).uint(self.level as u64);
        }
        if fields[1] {
            w.uint(2).int(self.score);
        }
        if fields[2] {
            w.uint(3).uint(self.reason);
        }
        if fields[3] {
            w.uint(4).text(self.reason_id);
        }
        if fields[4] {
            w.uint(5).uint(self.timer);
        }
        if fields[5] {
            w.uint(6).raw(self.findings);
        }
    }
}

impl<'a> Decode<'a> for Judgement<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        use Level::*;
        let mut j = Judgement::default();
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(r)? {
            match key {
                1 => j.level = [Fine, Alert, SuspectedStolen, Quarantine][r.uint_max(3)? as usize],
                2 => j.score = r.int()?,
                3 => j.reason = r.uint()?,
                4 => j.reason_id = r.text()?,
                5 => j.timer = r.uint()?,
                6 => j.findings = texts(r)?,
                _ => return Err(Error::Field),
            }
        }
        Ok(j)
    }
}

fn texts<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    let mut inner = *r;
    for _ in 0..inner.array()? {
        inner.text()?;
    }
    r.raw()
}

#[cfg(test)]
#[path = "observation_tests.rs"]
mod tests;
