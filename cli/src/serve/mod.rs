//! `cephwire serve`: a stand-in for a Ceph daemon.
//!
//! ```text
//!  ADDR ─► Messenger (drivers) ─► StandIn: answers ─► Log: plain | json
//!                │                   └ monitor: maps, subscriptions, MAuth, commands
//!                ├ greet: everybody is let in, and gets a number
//!                └ keys: or who is in a keyring
//! ```

mod greet;
pub(crate) mod keys;
mod log;
mod monitor;
mod stand_in;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use cephwire::auth::{Auth, Modes};
use cephwire::blocking::Messenger;
use cephwire::codec::v2::mode;
use cephwire::codec::{AddrType, AddrVec, EntityAddr, EntityName, EntityType};
use cephwire::protocol::key_log::KeyLog;
use cephwire::{Policies, Policy, Setup};
use clap::ValueEnum;

use self::greet::Greeter;
use self::keys::Keys;
pub(crate) use self::log::Log;
use self::stand_in::StandIn;
use crate::config::{Name, NameError, Place};
use crate::live::key_log::KeyLogFile;
use crate::live::show::{Format, ModeList};

/// Stands in for a Ceph daemon: accepts any peer, answers pings, logs messages.
///
/// Both versions of the protocol are spoken at one port, whichever the peer begins
/// with; an address with v1: or v2: speaks that one alone. As a monitor, which is
/// the default, it answers pings, gives out a map of itself, and refuses commands,
/// so that Ceph's own clients get through their whole handshake. It stops when it
/// is interrupted.
///
/// Everybody is let in (authentication: none), unless there is a keyring: then the
/// monitor authenticates who is in it (cephx) and gives tickets, and the daemons of
/// --also want such a ticket. A monitor of another process cannot give any.
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
    name: Name,
    /// Plays another daemon beside, at an address of its own; may be repeated
    #[arg(long, value_name = "TYPE.ID@ADDR", value_parser = also)]
    also: Vec<Also>,
    /// Lets in only who has a key in these files (with commas in between), by cephx
    #[arg(short, long, value_name = "FILES", value_delimiter = ',')]
    keyring: Vec<PathBuf>,
    /// Connection modes that are allowed: crc, secure [default: both; crc without keyring]
    #[arg(long, value_name = "MODES")]
    mode: Option<ModeList>,
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
    let door = match Door::of(arguments) {
        Ok(door) => door,
        Err(error) => return complain(&error, 2),
    };
    let addrs = match addresses(&arguments.addrs) {
        Ok(addrs) => addrs,
        Err(error) => return complain(&error, 2),
    };
    let log = Arc::new(Log::new(arguments.format));
    let all = [(&arguments.name, &addrs)].into_iter();
    let all = all.chain(arguments.also.iter().map(|Also { name, addrs }| (name, addrs)));
    let serving = all.map(|(name, addrs)| serve(name, addrs, arguments.answer, &door, Arc::clone(&log)));
    match serving.collect::<io::Result<Vec<_>>>() {
        Ok(messengers) => {
            messengers.iter().for_each(Messenger::wait);
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error, 1),
    }
}

/// Who is let in, and in which modes.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    keys: Option<Keys>,
    modes: Modes,
    key_log: Option<Arc<dyn KeyLog>>,
}

impl Default for Door {
    /// Everybody. Without keys there is nothing to encrypt with.
    fn default() -> Self {
        Self { keys: None, modes: vec![mode::CRC].into(), key_log: None }
    }
}

impl Door {
    fn of(arguments: &Arguments) -> Result<Self, String> {
        let mut this = Self { key_log: KeyLogFile::of_environment(), ..Self::default() };
        if arguments.keyring.is_empty() {
            if arguments.mode.as_ref().is_some_and(|ModeList(modes)| modes.contains(&mode::SECURE)) {
                return Err(String::from("secure mode wants keys: --keyring"));
            }
            return Ok(this);
        }
        let mut names = [&arguments.name].into_iter().chain(arguments.also.iter().map(|also| &also.name));
        if !names.any(|name| name.kind == EntityType::MON) {
            return Err(format!(
                "{} lets in who has a ticket, and only a monitor of the same process can give one: --also mon.a@ADDR",
                arguments.name
            ));
        }
        this.keys = Some(Keys::read(&arguments.keyring).map_err(|error| error.to_string())?);
        this.modes = arguments.mode.as_ref().map_or_else(Modes::default, |ModeList(modes)| Modes::all(modes));
        Ok(this)
    }

    fn auth(&self, name: &Name) -> io::Result<Arc<dyn Auth>> {
        match &self.keys {
            Some(keys) => keys.auth(name),
            None => Ok(Arc::new(Greeter::default())),
        }
    }
}

/// Starts to serve.
pub(crate) fn serve(
    name: &Name,
    addrs: &AddrVec,
    answer: Answer,
    door: &Door,
    log: Arc<Log>,
) -> io::Result<Messenger> {
    let entity = entity(name);
    // Monitors have none; else it is the one that is asked for, or a random one.
    let asked = addrs.0.iter().map(|addr| addr.nonce).find(|nonce| *nonce != 0);
    let nonce = if entity.kind == EntityType::MON { Some(0) } else { asked };
    let mut setup = Setup::new(entity).auth(door.auth(name)?);
    setup.nonce = nonce;
    setup.policies = policies(entity.kind);
    setup.protocol.modes = door.modes.clone();
    setup.protocol.key_log.clone_from(&door.key_log);
    // Who asks for an address wants to hear at once that it cannot be had.
    setup.net.bind_retry_count = 1;
    let messenger = Messenger::new(setup)?;
    let stand_in = Arc::new(StandIn::new(name.clone(), answer, door.keys.as_ref(), log)?);
    messenger.add_tail(Arc::clone(&stand_in) as Arc<dyn cephwire::Dispatcher>);
    let own = messenger.bind(addrs)?;
    stand_in.listens(&own);
    Ok(messenger)
}

/// A daemon beside the first.
#[derive(Clone, Debug)]
struct Also {
    name: Name,
    addrs: AddrVec,
}

fn also(text: &str) -> Result<Also, String> {
    let (name, addr) = text.split_once('@').ok_or("must be TYPE.ID@ADDR")?;
    let name = name.parse().map_err(|error: NameError| error.to_string())?;
    Ok(Also { name, addrs: addresses(&[addr.to_owned()])? })
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
