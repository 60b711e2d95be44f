//! `cephwire ping`: does this daemon answer, and how long does each step take?
//!
//! ```text
//!  ADDR | monitors | a stand-in of our own ─► entities ─► first address that opens a session ─► MPing, KEEPALIVE2 ─► answer, n times
//! ```
//!
//! Only monitors answer `MPing` (with their health and status); every daemon answers KEEPALIVE2.

mod exchange;
mod report;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cephwire::blocking::Messenger;
use cephwire_codec::{AddrType, AddrVec, EntityAddr, EntityType};
use cephwire_protocol::Version;
use clap::ValueEnum;

use self::exchange::{Answer, exchange};
use self::report::{Report, Tally};
use crate::config::{self, Config, Environment, Name, Unresolved};
use crate::live::call::Call;
use crate::live::cause::Cause;
use crate::live::identity::{self, Identity};
use crate::live::look::Look;
use crate::live::output::Output;
use crate::live::show::Format;
use crate::live::{self, Target, tickets};
use crate::serve;

/// Pings a monitor, or any other Ceph daemon.
///
/// Opens a session with messenger v2, or else v1, and asks for a sign of life: a
/// monitor answers with its health and status, other daemons with the bare sign.
/// Says how long each step took. Of several entities each is pinged; without
/// address, the monitors that -m, ceph.conf or CEPH_ARGS name. Where nothing speaks
/// of a cluster at all, it starts a stand-in for a monitor on loopback, pings that,
/// and says so (in JSON by "stand_in": true).
///
/// Note that -c is the count here, as in ping(8); for ceph.conf it is --conf.
///
/// Exit status: 0 if every ping was answered, 1 if not, 2 if the command line or
/// the configuration is wrong.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Addresses, in any form that mon_host can have [default: the monitors]
    #[arg(value_name = "ADDR")]
    addrs: Vec<String>,
    /// How many pings
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// From one ping to the next
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = identity::seconds)]
    interval: Duration,
    /// Speaks only this version
    #[arg(long, value_enum, value_name = "VERSION")]
    r#try: Option<Try>,
    /// Prints all that a monitor answers
    #[arg(short, long)]
    verbose: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Plain)]
    format: Format,
    #[command(flatten)]
    identity: identity::Arguments,
    /// Path of ceph.conf, or several
    #[arg(long, value_name = "FILE", help_heading = "Ceph's own options")]
    conf: Option<String>,
    #[command(flatten)]
    config: config::Arguments,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Try {
    V1,
    V2,
}

fn complain(error: &dyn std::fmt::Display, status: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "cephwire: {error}");
    ExitCode::from(status)
}

/// Pings, prints, and says how it went.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let config = Config::load(&arguments.config, arguments.conf.as_deref(), Environment::of_process());
    let config = match config {
        Ok(config) => config,
        Err(error) => return complain(&error, 2),
    };
    let identity = match Identity::new(&config, &arguments.identity) {
        Ok(identity) => identity,
        Err(error) => return complain(&error, 2),
    };
    if arguments.addrs.is_empty() && !config.mentions_a_cluster() {
        let stand_in = match stand_in() {
            Ok(stand_in) => stand_in,
            Err(error) => return complain(&error, 1),
        };
        let status = ping_all(&[Ok(stand_in.addrs())], true, arguments, &identity);
        let _ = stand_in.shutdown(Duration::ZERO);
        return status;
    }
    match live::entities(&arguments.addrs, &config) {
        Ok(entities) => ping_all(&entities, false, arguments, &identity),
        Err(error) => complain(&error, 2),
    }
}

/// Somebody to ping, on loopback.
fn stand_in() -> io::Result<Messenger> {
    let name = Name { kind: EntityType::MON, id: "a".to_owned() };
    let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let addr = EntityAddr::new(AddrType::ANY, loopback, 0);
    let door = serve::Door::default();
    serve::serve(&name, &addr.into(), serve::Answer::Ack, &door, Arc::new(serve::Log::silent()))
}

