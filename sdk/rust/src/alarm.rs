//! One timer for many things.

use crate::{schedule_message, Abort, Encode, Env, Map};

/// Timers wait for multiples of this many ms: what is due in between is done at the
/// next.
const FINE: i64 = 250;
/// The grids of farther times are so many times coarser, one after another.
const COARSER: i64 = 4;

/// Timers for what lies in an index in the order of time. However much that is, a
/// contract may have 1,024 timers only, and none can be taken back: whoever may set
/// times could use them all up. So a timer waits for the earliest alone, and one that
/// is far away is approached in steps, on grids that are the coarser the farther it
/// is: at most some 200 timers wait, whatever is set, and each thing is done within a
/// quarter of a second of its time. `timer` does what is due, which may be nothing,
/// in bounded steps, and arms again for what is left.
///
/// ```
/// use postern::{done, Alarm, Context, Env, Map, Reply};
/// const DUE: Map<(i64, u64), ()> = Map::new("due/");
/// const ALARM: Alarm = Alarm::new("alarm/");
/// const STEP: usize = 16;
///
/// fn remind(env: &Env, at: i64, number: u64) -> Reply {
///     DUE.set(&(at, number), &());
///     ALARM.arm(env, at, &())?;
///     done()
/// }
///
/// fn timer(c: &Context) -> Reply {
///     ALARM.rang(&c.env)?;
///     for (i, entry) in DUE.iter().enumerate() {
///         let ((at, number), ()) = entry?;
///         if at > c.env.time || i == STEP {
///             ALARM.arm(&c.env, at, &())?;
///             break;
///         }
///         DUE.delete(&(at, number));
///     }
///     done()
/// }
/// ```
pub struct Alarm {
    /// The times for which a timer waits.
    armed: Map<i64, ()>,
}

impl Alarm {
    /// The alarm that keeps what it remembers behind a prefix of the state.
    pub const fn new(prefix: &'static str) -> Alarm {
        Alarm { armed: Map::new(prefix) }
    }

    /// Has `timer` run with a message when something is due at a time in ms, with the
    /// next block where that is over, or before, to arm again. It scans, and a call has eight scans: arm once.
    #[inline(never)]
    pub fn arm(&self, env: &Env, due: i64, message: &dyn Encode) -> Result<(), Abort> {
        let at = step(env.time, due);
        for entry in self.armed.iter() {
            let (other, ()) = entry?;
            if other >= env.time {
                if other <= at {
                    return Ok(());
                }
                break;
            }
            self.armed.delete(&other); // it was lost: its call failed
        }
        self.armed.set(&at, &());
        schedule_message(at, message);
        Ok(())
    }

    /// Forgets the timers that ran: `timer` calls it first.
    pub fn rang(&self, env: &Env) -> Result<(), Abort> {
        for entry in self.armed.iter() {
            let (at, ()) = entry?;
            if at > env.time {
                break;
            }
            self.armed.delete(&at);
        }
        Ok(())
    }
}

/// When to wake next for what is due: then, or at least half way there.
fn step(now: i64, due: i64) -> i64 {
    let left = due.saturating_sub(now);
    if left <= 2 * FINE {
        let at = due.max(now.saturating_add(1));
        return at.saturating_add(FINE - 1) / FINE * FINE;
    }
    let mut grid = FINE;
    while grid <= left / 2 / COARSER {
        grid *= COARSER;
    }
    due / grid * grid
}
