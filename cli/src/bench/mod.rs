//! `cephwire bench`: how fast is it, and what does it cost, next to plain TCP?
//!
//! ```text
//!   bench                 ┌ raw exchange ┐   the same bytes without a protocol
//!     for each size       │ raw stream   │   one way only
//!     and each depth:     └ messenger    ┘   this process ◄── loopback ──► bench server, a child
//!     a few rounds, each measuring all three; the ratios are those of the median rounds
//!     --mode crc,secure: the messenger once in each mode, in the same round
//!   bench server ADDR     ceph_perf_msgr_server's part
//!   bench client ADDR     ceph_perf_msgr_client's part
//! ```

mod cpu;
mod keys;
mod load;
mod meter;
mod raw;
mod report;
mod wire;

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use cephwire::auth::Entity;
use cephwire::codec::v2::mode;
use cephwire::codec::{AddrType, EntityAddr};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use self::keys::{Door, ThrowAway};
use self::meter::Outcome;
use self::raw::Exchange;
use self::report::{Case, Report};
use crate::config::{self, Config, Environment};
use crate::live::identity;
use crate::live::show::{Format, ModeList};
use crate::serve;

/// Measures messages per second, latency and processor time.
///
/// Without a subcommand, a server is started on loopback as a process of its
/// own, and everything is compared with plain TCP in the same run. The two
/// subcommands put the messages of ceph_perf_msgr_server and _client on the
/// wire, so that the other end may be Ceph's (without --mode).
///
/// Exit status: 0, or 1 if something went wrong, 2 if the command line did.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    end: Option<End>,
    #[command(flatten)]
    plan: Plan,
    #[command(flatten)]
    common: Common,
    /// The core for the server
    #[arg(long, value_name = "CORE")]
    pin_server: Option<usize>,
    /// The core for the client
    #[arg(long, value_name = "CORE")]
    pin_client: Option<usize>,
    /// Authenticates by cephx, with a key of its own, and measures each of these modes: crc,secure
    #[arg(long, value_name = "MODES")]
    mode: Option<ModeList>,
    /// How often each case is measured, the baselines with it
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
}

#[derive(clap::Subcommand, Debug)]
enum End {
    /// Answers each request, until it is killed
    Server {
        /// Where to listen: v2:127.0.0.1:6800, v1:…
        addr: EntityAddr,
        #[command(flatten)]
        common: Common,
        /// The core to run on
        #[arg(long, value_name = "CORE")]
        pin: Option<usize>,
        /// Authenticates clients by cephx, as a monitor, and allows these modes: crc, secure, or both
        #[arg(long, value_name = "MODES")]
        mode: Option<ModeList>,
        /// Files with the clients' keys, with commas in between
        #[arg(short, long, value_name = "FILES", value_delimiter = ',', requires = "mode")]
        keyring: Vec<PathBuf>,
        /// End with standard input
        #[arg(long, hide = true)]
        until_eof: bool,
        /// The first line of standard input is the key
        #[arg(long, hide = true, requires = "mode", conflicts_with = "keyring")]
        key_first: bool,
    },
    /// Sends requests and counts the answers
    Client {
        /// Where the server is: v2:127.0.0.1:6800, v1:…
        addr: EntityAddr,
        #[command(flatten)]
        plan: Plan,
        #[command(flatten)]
        common: Common,
        /// The core to run on
        #[arg(long, value_name = "CORE")]
        pin: Option<usize>,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
        /// Authenticates by cephx and offers these modes, the best first: crc, secure
        #[arg(long, value_name = "MODES")]
        mode: Option<ModeList>,
        /// Path of ceph.conf, or several: only with --mode, as all that follows
        #[arg(short, long, value_name = "FILE", help_heading = "Ceph's own options")]
        conf: Option<String>,
        #[command(flatten)]
        config: Box<config::Arguments>,
    },
}

/// What is sent.
#[derive(clap::Args, Clone, Debug)]
struct Plan {
    /// Bytes of data in a request; several with commas in between: 0,4K,4M
    #[arg(short, long, value_delimiter = ',', default_value = "4K", value_parser = size)]
    size: Vec<usize>,
    /// Requests that are outstanding at a time, on each connection
    #[arg(short, long, value_delimiter = ',', default_value = "32", value_parser = depth)]
    depth: Vec<usize>,
    /// Connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
}

