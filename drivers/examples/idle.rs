//! How much memory does an idle connection take?
//!
//! ```text
//! cargo run --release -p cephwire --example idle -- [tokio|blocking] [COUNT] [v1|v2]
//! ```
//!
//! Listens, starts itself once more to dial so many connections, and says what each takes at either end: anonymous
//! memory of the process, which is what is not the kernel's. First when they are open, then when each has carried a
//! message of 4 KiB and its echo. `ulimit -n` must allow for them.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use cephwire::codec::{AddrVec, EntityName, EntityType, Message};
use cephwire::{Dispatcher, Handle, Manner, Policy, Received, Setup};

/// Connections in the handshake at once.
const WINDOW: usize = 256;
/// Data of the message that crosses each connection.
const LEN: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let arg = |at: usize, default: &str| args.get(at).cloned().unwrap_or_else(|| default.to_owned());
    let (driver, count, version) = (arg(0, "tokio"), arg(1, "10000").parse()?, arg(2, "v2"));
    let run = Run { driver, count, version };
    // A runtime is there for both: the blocking driver does not use it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let _entered = runtime.enter();
    match args.get(3) {
        Some(to) => run.dials(&to.parse()?),
        None => run.listens(&runtime),
    }
}

struct Run {
    driver: String,
    count: usize,
    version: String,
}

/// What was seen so far: sessions that opened, messages that came.
#[derive(Default)]
struct Seen {
    counts: Mutex<[usize; 2]>,
    news: Condvar,
    echoes: bool,
}

impl Seen {
    fn count(&self, what: usize) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(what) {
            *count += 1;
        }
        drop(counts);
        self.news.notify_all();
    }

    fn wait(&self, what: usize, until: usize) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        while counts.get(what).is_some_and(|count| *count < until) {
            counts = self.news.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

const OPENED: usize = 0;
const CAME: usize = 1;

impl Dispatcher for Seen {
    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        let (message, _permits) = received.into_parts();
        if self.echoes {
            let _ = from.send(message);
        }
        self.count(CAME);
        None
    }

    fn connected(&self, _session: &Handle) {
        self.count(OPENED);
    }

    fn accepted(&self, _session: &Handle) {
        self.count(OPENED);
    }
}

impl Run {
    fn listens(&self, runtime: &tokio::runtime::Runtime) -> Result<(), Box<dyn Error>> {
        let Self { driver, count, version } = self;
        let setup =
            Setup::new(EntityName::new(EntityType::OSD, 0)).default_policy(Policy::stateless_server());
        let here: AddrVec = format!("{version}:127.0.0.1:0/0").parse()?;
        let (messenger, to) = if driver == "blocking" {
            let messenger = cephwire::blocking::Messenger::new(setup)?;
            let to = messenger.bind(&here)?;
            (Either::Blocking(messenger), to)
        } else {
            let messenger = cephwire::tokio::Messenger::new(setup)?;
            let to = runtime.block_on(messenger.bind(&here))?;
            (Either::Tokio(messenger), to)
        };
        let seen = Arc::new(Seen { echoes: true, ..Seen::default() });
        messenger.add_tail(seen.clone());

        let before = anonymous()?;
        let mut other = Command::new(env::current_exe()?)
            .args([driver.as_str(), &count.to_string(), version, &to.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(mut go), Some(says)) = (other.stdin.take(), other.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut says = BufReader::new(says).lines();
        for (what, is) in [(OPENED, "open"), (CAME, "after a message of 4 KiB and its echo")] {
            let dialed: f64 = says.next().ok_or("the other end has ended")??.parse()?;
            seen.wait(what, *count);
            settle();
            let accepted = (anonymous()? - before) / *count as f64;
            println!(
                "{driver} {version}: {count} connections {is}: {accepted:.1} KiB each where accepted, {dialed:.1} KiB where dialed"
            );
            writeln!(go)?;
        }
        drop(go);
        other.wait()?;
        messenger.stop(runtime);
        Ok(())
    }

    fn dials(&self, to: &AddrVec) -> Result<(), Box<dyn Error>> {
        let setup = Setup::new(EntityName::new(EntityType::CLIENT, 4)).default_policy(Policy::lossy_client());
        let messenger = if self.driver == "blocking" {
            Either::Blocking(cephwire::blocking::Messenger::new(setup)?)
        } else {
            Either::Tokio(cephwire::tokio::Messenger::new(setup)?)
        };
        let seen: Arc<Seen> = Arc::default();
        messenger.add_tail(seen.clone());
        let before = anonymous()?;
        let each = || -> Result<f64, Box<dyn Error>> { Ok((anonymous()? - before) / self.count as f64) };
        let manner = Manner { anonymous: true, ..Manner::default() };
        let mut sessions = Vec::with_capacity(self.count);
        for n in 0..self.count {
            seen.wait(OPENED, n.saturating_sub(WINDOW));
            sessions.push(messenger.connect_as(EntityType::OSD, to, manner));
        }
        seen.wait(OPENED, self.count);
        settle();
        println!("{}", each()?);
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;

        for (n, session) in sessions.iter().enumerate() {
            seen.wait(CAME, n.saturating_sub(WINDOW));
            let message = Message { data: vec![0x5a; LEN].into(), ..Message::default() };
            session.send(message)?;
        }
        seen.wait(CAME, self.count);
        settle();
        println!("{}", each()?);
        std::io::stdin().read_line(&mut line)?;
        // The sockets go with the process.
        std::process::exit(0);
    }
}

/// Lets threads and tasks put away what they just used.
fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}

/// Anonymous memory of this process that is in use, in KiB.
fn anonymous() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

enum Either {
    Blocking(cephwire::blocking::Messenger),
    Tokio(cephwire::tokio::Messenger),
}

impl std::ops::Deref for Either {
    type Target = cephwire::Messenger;

    fn deref(&self) -> &cephwire::Messenger {
        match self {
            Self::Blocking(messenger) => messenger,
            Self::Tokio(messenger) => messenger,
        }
    }
}

impl Either {
    fn stop(&self, runtime: &tokio::runtime::Runtime) {
        let _ = match self {
            Self::Blocking(messenger) => messenger.shutdown(Duration::ZERO),
            Self::Tokio(messenger) => runtime.block_on(messenger.shutdown(Duration::ZERO)),
        };
    }
}
