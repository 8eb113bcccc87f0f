//! What was found: kinds, and the texts that name them.

use postern::cbor::{Decimal, Writer, MAX_DECIMAL_PLACES};

/// What may be found. The numbers are a judgement's reasons and never change
/// their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    FlowNotAdmitted = 1,
    FlowForbidden = 2,
    ValueOutOfRange = 3,
    ChangeTooFast = 4,
    UnexpectedState = 5,
    UnknownName = 6,
    WrongForm = 7,
    TooManyReports = 8,
    TooManyBytes = 9,
    Silent = 10,
    OutsideHours = 11,
    RequestDenied = 12,
    SignOfTheft = 13,
}

/// How many kinds there are.
pub const KINDS: usize = 13;

impl Finding {
    /// The reason id.
    pub fn name(self) -> &'static str {
        [
            "flow-not-admitted",
            "flow-forbidden",
            "value-out-of-range",
            "change-too-fast",
            "unexpected-state",
            "unknown-name",
            "wrong-form",
            "too-many-reports",
            "too-many-bytes",
            "silent",
            "outside-hours",
            "request-denied",
            "sign-of-theft",
        ][self as usize - 1]
    }
}

/// How many findings are told in words; all of them count.
const MAX_TOLD: usize = 64;
/// Bytes of a finding's words, of the 256 that are admitted.
const MAX_LINE: usize = 160;

/// What was found in one observation.
pub struct Findings {
    w: Option<Writer>, // most observations need none
    told: usize,
    count: u64,
    /// What the findings add to the score, and to that of theft.
    pub weight: u64,
    pub theft: u64,
    heaviest: u64,
    reason: Option<Finding>,
}

impl Findings {
    pub fn new() -> Findings {
        Findings { w: None, told: 0, count: 0, weight: 0, theft: 0, heaviest: 0, reason: None }
    }

    /// Adds a finding of a weight.
    #[inline(never)]
    pub fn add(&mut self, kind: Finding, weight: u64, line: &Line) {
        self.count += 1;
        match kind {
            Finding::SignOfTheft => self.theft += weight,
            _ => self.weight += weight,
        }
        if self.reason.is_none() || weight > self.heaviest {
            self.heaviest = weight;
            self.reason = Some(kind);
        }
        if self.told < MAX_TOLD {
            self.told += 1;
            let w = self.w.get_or_insert_with(|| Writer::new(MAX_TOLD * (MAX_LINE + 2)));
            w.text_bytes(line.bytes());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The kind of the heaviest finding.
    pub fn reason(&self) -> Option<Finding> {
        self.reason
    }

    /// The encoded array of texts; empty where there is none.
    pub fn encoded(self) -> &'static [u8] {
        let untold = self.count - self.told as u64;
        let items = match self.w.map(Writer::finish) {
            Some(Ok(items)) => items,
            _ => return &[],
        };
        let mut w = Writer::new(items.len() + 64);
        w.array(self.told + (untold > 0) as usize).raw(items);
        if untold > 0 {
            let mut line = Line::new();
            line.text("and ").number(untold).text(" more");
            w.text_bytes(line.bytes());
        }
        w.finish().unwrap_or(&[])
    }
}

/// A line of words in memory of its own. What others chose is written in
/// printable ASCII, so that it does no harm where it is read.
pub struct Line {
    buf: [u8; MAX_LINE],
    len: usize,
}

impl Line {
    pub fn new() -> Line {
        Line { buf: [0; MAX_LINE], len: 0 }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    fn byte(&mut self, c: u8) {
        if let Some(room) = self.buf.get_mut(self.len) {
            *room = c;
            self.len += 1;
        }
    }

    /// Appends the contract's own ASCII.
    #[inline(never)]
    pub fn text(&mut self, s: &str) -> &mut Line {
        s.bytes().for_each(|c| self.byte(c));
        self
    }

    /// Appends what others chose, at most 64 bytes of it.
    #[inline(never)]
    pub fn quoted(&mut self, s: &[u8]) -> &mut Line {
        for &c in s.iter().take(64) {
            self.byte(if c.is_ascii_graphic() || c == b' ' { c } else { b'?' });
        }
        if s.len() > 64 {
            self.text("...");
        }
        self
    }

    #[inline(never)]
    pub fn number(&mut self, mut v: u64) -> &mut Line {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (v % 10) as u8;
            v /= 10;
            if v == 0 {
                break;
            }
        }
        digits[first..].iter().for_each(|&c| self.byte(c));
        self
    }

    /// Appends a number as JSON has it.
    pub fn decimal(&mut self, d: Decimal) -> &mut Line {
        let magnitude = d.mantissa.unsigned_abs();
        let places = (-d.exponent).clamp(0, MAX_DECIMAL_PLACES) as u32;
        let unit = 10u64.pow(places);
        self.text(if d.mantissa < 0 { "-" } else { "" }).number(magnitude / unit);
        if places > 0 {
            self.text(".");
            (0..places).rev().for_each(|i| self.byte(b'0' + (magnitude / 10u64.pow(i) % 10) as u8));
        }
        self
    }

    pub fn hex(&mut self, v: u16) -> &mut Line {
        let mut leading = true;
        for shift in [12, 8, 4, 0] {
            let digit = (v >> shift & 15) as usize;
            leading &= digit == 0 && shift > 0;
            if !leading {
                self.byte(b"0123456789abcdef"[digit]);
            }
        }
        self
    }

    /// Appends an address: 10.0.0.1 or fe80:0:0:0:0:0:0:1.
    #[inline(never)]
    pub fn address(&mut self, address: &[u8]) -> &mut Line {
        if address.len() == 4 {
            for (i, &c) in address.iter().enumerate() {
                self.text(if i > 0 { "." } else { "" }).number(c as u64);
            }
            return self;
        }
        for (i, pair) in address.chunks_exact(2).enumerate() {
            self.text(if i > 0 { ":" } else { "" }).hex(u16::from_be_bytes([pair[0], pair[1]]));
        }
        self
    }
}
