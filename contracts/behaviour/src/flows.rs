//! Judging flows: each must be admitted by an entry of the profile.

use crate::finding::{Finding, Findings, Line};
use crate::keys::Key;
use crate::page::{self, Bucket, Entry, Subject, MAX_PAGES};
use crate::profile::{Profile, Settings};
use crate::record::Record;
use crate::site::Site;
use postern::{state_get, Abort, Flow, Observation};

/// Longest name that is compared: DNS has none longer.
const MAX_NAME: usize = 255;

/// Judges the flows of an observation.
#[inline(never)]
pub fn judge(o: &Observation, prefix: Key, profile: &Profile, record: &mut Record, out: &mut Findings) -> Result<(), Abort> {
    let site = Site::of(profile.classes);
    let mut pages = Pages::new(prefix);
    let mut bytes = 0u64;
    for flow in o.items::<Flow>() {
        let flow = flow?;
        bytes = bytes.saturating_add(flow.bytes);
        if flow.remote.is_empty() && !profile.settings.judges_frames(flow.to_device) {
            continue;
        }
        let classes = if profile.has(Bucket::Class, flow.to_device) { site.classes(flow.remote) } else { 0 };
        let subject = Subject { name: lower(flow.name), classes, site: &site, flow };
        match decide(&subject, profile, &mut pages) {
            Some(entry) if entry.forbids() => tell(Finding::FlowForbidden, &subject, Some(entry.sequence), &profile.settings, out),
            Some(_) => {}
            None => tell(Finding::FlowNotAdmitted, &subject, None, &profile.settings, out),
        }
    }
    let weight = profile.settings.weight(Finding::TooManyBytes as usize);
    if record.transfer(bytes, profile.settings.bytes) && weight > 0 {
        let mut line = Line::new();
        line.text("more than ").number(profile.settings.bytes).text(" bytes an hour");
        out.add(Finding::TooManyBytes, weight, &line);
    }
    Ok(())
}

/// The entry that decides about a flow.
fn decide(s: &Subject, profile: &Profile, pages: &mut Pages) -> Option<Entry<'static>> {
    let mut best: Option<Entry> = None;
    let mut look = |kind: Bucket, value: &[&[u8]]| {
        let found = pages.find(kind.number(s.flow.to_device, value, profile.mask), s, best.map(|e| e.sequence));
        best = found.or(best);
        best.is_some() && !profile.forbids()
    };
    for kind in Bucket::ALL {
        if profile.has(kind, s.flow.to_device) && each_value(kind, s, &mut look) {
            break;
        }
    }
    best
}

/// Looks under each value that a flow has of a kind, until that is enough.
fn each_value(kind: Bucket, s: &Subject, look: &mut impl FnMut(Bucket, &[&[u8]]) -> bool) -> bool {
    let f = &s.flow;
    let protocol = f.protocol.map(|p| [p]);
    let mut port = |port: Option<u16>| match (&protocol, port) {
        (Some(protocol), Some(port)) => look(kind, &[protocol, &port.to_be_bytes()]),
        _ => false,
    };
    match kind {
        Bucket::RemotePort => port(f.remote_port),
        Bucket::LocalPort => port(f.local_port),
        Bucket::Address => !f.remote.is_empty() && look(kind, &[f.remote]),
        Bucket::Name => !s.name.is_empty() && look(kind, &[s.name]),
        Bucket::Class => (0..32u8).any(|class| s.classes >> class & 1 == 1 && look(kind, &[&[class]])),
        Bucket::Ethertype => look(kind, &[&f.ethertype.to_be_bytes()]),
        Bucket::Any => look(kind, &[]),
    }
}

/// How many pages are kept of those that were read.
const KEPT: usize = 64;

/// The pages of a profile's version. The first ones of buckets are kept, so
/// that flows of one kind read them once.
struct Pages {
    prefix: Key,
    kept: [Option<(u16, &'static [u8])>; KEPT],
}

impl Pages {
    fn new(prefix: Key) -> Pages {
        Pages { prefix, kept: [None; KEPT] }
    }

    /// The entry of a bucket that holds for a flow and stands first, if it does
    /// so before a sequence.
    fn find(&mut self, bucket: u16, s: &Subject, before: Option<u16>) -> Option<Entry<'static>> {
        let mut best: Option<Entry> = None;
        let mut page = self.first(bucket);
        for number in 1..=MAX_PAGES {
            for entry in page::entries(page) {
                let limit = best.map(|e| e.sequence).or(before);
                if limit.map_or(true, |limit| entry.sequence < limit) && entry.holds(s) {
                    best = Some(entry);
                }
            }
            if page.first() != Some(&1) {
                break;
            }
            page = state_get(self.prefix.page(bucket, number).bytes()).unwrap_or(&[]);
        }
        best
    }

    fn first(&mut self, bucket: u16) -> &'static [u8] {
        let slot = &mut self.kept[bucket as usize % KEPT];
        match slot {
            Some((kept, page)) if *kept == bucket => page,
            _ => {
                let page = state_get(self.prefix.page(bucket, 0).bytes()).unwrap_or(&[]);
                *slot = Some((bucket, page));
                page
            }
        }
    }
}

/// A name as entries have it: in lower case, without the root's dot.
fn lower(name: &str) -> &'static [u8] {
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    if name.is_empty() || name.len() > MAX_NAME {
        return &[];
    }
    let buf = postern::buffer(name.len());
    buf.iter_mut().zip(name).for_each(|(dst, c)| *dst = c.to_ascii_lowercase());
    buf
}

#[inline(never)]
fn tell(kind: Finding, s: &Subject, sequence: Option<u16>, settings: &Settings, out: &mut Findings) {
    let weight = settings.weight(kind as usize);
    if weight == 0 {
        return;
    }
    let f = &s.flow;
    let mut line = Line::new();
    line.text(if f.to_device { "flow to the device from " } else { "flow from the device to " });
    match f.remote {
        [] => line.text("a frame of type 0x").hex(f.ethertype),
        address => line.address(address),
    };
    if let Some(port) = f.remote_port {
        line.text(" port ").number(port as u64);
    }
    if !s.name.is_empty() {
        line.text(" (").quoted(s.name).text(")");
    }
    match f.protocol {
        Some(1) => line.text(" icmp"),
        Some(6) => line.text(" tcp"),
        Some(17) => line.text(" udp"),
        Some(58) => line.text(" icmpv6"),
        Some(other) => line.text(" protocol ").number(other as u64),
        None => &mut line,
    };
    match sequence {
        Some(sequence) => line.text(": forbidden by entry ").number(sequence as u64),
        None => line.text(": no entry admits it"),
    };
    out.add(kind, weight, &line);
}
