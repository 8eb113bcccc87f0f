//! Decisions: the request that a `decide` entry gets (AuthZEN's shape) and the
//! verdict that it gives.

use crate::cbor::{Cursor, Error, Kind, Reader, Writer};
use crate::codec::{Decode, Encode};
use crate::entry::Reply;

/// Properties or a context: a map with text keys, checked to be canonical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    raw: &'a [u8],
}

impl<'a> Properties<'a> {
    /// The encoding of a property's value; None where there is none.
    pub fn raw(&self, name: &str) -> Option<&'a [u8]> {
        let mut c = Cursor::new(self.raw);
        for _ in 0..c.uint() {
            if c.bytes() == name.as_bytes() {
                return Some(c.raw());
            }
            c.skip();
        }
        None
    }

    /// A property; None where there is none, or one of another type.
    pub fn get<T: Decode<'a>>(&self, name: &str) -> Option<T> {
        crate::codec::decode(self.raw(name)?).ok()
    }
}

impl<'a> Decode<'a> for Properties<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        if r.kind()? != Kind::Map {
            return Err(Error::Kind);
        }
        let raw = r.raw()?;
        let mut inner = Reader::new(raw);
        for _ in 0..inner.map()? {
            inner.text()?;
            inner.skip()?;
        }
        Ok(Properties { raw })
    }
}

/// A subject or a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entity<'a> {
    /// What it is, such as "device".
    pub kind: &'a str,
    /// Its id among those.
    pub id: &'a str,
    /// What the request says of it.
    pub properties: Properties<'a>,
}

/// What the subject wants to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the request says of it.
    pub properties: Properties<'a>,
}

/// A request for a decision.
///
/// ```
/// use postern::{Action, DecisionRequest, Entity};
/// let q = DecisionRequest {
///     subject: Entity { kind: "device", id: "d1", ..Default::default() },
///     action: Action { name: "open", ..Default::default() },
///     resource: Entity { kind: "door", id: "7", ..Default::default() },
///     ..Default::default()
/// };
/// let message = postern::encode(&q);
/// assert_eq!(postern::decode(message), Ok(q));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecisionRequest<'a> {
    /// Who asks; the host fills it in for a device that asks for itself.
    pub subject: Entity<'a>,
    /// What for.
    pub action: Action<'a>,
    /// On what.
    pub resource: Entity<'a>,
    /// What else the enforcement point knows.
    pub context: Properties<'a>,
}

impl<'a> Decode<'a> for DecisionRequest<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let mut q = DecisionRequest::default();
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(r)? {
            match key {
                1 => q.subject = Entity::decode(r)?,
                2 => q.action = Action::decode(r)?,
                3 => q.resource = Entity::decode(r)?,
                4 => q.context = Properties::decode(r)?,
                _ => return Err(Error::Field),
            }
        }
        if q.subject.id.is_empty() || q.action.name.is_empty() || q.resource.id.is_empty() {
            return Err(Error::Field);
        }
        Ok(q)
    }
}

impl<'a> Decode<'a> for Entity<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let mut e = Entity::default();
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(r)? {
            match key {
                1 => e.kind = r.text()?,
                2 => e.id = r.text()?,
                3 => e.properties = Properties::decode(r)?,
                _ => return Err(Error::Field),
            }
        }
        if e.kind.is_empty() || e.id.is_empty() {
            return Err(Error::Field);
        }
        Ok(e)
    }
}

impl<'a> Decode<'a> for Action<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let mut a = Action::default();
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(r)? {
            match key {
                1 => a.name = r.text()?,
                2 => a.properties = Properties::decode(r)?,
                _ => return Err(Error::Field),
            }
        }
        Ok(a)
    }
}

impl Encode for DecisionRequest<'_> {
    fn encode(&self, w: &mut Writer) {
        w.map(3 + !self.context.raw.is_empty() as usize).uint(1);
        self.subject.encode(w);
        w.uint(2).map(1 + !self.action.properties.raw.is_empty() as usize).uint(1).text(self.action.name);
        optional(w, 2, self.action.properties);
        w.uint(3);
        self.resource.encode(w);
        optional(w, 4, self.context);
    }
}

impl Encode for Entity<'_> {
    fn encode(&self, w: &mut Writer) {
        w.map(2 + !self.properties.raw.is_empty() as usize);
        w.uint(1).text(self.kind).uint(2).text(self.id);
        optional(w, 3, self.properties);
    }
}

fn optional(w: &mut Writer, key: u64, p: Properties) {
    if !p.raw.is_empty() {
        w.uint(key).raw(p.raw);
    }
}

