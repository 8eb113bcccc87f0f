//! The envelope of a SUIT manifest (draft-ietf-suit-manifest, section 8.2):
//!
//!     107({2: bstr[digest, signature …], 3: bstr manifest,
//!          ? 16, 20, 23: bstr severed member})
//!
//! Every byte is bound: the wrapper's digest covers the manifest with its
//! head, signatures cover the digest, and what is left has one encoding.

use crate::codes::*;
use crate::manifest::{self, Manifest};
use postern::cbor::{Kind, Reader};
use postern::{ensure, Abort, Bytes, Decode, Id, List};

/// Bytes of the longest envelope: it is kept as one value and asked for as one
/// result, each of which has 16 KiB with its head.
pub const MAX_ENVELOPE: usize = postern::MAX_RESULT - 64;
/// Signatures of an envelope: each costs a verification.
pub const MAX_SIGNATURES: usize = 4;

const TAG_ENVELOPE: u64 = 107;
const TAG_SIGN1: u64 = 18;
const SHA256: i64 = -16;
const ES256: i64 = -7;
const EDDSA: i64 = -8;

/// Members that a manifest may hold as digests only: payload-fetch, install
/// and text.
pub const SEVERABLE: [u64; 3] = [16, 20, 23];

/// The members of an envelope.
struct Envelope {
    wrapper: &'static [u8],
    /// The manifest's encoding with its head.
    manifest: &'static [u8],
    severed: Severed,
}

/// Severed members as they stand in the envelope, heads included, in the order
/// of [`SEVERABLE`].
pub type Severed = [Option<&'static [u8]>; 3];

/// Checks an envelope against the keys that its signatures are said to be of,
/// one for each, and gives back what its manifest says. Whether the keys are
/// the line's, the caller asks.
pub fn check(raw: &'static [u8], keys: &List<'static, Bytes<'static>>) -> Result<Manifest, Abort> {
    ensure!(raw.len() <= MAX_ENVELOPE, TOO_LARGE);
    let envelope = open(raw)?;
    let mut r = Reader::new(envelope.wrapper);
    let blocks = r.array()?;
    ensure!(blocks > 1 && blocks <= 1 + MAX_SIGNATURES, BAD_AUTHENTICATION);
    let payload = r.bytes()?;
    let digest = digest_in(payload)?;
    ensure!(*digest.0 == postern::sha256(envelope.manifest), MANIFEST_DIGEST);
    ensure!(keys.len() == blocks - 1, TOO_FEW_KEYS);
    for key in keys.iter() {
        verify(key?.0, r.bytes()?, payload)?;
    }
    r.done()?;
    manifest::read(envelope.manifest, digest, &envelope.severed)
}

fn open(raw: &'static [u8]) -> Result<Envelope, Abort> {
    let mut r = Reader::new(raw);
    ensure!(r.kind()? == Kind::Tag && r.tag()? == TAG_ENVELOPE, BAD_ENVELOPE);
    let (mut wrapper, mut manifest, mut severed) = (None, None, [None; 3]);
    // Integrated payloads have text keys, which no field is read from.
    let mut fields = r.fields()?;
    while let Some(key) = fields.next(&mut r).map_err(|_| UNKNOWN_MEMBER)? {
        match key {
            2 => wrapper = Some(r.bytes()?),
            3 => manifest = Some(string(&mut r)?),
            _ => severed[severable(key)?] = Some(string(&mut r)?),
        }
    }
    r.done()?;
    match (wrapper, manifest) {
        (Some(wrapper), Some(manifest)) => Ok(Envelope { wrapper, manifest, severed }),
        _ => Err(BAD_ENVELOPE),
    }
}

/// The place of a severable member.
pub fn severable(key: u64) -> Result<usize, Abort> {
    SEVERABLE.iter().position(|&k| k == key).ok_or(UNKNOWN_MEMBER)
}

// A byte string with its head.
fn string(r: &mut Reader<'static>) -> Result<&'static [u8], Abort> {
    ensure!(r.kind()? == Kind::Bytes, BAD_ENVELOPE);
    Ok(r.raw()?)
}

/// Reads a SUIT_Digest that fills a byte string.
pub fn digest_in(raw: &'static [u8]) -> Result<Id, Abort> {
    let mut r = Reader::new(raw);
    let digest = digest(&mut r)?;
    r.done()?;
    Ok(digest)
}

/// Reads a SUIT_Digest: [algorithm, bytes].
pub fn digest(r: &mut Reader<'static>) -> Result<Id, Abort> {
    r.array_of(2)?;
    ensure!(r.int()? == SHA256, DIGEST_ALGORITHM);
    Id::decode(r).map_err(|_| DIGEST_ALGORITHM)
}

// Checks an authentication block: 18([protected, {}, null, signature]), the
// payload detached. An unprotected header would be bytes that nothing binds.
fn verify(key: &[u8], block: &'static [u8], payload: &[u8]) -> Result<(), Abort> {
    let mut r = Reader::new(block);
    ensure!(r.kind()? == Kind::Tag && r.tag()? == TAG_SIGN1, BAD_AUTHENTICATION);
    r.array_of(4).map_err(|_| BAD_AUTHENTICATION)?;
    let protected = r.bytes()?;
    ensure!(r.map()? == 0 && r.null().is_ok(), BAD_AUTHENTICATION);
    let signature = r.bytes()?;
    r.done()?;
    ensure!(algorithm(protected)? == algorithm_of(key)?, ALGORITHM);
    ensure!(postern::verify(key, to_be_signed(protected, payload), signature), BAD_SIGNATURE);
    Ok(())
}

// The protected header: {1: algorithm, ? 4: key id}.
fn algorithm(protected: &'static [u8]) -> Result<i64, Abort> {
    let mut r = Reader::new(protected);
    let mut fields = r.fields()?;
    let mut algorithm = None;
    while let Some(key) = fields.next(&mut r)? {
        match key {
            1 => algorithm = Some(r.int()?),
            4 => drop(r.bytes()?),
            _ => return Err(BAD_AUTHENTICATION),
        }
    }
    r.done()?;
    algorithm.ok_or(ALGORITHM)
}

/// The COSE algorithm of a key, by its length.
pub fn algorithm_of(key: &[u8]) -> Result<i64, Abort> {
    match key.len() {
        32 => Ok(EDDSA),
        33 => Ok(ES256),
        _ => Err(BAD_KEY),
    }
}

// The Sig_structure of RFC 9052, section 4.4, without external data.
fn to_be_signed(protected: &[u8], payload: &[u8]) -> &'static [u8] {
    postern::encode(&("Signature1", Bytes(protected), Bytes(&[]), Bytes(payload)))
}
