//! `cephwire probe`: what is at this address, and what does it allow?
//!
//! ```text
//!  ADDR ─► targets ─► attempt: look, then a session ─► audit: required? refused? ─► plain | json, exit status
//! ```

mod attempt;
mod audit;
mod json;
mod plain;

use std::io::{self, Write};
use std::process::ExitCode;

use cephwire_codec::AddrVec;
use cephwire_protocol::Version;
use clap::ValueEnum;

use self::attempt::Attempt;
use self::audit::{Check, Word};
use crate::config::{self, Config, Environment, Unresolved};
use crate::live::cause::Cause;
use crate::live::identity::{self, Identity};
use crate::live::output::Output;
use crate::live::show::Format;
use crate::live::{self, Target, cause};

/// Exit status: as required.
const OK: u8 = 0;
/// Exit status: something that was required is not so.
const NOT: u8 = 1;
/// Exit status: the command line or the configuration is wrong.
const USAGE: u8 = 2;
/// Exit status: nobody there.
const UNREACHABLE: u8 = 3;

/// Asks what a Ceph daemon speaks and allows: the `openssl s_client` of Ceph.
///
/// Connects to each address with messenger v2 and v1 (an address without prefix
/// and port is tried at 3300 and 6789) and reports banner, features, who the peer
/// is and as whom it sees us, which methods and modes it allows, what was
/// negotiated, the time of each phase; and if something fails, why.
///
/// Exit status: 0 if every peer speaks Ceph's protocol and is as required, 1 if
/// one is not, 2 if the command line is wrong, 3 if one cannot be reached.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment, after_long_help = words_and_causes())]
pub struct Arguments {
    /// Addresses, in any form that mon_host can have [default: the monitors]
    #[arg(value_name = "ADDR")]
    addrs: Vec<String>,
    /// Fails unless the peer allows these, with commas in between
    #[arg(long, value_enum, value_name = "WORD", value_delimiter = ',', hide_possible_values = true)]
    require: Vec<Word>,
    /// Fails if the peer allows any of these
    #[arg(long, value_enum, value_name = "WORD", value_delimiter = ',', hide_possible_values = true)]
    refuse: Vec<Word>,
    /// Speaks only this version
    #[arg(long, value_enum, value_name = "VERSION")]
    r#try: Option<Try>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Plain)]
    format: Format,
    #[command(flatten)]
    identity: identity::Arguments,
    /// Path of ceph.conf, or several
    #[arg(short, long, value_name = "FILE", help_heading = "Ceph's own options")]
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

/// What `--require` and `--refuse` can name, and the causes of failures.
fn words_and_causes() -> String {
    let mut lines = vec![String::from("Words for --require and --refuse:")];
    for word in Word::value_variants() {
        lines.push(format!("  {:<17} {}", word.name(), word.meaning()));
    }
    lines.push(String::from("\nCauses of failures:"));
    for (name, meaning) in cause::NAMES {
        lines.push(format!("  {name:<17} {meaning}"));
    }
    lines.join("\n")
}

/// What was found at one address.
struct Finding {
    /// As it was written.
    addr: String,
    /// Why there was nothing to try.
    cause: Option<Cause>,
    attempts: Vec<Attempt>,
    checks: Vec<Check>,
    status: u8,
}

/// Probes, prints, and says how it went.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let complain = |error: &dyn std::fmt::Display, status: u8| {
        let _ = writeln!(io::stderr(), "cephwire: {error}");
        ExitCode::from(status)
    };
    let usage = |error: &dyn std::fmt::Display| complain(error, USAGE);
    let config = Config::load(&arguments.config, arguments.conf.as_deref(), Environment::of_process());
    let config = match config {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    let identity = match Identity::new(&config, &arguments.identity) {
        Ok(identity) => identity,
        Err(error) => return usage(&error),
    };
    let mut status = OK;
    let mut out = Output::standard();
    let entities = match live::entities(&arguments.addrs, &config) {
        Ok(entities) => entities,
        Err(error) => return usage(&error),
    };
    for entity in entities {
        let finding = probe(&entity, arguments, &identity);
        status = status.max(finding.status);
        let printed = match arguments.format {
            Format::Plain => plain::finding(&finding, &mut out),
            Format::Json | Format::JsonPretty => arguments.format.object(&json::finding(&finding), &mut out),
        };
        if let Err(error) = printed.and_then(|()| out.flush()) {
            return complain(&format_args!("standard output: {error}"), status.max(NOT));
        }
        // Whoever read our output has seen enough.
        if out.is_unread() {
            break;
        }
    }
    ExitCode::from(status)
}

fn probe(entity: &Result<AddrVec, Unresolved>, arguments: &Arguments, identity: &Identity) -> Finding {
    let only = arguments.r#try.map(|only| if only == Try::V1 { Version::V1 } else { Version::V2 });
    let (addr, targets, cause) = match entity {
        Ok(addrs) => (addrs.to_string(), Target::of(addrs, only), None),
        Err(unresolved) => (unresolved.item.clone(), vec![], Some(Cause::unresolved(unresolved))),
    };
    let attempts: Vec<_> = targets.into_iter().map(|target| Attempt::at(target, identity)).collect();
    let checks = audit::checks(&arguments.require, &arguments.refuse, &attempts);
    let reached = attempts.iter().any(|attempt| !attempt.is_unreachable());
    let spoken = attempts.iter().any(Attempt::is_spoken);
    let status = match (reached, spoken && checks.iter().all(|check| check.met)) {
        (false, _) => UNREACHABLE,
        (true, false) => NOT,
        (true, true) => OK,
    };
    Finding { addr, cause, attempts, checks, status }
}
