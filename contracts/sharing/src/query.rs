//! What the contract tells of itself.

use crate::codes::sound;
use crate::consent::{self, Target};
use crate::credit::{self, BURNED, ESCROW, MINTED};
use crate::dataset::{self, ERASING};
use crate::id::{Env, Id};
use crate::names::Name;
use crate::settings::{self, ARBITRATE, DISPUTE, ERASE, ISSUER, ROTATE};
use crate::state::{number_of, out, Items, Key, Out};
use crate::{due, erase, grant, rate, trade, Question};
use postern::cbor::Writer;
use postern::{encode, Bytes, Context, Encode, Raw, Reply, Scan, MAX_RESULT};

/// How many items one answer lists.
const LISTED: usize = 64;

pub fn query(c: &Context) -> Reply {
    let answer = match c.parse_message()? {
        Question::Dataset { dataset } => stored(dataset::key(dataset.as_str())),
        Question::Datasets { after, limit } => datasets(after, limit),
        Question::Records { dataset, after, limit } => records(dataset, after, limit),
        Question::Consents { dataset, after, limit } => consents(dataset, after, limit),
        Question::Class { account } => out(&consent::class_of(&account)),
        Question::Grant { grant } => view(&c.env, grant),
        Question::Grants { dataset, epoch, after, limit } => grants(dataset, epoch, after, limit),
        Question::Wrapped { grant } => wrapped(grant),
        Question::Destruction { dataset } => stored(erase::key(dataset.as_str())),
        Question::Deadlines { from, limit } => deadlines(from, limit),
        Question::Settings => show_settings(&c.env),
        Question::Purposes => out(&settings::purposes()),
        Question::Balance { account } => out(&credit::key(&account).count()),
        Question::Supply => supply(),
        Question::Offer { offer } => stored(trade::offer_key(offer)),
        Question::Offers { after, limit } => offers(after, limit),
        Question::Purchase { purchase } => stored(trade::purchase_key(purchase)),
        Question::Sales { account } => sales(&account),
    };
    Ok(answer)
}

// An entry as it is stored, or null.
#[inline(never)]
fn stored(key: Key) -> Out {
    out(&key.get::<Raw>())
}

// A page of a list: an array of as many items as are wanted and fit.
struct Page {
    items: Writer,
    count: usize,
    left: usize,
}

impl Page {
    #[inline(never)]
    fn new(limit: Option<u32>, most: usize) -> Page {
        let left = limit.map_or(most, |limit| (limit as usize).clamp(1, most));
        Page { items: Writer::new(MAX_RESULT - 3), count: 0, left }
    }

    // Adds an item and tells whether there is room for more.
    #[inline(never)]
    fn add(&mut self, item: &dyn Encode) -> bool {
        self.items.raw(encode(item));
        self.count += 1;
        self.left -= 1;
        self.left > 0
    }

    #[inline(never)]
    fn finish(self) -> Out {
        let items = sound(self.items.finish());
        let mut w = Writer::new(items.len() + 3);
        w.array(self.count).raw(items);
        sound(w.finish())
    }
}

// A page of what the keys behind a place hold, each turned into an item.
#[inline(never)]
fn page(prefix: Key, start: Key, mut page: Page, item: &dyn Fn(&mut Page, Key) -> bool) -> Out {
    let mut scan = Scan::new(prefix.0, start.0);
    while let Some((key, _)) = scan.next() {
        if key != start.0 && !item(&mut page, Key::of(&[key])) {
            break;
        }
    }
    page.finish()
}

// What stands behind a prefix in a key, as text.
fn rest(key: Key, prefix: &[u8]) -> &'static str {
    core::str::from_utf8(&key.0[prefix.len()..]).unwrap_or_default()
}

fn datasets(after: Option<Name>, limit: Option<u32>) -> Out {
    let prefix = Key(b"set/");
    let start = dataset::key(after.map_or("", |name| name.as_str()));
    page(prefix, start, Page::new(limit, LISTED), &|page, key| page.add(&rest(key, prefix.0)))
}

