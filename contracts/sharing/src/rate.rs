//! How often a grant is read: at most so many times in any span of time as
//! long as the period, wherever it begins.
//!
//! The period is cut into 8 slots, and reads are counted in this slot and the 8
//! before it. Those nine cover every span as long as the period that ends now, so
//! there is no edge at which twice as many reads pass; used-up reads come back
//! at the latest an eighth of the period after they might.

use crate::codes::*;
use crate::state::Key;

const SLOTS: i64 = 8;
const KEPT: usize = SLOTS as usize + 1;
/// The bounds of a period, in ms.
const SHORTEST: i64 = 1000;
const LONGEST: i64 = 366 * 24 * 60 * 60 * 1000;
/// A slot's count takes two bytes.
const MOST: u32 = u16::MAX as u32;

/// So many reads in so many ms.
pub type Rate = (u32, i64);

row! {
    /// The reads of a grant.
    pub struct Reads (3) {
        /// All reads ever.
        pub total: u64,
        /// The number of the newest slot.
        pub slot: i64,
        /// Counts, big-endian, the newest slot's first.
        pub counts: [u8; 2 * KEPT],
    }
}

pub fn check(rate: &Rate) {
    must((1..=MOST).contains(&rate.0) && (SHORTEST..=LONGEST).contains(&rate.1), &BAD_RATE);
}

fn key(grant: u64) -> Key {
    Key::numbered(b"reads/", grant)
}

/// The reads of a grant so far. One that was never read has no entry.
#[inline(never)]
pub fn reads(grant: u64) -> Reads {
    key(grant).get().unwrap_or(Reads { total: 0, slot: 0, counts: [0; 2 * KEPT] })
}

// The number of the slot of a time; its length is rounded up, so that the slots
// cover the period.
fn slot(rate: &Rate, now: i64) -> i64 {
    (now as u64 / ((rate.1 + SLOTS - 1) / SLOTS).max(1) as u64) as i64
}

impl Reads {
    fn count(&self, slot: usize) -> u32 {
        (self.counts[2 * slot] as u32) << 8 | self.counts[2 * slot + 1] as u32
    }

    // Moves on to the slot of a time, and forgets what is too long ago.
    #[inline(never)]
    fn move_to(&mut self, slot: i64) {
        let by = (slot - self.slot).clamp(0, KEPT as i64) as usize;
        self.counts.copy_within(..2 * (KEPT - by), 2 * by);
        self.counts[..2 * by].fill(0);
        self.slot += by as i64;
        if by == KEPT {
            self.slot = slot;
        }
    }

    /// How many reads are left now.
    pub fn left(&mut self, rate: &Rate, now: i64) -> u32 {
        self.move_to(slot(rate, now));
        let recent: u32 = (0..KEPT).map(|slot| self.count(slot)).sum();
        rate.0.saturating_sub(recent)
    }
}

/// Counts a read and returns the reads; refused when the rate's are used up.
pub fn take(grant: u64, rate: &Option<Rate>, now: i64) -> Reads {
    let mut reads = reads(grant);
    if let Some(rate) = rate {
        must(reads.left(rate, now) > 0, &RATE_EXCEEDED);
        let count = reads.count(0) + 1;
        reads.counts[0] = (count >> 8) as u8;
        reads.counts[1] = count as u8;
    }
    reads.total += 1;
    key(grant).set(&reads);
    reads
}
