//! Merkle trees over readings, hashed as RFC 9162, section 2.1, has it: a leaf
//! is SHA-256(0 | salt | reading), an inner node SHA-256(1 | left | right).

use postern::{Abort, Id, List};

/// Readings of one batch: 2 to the 20th.
pub const MAX_COUNT: u32 = 1 << 20;
/// Hashes of the longest audit path of such a batch.
pub const MAX_PATH: usize = 20;

/// Whether a path leads from a leaf's hash at a place to the root of a batch
/// (RFC 9162, section 2.1.3.2).
pub fn leads(leaf: Id, index: u32, count: u32, path: &List<'static, Id>, root: Id) -> Result<bool, Abort> {
    let (mut at, mut last) = (index, count.wrapping_sub(1));
    let mut hash = *leaf.0;
    for sibling in path.iter() {
        let sibling = *sibling?.0;
        if last == 0 {
            return Ok(false);
        }
        if at & 1 == 1 || at == last {
            hash = inner(&sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = inner(&hash, &sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    Ok(last == 0 && hash == *root.0)
}

fn inner(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut node = [1; 65];
    node[1..33].copy_from_slice(left);
    node[33..].copy_from_slice(right);
    postern::sha256(&node)
}