// [number, record].
fn records(name: Name, after: Option<u64>, limit: Option<u32>) -> Out {
    let prefix = dataset::part(b"record/", name.as_str());
    let start = Key::numbered(prefix.0, after.unwrap_or(0));
    page(prefix, start, Page::new(limit, LISTED), &|page, key| page.add(&(number_of(key.0), key.get::<Raw>())))
}

// [target, consent].
fn consents(name: Name, after: Option<Target>, limit: Option<u32>) -> Out {
    let prefix = dataset::part(b"consent/", name.as_str());
    let start = Key::of(&[prefix.0, after.unwrap_or_default().0]);
    page(prefix, start, Page::new(limit, LISTED), &|page, key| {
        page.add(&(Bytes(&key.0[prefix.0.len()..]), key.get::<Raw>()))
    })
}

// [grant, why a read is refused now or 0, reads so far, reads left or null].
fn view(env: &Env, number: u64) -> Out {
    let grant = grant::load(number);
    let closed = grant.closed(&dataset::load(grant.dataset), env.time);
    let mut reads = rate::reads(number);
    let left = grant.rate.map(|rate| reads.left(&rate, env.time));
    out(&Items(&[&grant, &closed.map_or(0, |why| why.code), &reads.total, &left]))
}

fn show_settings(env: &Env) -> Out {
    let limit = |which| settings::limit(which);
    let (issuer, arbiter) = (ISSUER.get::<Id>(), settings::arbiter(env));
    out(&Items(&[&limit(ROTATE), &limit(ERASE), &limit(DISPUTE), &limit(ARBITRATE), &arbiter, &issuer]))
}

// [minted, burned, held by purchases].
fn supply() -> Out {
    out(&Items(&[&MINTED.count(), &BURNED.count(), &ESCROW.count()]))
}

fn sales(account: &Id) -> Out {
    let count = |so: usize| trade::sales(account, trade::SALES[so]).count();
    out(&Items(&[&count(0), &count(1), &count(2), &count(3)]))
}

// [number, epoch] of grants that were not ended, oldest epoch first: what has
// not got the newest key comes first.
fn grants(name: Name, epoch: Option<u32>, after: Option<u64>, limit: Option<u32>) -> Out {
    let prefix = dataset::part(b"epoch/", name.as_str());
    let start = grant::epoch_key(name.as_str(), epoch.unwrap_or(0), after.unwrap_or(0));
    page(prefix, start, Page::new(limit, LISTED), &|page, key| {
        page.add(&(number_of(key.0), number_of(&key.0[..key.0.len() - 8]) & u32::MAX as u64))
    })
}

// [epoch, wrapped key]; null when it was deleted.
fn wrapped(number: u64) -> Out {
    let g = grant::load(number);
    let gone = dataset::load(g.dataset).state >= ERASING;
    let key = grant::wrapped_key(g.dataset, number).get::<Bytes>().filter(|_| !gone);
    out(&key.map(|key| (g.epoch, key)))
}

// [time, what, of] from a time on: what is to be done and by when.
fn deadlines(from: Option<i64>, limit: Option<u32>) -> Out {
    let start = Key::numbered(due::PREFIX, from.unwrap_or(0).max(0) as u64);
    page(Key(due::PREFIX), start, Page::new(limit, LISTED), &|page, key| {
        let (at, what, of) = due::parts(key.0);
        page.add(&(at, what, Bytes(of)))
    })
}

// [number, data set, price, seller] of open offers.
fn offers(after: Option<u64>, limit: Option<u32>) -> Out {
    let start = Key::numbered(trade::OPEN, after.unwrap_or(0));
    page(Key(trade::OPEN), start, Page::new(limit, LISTED), &|page, key| {
        let number = number_of(key.0);
        let offer = trade::offer_of(number);
        page.add(&(number, offer.dataset, offer.price, offer.seller))
    })
}