fn ping_all(
    entities: &[Result<AddrVec, Unresolved>],
    stand_in: bool,
    arguments: &Arguments,
    identity: &Identity,
) -> ExitCode {
    let mut out = Output::standard();
    let mut all_answered = true;
    for entity in entities {
        let mut report = Report::new(arguments.format, arguments.verbose, stand_in, &mut out);
        let answered = match entity {
            Ok(entity) => ping(entity, arguments, identity, &mut report),
            Err(unresolved) => {
                report.failure(&unresolved.item, &Cause::unresolved(unresolved)).map(|()| false)
            }
        };
        match answered {
            Ok(answered) => all_answered &= answered,
            Err(error) => return complain(&format_args!("standard output: {error}"), 1),
        }
        // Whoever read our output has seen enough.
        if out.is_unread() {
            break;
        }
    }
    ExitCode::from(u8::from(!all_answered))
}

/// Pings one entity. Says whether all pings were answered; the error is standard output's.
fn ping(
    entity: &AddrVec,
    arguments: &Arguments,
    identity: &Identity,
    report: &mut Report<'_>,
) -> io::Result<bool> {
    let only = arguments.r#try.map(|only| if only == Try::V1 { Version::V1 } else { Version::V2 });
    let mut opened = None;
    for target in Target::of(entity, only) {
        match open(target, identity) {
            Ok(call) => {
                opened = Some((target, call));
                break;
            }
            Err(cause) => report.failure(&target.addr, &cause)?,
        }
    }
    let Some((target, mut call)) = opened else { return Ok(false) };
    let facts = call.facts();
    report.open(&target.addr, &facts)?;
    let mut tally = Tally::default();
    let mut next = Instant::now();
    for seq in 1..=arguments.count {
        // Between pings the session is served all the same.
        let waited = call.until(next, |_, _| None::<()>);
        let outcome = waited.and_then(|_| exchange(&mut call, seq, identity.timeout));
        next = Instant::now().max(next + arguments.interval);
        tally.sent += 1;
        match outcome {
            Ok(Some(answer)) => {
                tally.answered(answer.time);
                report.answer(&target.addr, seq, &answer)?;
            }
            Ok(None) => report.lost(&target.addr, seq, identity.timeout)?,
            Err(cause) => {
                report.failure(&target.addr, &cause)?;
                break;
            }
        }
        if report.is_unread() {
            break;
        }
    }
    report.tally(&target.addr, &tally)?;
    Ok(tally.received == tally.sent)
}

/// Opens a session with whatever daemon is there.
fn open(target: Target, identity: &Identity) -> Result<Call, Cause> {
    // A monitor, more often than not. If it is something else, it has said so, and if the address lacks the nonce,
    // a v1 daemon has told it: the second time fits.
    let (call, outcome) = Call::open(&identity.local(), EntityType::MON, target, identity.timeout);
    match outcome {
        Ok(()) => return Ok(call),
        Err(cause) if !matches!(cause.name, "entity-type" | "address" | "protocol-version") => {
            return Err(cause);
        }
        Err(_) => {}
    }
    let (mut kind, mut target) = (call.found_kind().unwrap_or(EntityType::MON), target);
    if target.version == Version::V1 && target.addr.nonce == 0 {
        let (look, looked) = Look::at(&target, identity);
        looked?;
        target = target.with_nonce(look.own.map_or(0, |own| own.nonce));
        tickets::fetch(identity, kind)?;
        let (call, outcome) = Call::open(&identity.local(), kind, target, identity.timeout);
        match (outcome, call.found_kind()) {
            (Ok(()), _) => return Ok(call),
            (Err(_), Some(found)) => kind = found,
            (Err(cause), None) => return Err(cause),
        }
    }
    tickets::fetch(identity, kind)?;
    let (call, outcome) = Call::open(&identity.local(), kind, target, identity.timeout);
    outcome.map(|()| call)
}
