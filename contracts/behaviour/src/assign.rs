//! Which profile a device has, and who may load profiles.

use crate::codes::*;
use crate::keys::{self, Key};
use postern::cbor::{Kind, Reader};
use postern::{state_delete, state_get, state_set, Abort, Device, Hash, Reply};

/// How many accounts may load profiles besides the owner.
const MAX_LOADERS: usize = 32;

/// bind device: [6, device id, profile or null].
pub fn device(r: &mut Reader) -> Reply {
    let id = r.bytes_of(32)?;
    assign(Key::device(id), r)
}

/// bind model: [7, manufacturer, model, profile or null]. An empty model stands
/// for all of the manufacturer's, an empty manufacturer for all devices.
pub fn model(r: &mut Reader) -> Reply {
    let (manufacturer, model) = (keys::text(r)?, keys::text(r)?);
    if manufacturer.is_empty() && !model.is_empty() {
        return Err(BAD_NAME);
    }
    assign(Key::model(manufacturer, model).ok_or(BAD_NAME)?, r)
}

// The profile need not be there yet: devices are bound while it is written.
#[inline(never)]
fn assign(key: Key, r: &mut Reader) -> Reply {
    if r.kind()? == Kind::Null {
        r.null()?;
        r.done()?;
        state_delete(key.bytes());
        return Ok(&[]);
    }
    let profile = keys::name(r)?;
    r.done()?;
    state_set(key.bytes(), profile.as_bytes());
    Ok(&[])
}

/// The name of a device's profile: its own, or its model's, its maker's, or
/// that of all devices. The device's record is read where it is not known.
#[inline(never)]
pub fn profile_of(id: &Hash, record: Option<Device>) -> Option<&'static [u8]> {
    let named = |manufacturer: &str, model: &str| Key::model(manufacturer, model).and_then(|key| state_get(key.bytes()));
    let own = state_get(Key::device(id).bytes());
    own.or_else(|| {
        let record = record.or_else(|| Device::get(id))?;
        let manufacturer = record.manufacturer();
        let model = Some(record.model()).filter(|m| !m.is_empty() && !manufacturer.is_empty());
        let made = model.and_then(|model| named(manufacturer, model));
        made.or_else(|| named(manufacturer, "").filter(|_| !manufacturer.is_empty()))
    })
    .or_else(|| named("", ""))
}

/// Replaces the loaders: an array of account ids.
#[inline(never)]
pub fn set_loaders(r: &mut Reader) -> Reply {
    let raw = r.raw()?;
    r.done()?;
    let mut r = Reader::new(raw);
    let count = r.array()?;
    if count > MAX_LOADERS {
        return Err(BAD_LOADERS);
    }
    for i in 0..count {
        r.bytes_of(32).map_err(|_| BAD_LOADERS.of_item(i))?;
    }
    state_set(keys::LOADERS, raw);
    Ok(&[])
}

/// Whether an account is a loader.
pub fn is_loader(account: &[u8]) -> bool {
    let mut r = Reader::new(state_get(keys::LOADERS).unwrap_or(&[0x80]));
    let count = r.array().unwrap_or(0);
    (0..count).any(|_| r.bytes() == Ok(account))
}

/// The loaders as they are encoded.
pub fn loaders() -> Result<&'static [u8], Abort> {
    Ok(state_get(keys::LOADERS).unwrap_or(&[0x80]))
}