impl Plan {
    fn lasting(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// What both ends must agree on, or may choose.
#[derive(clap::Args, Clone, Copy, Debug)]
struct Common {
    /// Which driver moves the bytes
    #[arg(long, value_enum, default_value_t)]
    driver: Driver,
    /// The protocol, where no address tells
    #[arg(long, value_enum, default_value_t)]
    protocol: Version,
    /// Servers send the data back with the reply, so that both directions are full
    #[arg(long)]
    both_ways: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Driver {
    /// Two threads for each connection
    #[default]
    Blocking,
    /// A task for each connection
    Tokio,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Version {
    V1,
    #[default]
    V2,
}

/// The cores of both ends.
#[derive(Clone, Copy, Debug, Default)]
struct Pins {
    client: Option<usize>,
    server: Option<usize>,
}

/// Measures, prints, and says how it went.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let ran = match &arguments.end {
        None => compare(arguments),
        Some(End::Server { addr, common, pin, mode, keyring, until_eof, key_first }) => cpu::pin(*pin)
            .map_err(usage)
            .and_then(|()| server_door(addr, mode.as_ref(), keyring, *key_first))
            .and_then(|door| answer(*common, *addr, &door, *until_eof)),
        Some(End::Client { addr, plan, common, pin, format, mode, conf, config }) => cpu::pin(*pin)
            .map_err(usage)
            .and_then(|()| client_door(addr, mode.as_ref(), conf.as_deref(), config))
            .and_then(|door| ask(plan, *common, *addr, &door, *format)),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "cephwire: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// The command line or the configuration is wrong: nothing was tried.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct Usage(anyhow::Error);

fn usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    Usage(error.into()).into()
}

/// In v1 there is one mode, and it has no name.
fn with_modes(version: Version, modes: Option<&ModeList>) -> anyhow::Result<()> {
    if version == Version::V1 && modes.is_some() {
        return Err(usage(anyhow::anyhow!("--mode: v1 has no modes")));
    }
    Ok(())
}

/// The version that an end speaks at this address.
fn version_at(addr: &EntityAddr) -> Version {
    if addr.kind == AddrType::LEGACY { Version::V1 } else { Version::V2 }
}

/// Everything on loopback, with the baselines.
fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { plan, common, rounds, .. } = arguments;
    let pins = Pins { client: arguments.pin_client, server: arguments.pin_server };
    let version = common.protocol;
    with_modes(version, arguments.mode.as_ref())?;
    cpu::check(pins.client).and_then(|()| cpu::check(pins.server)).map_err(usage)?;
    let key = ThrowAway::new()?;
    let server = EmbeddedServer::start(*common, pins, arguments.mode.as_ref().map(|modes| (modes, &key)))?;
    let doors: Vec<(Option<&'static str>, Door)> = match &arguments.mode {
        None => vec![(None, Door::default())],
        Some(ModeList(modes)) => {
            let door = |mode: &u32| Ok((mode::name(*mode), key.client(&ModeList(vec![*mode]))?));
            modes.iter().map(door).collect::<io::Result<_>>()?
        }
    };
    let cases: Vec<(usize, usize)> =
        plan.size.iter().flat_map(|size| plan.depth.iter().map(move |depth| (*size, *depth))).collect();
    let steps = cases.len() as u64 * u64::from(*rounds) * (2 + doors.len() as u64);
    let progress = progress(steps);
    let mut report = Report::default();
    for (size, depth) in cases {
        let fronts = wire::Fronts::new(size);
        let request = wire::wire_len(version, fronts.request(0, vec![0; size].into()));
        let reply = wire::wire_len(version, fronts.reply(0));
        let exchange = Exchange { request, reply, depth };
        let block = request.max(SMALLEST_BLOCK);
        let mut modes: Vec<Case> =
            doors.iter().map(|(mode, _)| Case::new(size, depth, block, *mode)).collect();
        for _ in 0..*rounds {
            let step = |what: &str| {
                progress.set_message(format!("{size} bytes, depth {depth}: {what}"));
                progress.inc(1);
            };
            step("raw exchange");
            // With large writes both ways, two plain threads would wait for each other for ever.
            let raw_exchange = (!common.both_ways)
                .then(|| raw::exchange(exchange, common.driver, pins, plan.lasting()))
                .transpose()?;
            step("raw stream");
            let raw_stream = raw::stream(block, pins, plan.lasting())?;
            for (case, (mode, door)) in modes.iter_mut().zip(&doors) {
                step(mode.unwrap_or("messenger"));
                case.messenger.push(server.measure(plan, *common, pins, size, depth, door)?);
                case.exchange.extend(raw_exchange.clone());
                case.stream.push(raw_stream.clone());
            }
        }
        report.add(modes);
    }
    progress.finish_and_clear();
    report.print(arguments.format)
}

/// A server in a process of its own; it ends with us.
struct EmbeddedServer {
    child: Child,
    addr: EntityAddr,
    /// Its standard input: closed when this goes, by whatever way.
    _life: ChildStdin,
}

impl EmbeddedServer {
    fn start(common: Common, pins: Pins, keys: Option<(&ModeList, &ThrowAway)>) -> anyhow::Result<Self> {
        let scheme = if common.protocol == Version::V1 { "v1" } else { "v2" };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "server", &format!("{scheme}:127.0.0.1:0"), "--until-eof", "--driver"]);
        command.arg(if common.driver == Driver::Tokio { "tokio" } else { "blocking" });
        if common.both_ways {
            command.arg("--both-ways");
        }
        if let Some(core) = pins.server {
            command.args(["--pin", &core.to_string()]);
        }
        if let Some((modes, _)) = keys {
            command.args(["--key-first", "--mode", &modes.to_string()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let life = child.stdin.take().context("no standard input")?;
        if let Some((_, key)) = keys {
            key.tell(&life)?;
        }
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        let addr = line.trim().strip_prefix(LISTENING).context("the server did not start")?;
        let addr = addr.parse().with_context(|| format!("the server's address reads {addr:?}"))?;
        Ok(Self { child, addr, _life: life })
    }

    fn measure(
        &self,
        plan: &Plan,
        common: Common,
        pins: Pins,
        size: usize,
        depth: usize,
        door: &Door,
    ) -> anyhow::Result<Outcome> {
        // Whoever is pinned passes that on to all threads it starts; this thread itself shall stay free.
        let run = || {
            cpu::pin(pins.client)?;
            load::client(common, self.addr, size, depth, plan, door, || cpu::used(self.child.id()))
        };
        std::thread::scope(|scope| scope.spawn(run).join())
            .unwrap_or_else(|_| anyhow::bail!("the client has panicked"))
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whom a server lets in.
fn server_door(
    addr: &EntityAddr,
    modes: Option<&ModeList>,
    keyring: &[PathBuf],
    key_first: bool,
) -> anyhow::Result<Door> {
    with_modes(version_at(addr), modes)?;
    let Some(modes) = modes else { return Ok(Door::default()) };
    if key_first {
        return Ok(ThrowAway::learn(io::stdin().lock())?.server(modes)?);
    }
    if keyring.is_empty() {
        return Err(usage(anyhow::anyhow!("--mode wants the clients' keys: --keyring")));
    }
    Ok(Door::of_server(serve::keys::read(keyring).map_err(usage)?, modes)?)
}

/// As whom a client comes.
fn client_door(
    addr: &EntityAddr,
    modes: Option<&ModeList>,
    conf: Option<&str>,
    arguments: &config::Arguments,
) -> anyhow::Result<Door> {
    with_modes(version_at(addr), modes)?;
    let Some(modes) = modes else { return Ok(Door::default()) };
    let config = Config::load(arguments, conf, Environment::of_process()).map_err(usage)?;
    let entity = Entity::new(config.name.kind, config.name.id.clone());
    let key = identity::key(&config, &entity).map_err(usage)?;
    let key = key.with_context(|| format!("--mode wants a key, and there is none for {entity}"));
    let key = key.map_err(usage)?;
    Ok(Door::of_client(entity, key, modes)?)
}

/// The server's end alone.
fn answer(common: Common, addr: EntityAddr, door: &Door, until_eof: bool) -> anyhow::Result<()> {
    let server = load::Server::start(common, addr, door)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{LISTENING}{}", server.addr())?;
    stdout.flush()?;
    if until_eof {
        io::copy(&mut io::stdin(), &mut io::sink())?;
        return Ok(());
    }
    loop {
        std::thread::park();
    }
}

/// The client's end alone: there are no baselines, as the server may be anywhere.
fn ask(plan: &Plan, common: Common, addr: EntityAddr, door: &Door, format: Format) -> anyhow::Result<()> {
    let mut report = Report::default();
    for size in &plan.size {
        for depth in &plan.depth {
            let outcome = load::client(common, addr, *size, *depth, plan, door, || Ok(0.0))?;
            let mut case = Case::new(*size, *depth, 0, None);
            case.messenger.push(outcome);
            report.add(vec![case]);
        }
    }
    report.print(format)
}

/// Shown on a terminal only.
fn progress(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A length: a number, or one with K, M or G after it.
fn size(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.to_ascii_uppercase().strip_suffix(['K', 'M', 'G']) {
        Some(digits) => {
            let shift = match text.as_bytes().last() {
                Some(b'K' | b'k') => 10,
                Some(b'M' | b'm') => 20,
                _ => 30,
            };
            (digits.to_owned(), shift)
        }
        None => (text.to_owned(), 0),
    };
    let number: usize = digits.parse().map_err(|error| format!("{error}"))?;
    let size = number.saturating_mul(1 << shift);
    if size > LARGEST { Err(format!("at most {LARGEST}")) } else { Ok(size) }
}

fn depth(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(depth) if (1..=DEEPEST).contains(&depth) => Ok(depth),
        _ => Err(format!("1 to {DEEPEST}")),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err(String::from("0.01 to 3600")),
    }
}

/// What a server says when it is ready; its address follows.
const LISTENING: &str = "listening on ";
/// The stream baseline does not write less at once.
const SMALLEST_BLOCK: usize = 64 << 10;
/// The most data in a request: half of what a server's dispatch throttle admits.
const LARGEST: usize = 64 << 20;
/// The most requests outstanding.
const DEEPEST: usize = 65_536;