/// What a `decide` entry answers. Built from [`Verdict::permit`],
/// [`Verdict::deny`] or [`Verdict::by_transaction`] and what is changed of it.
///
/// ```
/// use postern::Verdict;
/// let v = Verdict { ttl: 60_000, ..Verdict::permit(1) };
/// assert_eq!(postern::encode(&v), [0xa3, 1, 0xf5, 2, 1, 5, 0x19, 0xea, 0x60]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Whether the action may be done.
    pub permit: bool,
    /// The contract's own code; 0 for none.
    pub reason: u64,
    /// A reason in text, such as the name of the rule that decided.
    pub reason_id: &'a str,
    /// What the enforcement point must do: an encoded array whose form is the
    /// contract's own; empty for nothing.
    pub obligations: &'a [u8],
    /// For how many ms the answer may be cached.
    pub ttl: u64,
    /// By how many ms the gateway's state may be behind; None for any.
    pub max_staleness: Option<u64>,
    /// A message for this contract's `execute` that the gateway submits as a
    /// transaction of its own; empty for none.
    pub follow_up: &'a [u8],
    /// The decision consumes a right: the request must come as a transaction.
    pub by_transaction: bool,
}

impl Verdict<'static> {
    /// Permits, for a reason.
    pub fn permit(reason: u64) -> Verdict<'static> {
        Verdict { permit: true, reason, ..Verdict::default() }
    }

    /// Denies, for a reason.
    pub fn deny(reason: u64) -> Verdict<'static> {
        Verdict { reason, ..Verdict::default() }
    }

    /// Does not decide: the request must come as a transaction.
    pub fn by_transaction(reason: u64) -> Verdict<'static> {
        Verdict { by_transaction: true, reason, ..Verdict::default() }
    }
}

impl Verdict<'_> {
    /// The reply that holds the verdict.
    pub fn reply(&self) -> Reply {
        crate::codec::reply(self)
    }
}

impl Encode for Verdict<'_> {
    fn encode(&self, w: &mut Writer) {
        let reason = Some(self.reason).filter(|&v| v != 0);
        let ttl = Some(self.ttl).filter(|&v| v != 0);
        let texts = [!self.reason_id.is_empty(), !self.obligations.is_empty(), !self.follow_up.is_empty(), self.by_transaction];
        let numbers = [reason.is_some(), ttl.is_some(), self.max_staleness.is_some()];
        w.map(1 + texts.iter().chain(&numbers).filter(|&&present| present).count());
        w.uint(1).bool(self.permit);
        number(w, 2, reason);
        if texts[0] {
            w.uint(3).text(self.reason_id);
        }
        if texts[1] {
            w.uint(4).raw(self.obligations);
        }
        number(w, 5, ttl);
        number(w, 6, self.max_staleness);
        if texts[2] {
            w.uint(7).bytes(self.follow_up);
        }
        if texts[3] {
            w.uint(8).bool(true);
        }
    }
}

fn number(w: &mut Writer, key: u64, v: Option<u64>) {
    if let Some(v) = v {
        w.uint(key).uint(v);
    }
}

impl<'a> Decode<'a> for Verdict<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let mut v = Verdict::default();
        let mut decided = false;
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(r)? {
            match key {
                1 => {
                    v.permit = r.bool()?;
                    decided = true;
                }
                2 => v.reason = r.uint()?,
                3 => v.reason_id = r.text()?,
                4 => v.obligations = crate::codec::List::<crate::Raw>::decode(r)?.encoded(),
                5 => v.ttl = r.uint()?,
                6 => v.max_staleness = Some(r.uint()?),
                7 => v.follow_up = r.bytes()?,
                8 => v.by_transaction = r.bool()?,
                _ => return Err(Error::Field),
            }
        }
        if !decided {
            return Err(Error::Field);
        }
        Ok(v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode};

    #[test]
    fn verdicts_round_trip() {
        let full = Verdict {
            permit: true,
            reason: 4,
            reason_id: "night",
            obligations: &[0x81, 1],
            ttl: 5,
            max_staleness: Some(0),
            follow_up: &[9],
            by_transaction: true,
        };
        for v in [full, Verdict::permit(0), Verdict::deny(7), Verdict::by_transaction(1)] {
            assert_eq!(decode(encode(&v)), Ok(v));
        }
        assert_eq!(encode(&Verdict::deny(0)), [0xa1, 1, 0xf4]);
    }

    #[test]
    fn incomplete_requests_are_refused() {
        let q = DecisionRequest {
            subject: Entity { kind: "user", id: "a", properties: decode(&[0xa1, 0x61, b'x', 5]).unwrap() },
            action: Action { name: "open", properties: Properties::default() },
            resource: Entity { kind: "door", id: "7", properties: Properties::default() },
            context: Properties::default(),
        };
        assert_eq!(decode(encode(&q)), Ok(q));
        assert_eq!((q.subject.properties.get::<u64>("x"), q.subject.properties.get::<&str>("x")), (Some(5), None));
        let lacking = [
            DecisionRequest { subject: Entity::default(), ..q },
            DecisionRequest { action: Action::default(), ..q },
            DecisionRequest { resource: Entity { id: "", ..q.resource }, ..q },
            DecisionRequest { resource: Entity { kind: "", ..q.resource }, ..q },
        ];
        for q in lacking {
            assert_eq!(decode::<DecisionRequest>(encode(&q)), Err(Error::Field), "{:?}", q);
        }
        assert_eq!(decode::<Properties>(&[0xa1, 1, 5]), Err(Error::Kind), "keys are texts");
        assert_eq!(decode::<Properties>(&[0x80]), Err(Error::Kind));
    }
}
