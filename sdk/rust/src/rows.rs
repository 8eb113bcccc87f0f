//! Pages of answers.

use crate::cbor::Writer;
use crate::{Encode, Reply, MAX_RESULT};

/// Bytes of the longest row beyond which none is begun.
const MAX_ROW: usize = 4 << 10;
/// Bytes of the longest head of an array.
const HEAD: usize = 9;

/// The rows of one page of an answer: at most as many as were asked for, and as
/// many as fit into a result. Who wants more asks again behind the last.
///
/// ```
/// use postern::{Map, Reply, Rows};
/// const HOLDERS: Map<u32, u64> = Map::new("holder/");
///
/// fn list(after: u32, limit: u8) -> Reply {
///     let mut rows = Rows::new(limit.min(64));
///     for entry in HOLDERS.iter_from(&(after + 1)) {
///         if !rows.add(&entry?) {
///             break;
///         }
///     }
///     rows.reply()
/// }
/// # postern::fake::reset();
/// # HOLDERS.set(&7, &1);
/// # HOLDERS.set(&8, &2);
/// # assert_eq!(list(0, 9).unwrap(), [0x82, 0x82, 7, 1, 0x82, 8, 2]);
/// # assert_eq!(list(0, 1).unwrap(), [0x81, 0x82, 7, 1]);
/// # assert_eq!(list(8, 9).unwrap(), [0x80]);
/// ```
pub struct Rows {
    w: Writer,
    count: usize,
    left: u8,
    end: usize,
}

impl Rows {
    /// At most `limit` rows.
    pub fn new(limit: u8) -> Rows {
        Rows { w: Writer::new(MAX_RESULT + MAX_ROW), count: 0, left: limit, end: 0 }
    }

    /// Appends a row of at most 4 KiB, and tells whether more may follow. One that
    /// does not fit is left out, and none follows it.
    #[inline(never)]
    pub fn add(&mut self, row: &dyn Encode) -> bool {
        if self.left == 0 {
            return false;
        }
        row.encode(&mut self.w);
        if self.w.len() > MAX_RESULT - HEAD {
            self.left = 0;
            return false;
        }
        self.end = self.w.len();
        self.count += 1;
        self.left -= 1;
        self.left > 0
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The array of all rows.
    pub fn reply(self) -> Reply {
        let mut w = Writer::new(self.end + HEAD);
        w.array(self.count).raw(&self.w.finish()?[..self.end]);
        Ok(w.finish()?)
    }
}
