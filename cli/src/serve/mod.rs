//! `cephwire serve`: a stand-in for a Ceph daemon.
//!
//! ```text
//!  ADDR ─► Messenger (drivers) ─► StandIn: answers ─► Log: plain | json
//!                │                   └ monitor: maps, subscriptions, MAuth, commands
//!                └ greet: everybody is let in, and gets a number
//! ```

mod greet;
mod log;
mod monitor;
mod stand_in;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use cephwire::blocking::Messenger;
use cephwire::codec::v2::mode;
use cephwire::codec::{AddrType, AddrVec, EntityAddr, EntityName, EntityType};
use cephwire::{Policies, Policy, Setup};
use clap::ValueEnum;

use self::greet::Greeter;
pub(crate) use self::log::Log;
use self::stand_in::StandIn;
use crate::config::{Name, Place};
use crate::live::show::Format;

/// Stands in for a Ceph daemon: accepts any peer, answers pings, logs messages.
///
/// Both versions of the protocol are spoken at one port, whichever the peer begins
/// with; an address with v1: or v2: speaks that one alone. Everybody is let in
/// (authentication: none). As a monitor, which is the default, it answers pings,
/// gives out a map of itself, and refuses commands, so that Ceph's own clients get
/// through their whole handshake. It stops when it is interrupted.
///
/// Each line is as Ceph would log it at debug_ms = 1.
///
/// Exit status: 1 if it cannot listen, 2 if the command line is wrong.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Where to listen, as v1:IP:PORT/NONCE; without port at one of 6800 to 7300
    #[arg(required = true, value_name = "ADDR")]
    addrs: Vec<String>,
    /// Which daemon it plays
    #[arg(short, long, value_name = "TYPE.ID", default_value = "mon.a")]
    name: String,
    /// What it does with messages that it has no answer to
    #[arg(short, long, value_enum, default_value_t = Answer::Ack)]
    answer: Answer,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Plain)]
    format: Format,
}

/// What becomes of messages that have no answer of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Answer {
    /// They are acknowledged, as the protocol does it
    Ack,
    /// They are sent back as they came
    Echo,
}

/// Serves until the process ends.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let complain = |error: &dyn std::fmt::Display, status: u8| {
        let _ = writeln!(io::stderr(), "cephwire: {error}");
        ExitCode::from(status)
    };
    let name: Name = match arguments.name.parse() {
        Ok(name) => name,
        Err(error) => return complain(&error, 2),
    };
    let addrs = match addresses(&arguments.addrs) {
        Ok(addrs) => addrs,
        Err(error) => return complain(&error, 2),
    };
    let log = Arc::new(Log::new(arguments.format));
    match serve(&name, &addrs, arguments.answer, log) {
        Ok(messenger) => {
            messenger.wait();
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error, 1),
    }
}

/// Starts to serve.
pub(crate) fn serve(name: &Name, addrs: &AddrVec, answer: Answer, log: Arc<Log>) -> io::Result<Messenger> {
    let entity = entity(name);
    // Monitors have none; else it is the one that is asked for, or a random one.
    let asked = addrs.0.iter().map(|addr| addr.nonce).find(|nonce| *nonce != 0);
    let nonce = if entity.kind == EntityType::MON { Some(0) } else { asked };
    let mut setup = Setup::new(entity).auth(Arc::new(Greeter::default()));
    setup.nonce = nonce;
    setup.policies = policies(entity.kind);
    // Without keys there is nothing to encrypt with.
    setup.protocol.modes = vec![mode::CRC].into();
    // Who asks for an address wants to hear at once that it cannot be had.
    setup.net.bind_retry_count = 1;
    let messenger = Messenger::new(setup)?;
    let stand_in = Arc::new(StandIn::new(name.clone(), answer, log));
    messenger.add_tail(Arc::clone(&stand_in) as Arc<dyn cephwire::Dispatcher>);
    let own = messenger.bind(addrs)?;
    stand_in.listens(&own);
    Ok(messenger)
}

/// The name on the wire: a monitor's rank, an OSD's number.
fn entity(name: &Name) -> EntityName {
    EntityName::new(name.kind, name.id.parse().ok().filter(|num| *num >= 0).unwrap_or(0))
}

/// Those of the daemon that it plays (messenger spec §14).
fn policies(kind: EntityType) -> Policies {
    match kind {
        EntityType::MON => {
            Policies::all(Policy::stateless_server()).with(EntityType::MON, Policy::lossless_peer_reuse())
        }
        EntityType::OSD => Policies::all(Policy::stateless_registered_server())
            .with(EntityType::OSD, Policy::lossless_peer()),
        EntityType::MDS => Policies::all(Policy::stateless_server())
            .with(EntityType::CLIENT, Policy::stateful_server())
            .with(EntityType::MDS, Policy::lossless_peer()),
        _ => Policies::all(Policy::stateless_server()),
    }
}

/// Addresses to listen at; one without prefix speaks both versions.
fn addresses(texts: &[String]) -> Result<AddrVec, String> {
    let mut addrs = Vec::new();
    for text in texts {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let vector = inner.filter(|inner| inner.parse::<std::net::IpAddr>().is_err());
        for part in vector.unwrap_or(text).split(',') {
            let place = Place::parse(part, AddrType::ANY).map_err(|error| error.to_string())?;
            let resolved = place.resolve().map_err(|error| error.to_string())?;
            let Some(addr) = resolved.into_iter().next() else { continue };
            if addr.is_blank_ip() {
                return Err(format!("{part}: peers must be able to name the address: not a blank one"));
            }
            addrs.push(EntityAddr { nonce: place.nonce, ..addr });
        }
    }
    Ok(AddrVec(addrs))
}
