//! The `cephwire` command: which tool was asked for?

use std::process::ExitCode;

use cephwire_cli::{bench, decode, ping, probe, serve};
use clap::{Parser, Subcommand};

/// What the commands look at besides their arguments.
const ENVIRONMENT: &str = "\
Environment:
  CEPH_CONF, CEPH_ARGS, CEPH_KEYRING
      As Ceph's own tools read them; for ping, probe and bench client.
  CEPHWIRE_KEY_LOG
      A file to which ping, probe and serve append the secrets of their connections,
      for decode --secrets.
  NO_COLOR, CLICOLOR_FORCE
      Never colours, always colours; without either, on terminals only.";

/// Ceph's messenger protocols, on the wire.
#[derive(Parser)]
#[command(name = "cephwire", version, about, after_long_help = ENVIRONMENT)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Decode(decode::Arguments),
    Ping(ping::Arguments),
    Probe(probe::Arguments),
    Serve(serve::Arguments),
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Ping(arguments) => ping::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    }
}
