//! The `cephwire` command: which tool was asked for?

use std::process::ExitCode;

use cephwire_cli::{bench, decode, ping, probe, serve};
use clap::{Parser, Subcommand};

/// Ceph's messenger protocols, on the wire.
#[derive(Parser)]
#[command(name = "cephwire", version, about)]
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
