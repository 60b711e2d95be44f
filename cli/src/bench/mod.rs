//! `cephwire bench`: how fast is it, and what does it cost, next to plain TCP?
//!
//! ```text
//!   bench                 ┌ raw exchange ┐   the same bytes without a protocol
//!     for each size       │ raw stream   │   one way only
//!     and each depth:     └ messenger    ┘   this process ◄── loopback ──► bench server, a child
//!     a few rounds, each measuring all three; the ratios are those of the median rounds
//!   bench server ADDR     ceph_perf_msgr_server's part
//!   bench client ADDR     ceph_perf_msgr_client's part
//! ```

mod cpu;
mod load;
mod meter;
mod raw;
mod report;
mod wire;

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use cephwire::codec::EntityAddr;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use self::meter::Outcome;
use self::raw::Exchange;
use self::report::{Case, Report};

/// Measures messages per second, latency and processor time.
///
/// Without a subcommand, a server is started on loopback as a process of its
/// own, and everything is compared with plain TCP in the same run. The two
/// subcommands put the messages of ceph_perf_msgr_server and _client on the
/// wire, so that the other end may be Ceph's.
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
        /// End with standard input
        #[arg(long, hide = true)]
        until_eof: bool,
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    #[default]
    Plain,
    /// One JSON object
    Json,
    /// The same, to be read
    JsonPretty,
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
        Some(End::Server { addr, common, pin, until_eof }) => {
            cpu::pin(*pin).and_then(|()| serve(*common, *addr, *until_eof))
        }
        Some(End::Client { addr, plan, common, pin, format }) => {
            cpu::pin(*pin).and_then(|()| ask(plan, *common, *addr, *format))
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "cephwire bench: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Everything on loopback, with the baselines.
fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { plan, common, rounds, .. } = arguments;
    let pins = Pins { client: arguments.pin_client, server: arguments.pin_server };
    let server = EmbeddedServer::start(*common, pins)?;
    let version = common.protocol;
    let cases: Vec<(usize, usize)> =
        plan.size.iter().flat_map(|size| plan.depth.iter().map(move |depth| (*size, *depth))).collect();
    let progress = progress(cases.len() as u64 * u64::from(*rounds) * 3);
    let mut report = Report::default();
    for (size, depth) in cases {
        let fronts = wire::Fronts::new(size);
        let request = wire::wire_len(version, fronts.request(0, vec![0; size].into()));
        let reply = wire::wire_len(version, fronts.reply(0));
        let exchange = Exchange { request, reply, depth };
        let mut case = Case { size, depth, block: request.max(SMALLEST_BLOCK), ..Case::default() };
        for _ in 0..*rounds {
            let step = |what: &str| {
                progress.set_message(format!("{size} bytes, depth {depth}: {what}"));
                progress.inc(1);
            };
            step("raw exchange");
            case.exchange.push(raw::exchange(exchange, common.driver, pins, plan.lasting())?);
            step("raw stream");
            case.stream.push(raw::stream(request.max(SMALLEST_BLOCK), pins, plan.lasting())?);
            step("messenger");
            case.messenger.push(server.measure(plan, *common, pins, size, depth)?);
        }
        report.add(case);
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
    fn start(common: Common, pins: Pins) -> anyhow::Result<Self> {
        let scheme = if common.protocol == Version::V1 { "v1" } else { "v2" };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "server", &format!("{scheme}:127.0.0.1:0"), "--until-eof", "--driver"]);
        command.arg(if common.driver == Driver::Tokio { "tokio" } else { "blocking" });
        if let Some(core) = pins.server {
            command.args(["--pin", &core.to_string()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let life = child.stdin.take().context("no standard input")?;
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
    ) -> anyhow::Result<Outcome> {
        // Whoever is pinned passes that on to all threads it starts; this thread itself shall stay free.
        let run = || {
            cpu::pin(pins.client)?;
            load::client(common, self.addr, size, depth, plan, || cpu::used(self.child.id()))
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

/// The server's end alone.
fn serve(common: Common, addr: EntityAddr, until_eof: bool) -> anyhow::Result<()> {
    let server = load::Server::start(common, addr)?;
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
fn ask(plan: &Plan, common: Common, addr: EntityAddr, format: Format) -> anyhow::Result<()> {
    let mut report = Report::default();
    for size in &plan.size {
        for depth in &plan.depth {
            let outcome = load::client(common, addr, *size, *depth, plan, || Ok(0.0))?;
            report.add(Case { size: *size, depth: *depth, messenger: vec![outcome], ..Case::default() });
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
