//! The custody contract: items and batches, who holds them and since when, what
//! is packed in what, what should arrive and does not, and what is recalled.
//! README.md documents every message and code.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod arrive;
mod codes;
mod event;
mod hand;
mod item;
mod make;
mod message;
mod pack;
mod party;
mod query;
mod recall;
mod state;
#[cfg(test)]
mod tests;
mod text;

use item::Call;
use message::Command;
use postern::{Context, Reply};

postern::entry_points! {
    execute => execute,
    timer => timer,
    query => query,
}

/// The message is [operation, …]: see [`Command`].
pub fn execute(c: &Context) -> Reply {
    let call = Call::of(c)?;
    run(&call, c.parse_message()?)
}

fn run(call: &Call, command: Command) -> Reply {
    match command {
        Command::SetParty { account, rights, prefixes } => party::set(call, account, rights, prefixes),
        Command::Make { things, attributes, certificate } => make::make(call, things, attributes, certificate),
        Command::Split { item, parts } => make::split(call, item, parts),
        Command::Destroy { item, quantity } => make::destroy(call, item, quantity),
        Command::Transform { inputs, outputs } => make::transform(call, inputs, outputs),
        Command::Pack { container, items } => pack::pack(call, container, items),
        Command::Unpack { container, items } => pack::unpack(call, container, items),
        Command::Offer { item, to, expiry, terms } => hand::offer(call, item, to, expiry, terms),
        Command::Accept { item, offer } => hand::accept(call, item, offer),
        Command::Refuse { item, offer, reason } => hand::refuse(call, item, offer, reason),
        Command::Cancel { item } => hand::cancel(call, item),
        Command::Expect { item, receiver, place, due, missing } => arrive::expect(call, item, receiver, place, due, missing),
        Command::Arrive { item } => arrive::arrive(call, item),
        Command::Withdraw { item } => arrive::withdraw(call, item),
        Command::Recall { item, class, lot, reason, report } => {
            recall::recall(call, recall::Subject { maker: None, item, class, lot }, reason, report)
        }
        Command::Lift { recall } => recall::lift(call, recall),
        Command::Attach { item, report, breach, note } => event::attach(call, item, report, breach, note),
        Command::Document { document, header, sealed, count } => event::document(call, document, header, sealed, count),
        Command::Take { content, sealed, effect, lists, place } => event::take(call, content, sealed, effect, lists, place),
        Command::Check => arrive::look(&Call::unsigned(&call.env)),
    }
}

/// Looks after arrivals that are due.
pub fn timer(c: &Context) -> Reply {
    arrive::look(&Call::unsigned(&c.env))
}

/// Answers a question: see [`message::Question`].
pub fn query(c: &Context) -> Reply {
    query::query(c)
}
