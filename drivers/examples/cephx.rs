//! How does a client get into a cluster that asks for keys, as every real one does?
//!
//! ```sh
//! cargo run -p cephwire --example cephx -- KEYRING ENTITY MONITOR OSD [SECONDS]
//! cargo run -p cephwire --example cephx -- /etc/ceph/ceph.client.admin.keyring client.admin \
//!     v2:192.0.2.1:3300/0 v2:192.0.2.2:6800/3735928559 60
//! ```
//!
//! ```text
//!   keyring ─► Wallet ─► Setup::auth          key, tickets, number in the cluster: what outlives connections
//!   monitor: v2 proves and gives tickets before the session opens; v1 does by messages, once it is open
//!   OSD:     is shown the ticket for OSDs; the session opens if it convinces, in both directions
//!   later:   tickets end (after an hour), so new ones are fetched over the session with the monitor
//! ```
//!
//! The address of an OSD, with its nonce, is in `ceph osd dump`; a real client reads it from the OSD map, which it
//! subscribes to at the monitor.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cephwire::auth::cephx::message::AuthReply;
use cephwire::auth::cephx::{ClientAuth, Entity, Keyring, Progress, Wallet, WalletOptions};
use cephwire::blocking::{Messenger, channel};
use cephwire::codec::v2::method;
use cephwire::codec::{AddrVec, EntityName, EntityType, Message, MessageType, Timestamp};
use cephwire::{Handle, Notice, Policy, Setup, Version};

const USAGE: &str = "usage: cephx KEYRING ENTITY MONITOR OSD [SECONDS]";
/// How often it looks whether tickets end soon. Once in a minute is enough for those of an hour.
const LOOK: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keyring, entity, monitor, osd, seconds @ ..] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let seconds = seconds.first().map_or(Ok(3), |seconds| seconds.parse())?;

    let entity: Entity = entity.parse()?;
    let keyring = Keyring::parse(&std::fs::read_to_string(keyring)?)?;
    let key = keyring.key(&entity).ok_or("the keyring has no such entity")?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let wallet = Wallet::new(entity, key.clone(), WalletOptions::default(), seed)?;

    // A client has no number until the monitor gives it one.
    let setup = Setup::new(EntityName::new(EntityType::CLIENT, -1))
        .default_policy(Policy::lossy_client())
        .auth(Arc::new(ClientAuth(Arc::clone(&wallet))));
    let messenger = Messenger::new(setup)?;
    let (inlet, notices) = channel();
    messenger.add_tail(inlet);
    let monitor = messenger.connect(EntityType::MON, &monitor.parse()?);
    let mut client = Client { messenger, wallet, monitor, osd_addrs: osd.parse()?, osd: None };

    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        match notices.recv_timeout(LOOK) {
            Ok(notice) => client.handle(notice)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("the messenger is gone".into()),
        }
        client.renew()?;
    }
    let osd = client.osd.as_ref().ok_or("the monitor did not let us in")?;
    let sign = osd.last_keepalive_ack().ok_or("the OSD gave no sign of life")?;
    println!("{} answered what was asked at {}.{:09}", osd.peer(), sign.sec, sign.nsec);
    let unsent = client.messenger.shutdown(Duration::from_secs(1));
    println!("not sent: {}", unsent.len());
    Ok(())
}

struct Client {
    messenger: Messenger,
    wallet: Arc<Wallet>,
    monitor: Handle,
    osd_addrs: AddrVec,
    osd: Option<Handle>,
}

impl Client {
    fn handle(&mut self, notice: Notice) -> Result<(), Box<dyn Error>> {
        match notice {
            Notice::Connected(session) if session == self.monitor => match session.version() {
                // The session is open, and nobody knows yet who we are.
                Some(Version::V1) => session.send(self.wallet.hello(&[method::CEPHX]).message())?,
                _ => self.enter()?,
            },
            Notice::Connected(session) => {
                println!("{} has opened a session, by ticket", session.peer());
                session.keepalive();
            }
            Notice::Message(from, received) if from == self.monitor => self.read(&received.message)?,
            // Lossy sessions end with their connections. A client that goes on connects to a monitor again; until it
            // is in, nothing can be renewed.
            Notice::Reset(session, error) => {
                if session == self.monitor {
                    self.wallet.monitor_lost();
                }
                let cause = error.map_or_else(|| "closed".to_owned(), |error| error.to_string());
                return Err(format!("{}: {cause}", session.peer()).into());
            }
            // It tries again. A wrong key shows here.
            Notice::Trouble(session, error) => println!("{}: {error}", session.peer()),
            Notice::Refused(session) => println!("{}: nobody listens there", session.peer()),
            _ => {}
        }
        Ok(())
    }

    /// What the monitor says. (It says much more, to those who subscribe.)
    fn read(&mut self, message: &Message) -> Result<(), Box<dyn Error>> {
        if message.header.kind != MessageType::AUTH_REPLY {
            return Ok(());
        }
        let reply = AuthReply::decode(&message.front.clone().into_bytes())?;
        match self.wallet.handle_auth_reply(now(), &reply)? {
            Progress::Send(next) => self.monitor.send(next.message())?,
            Progress::Ready => self.enter()?,
            // For daemons, which hand them to their `Service`.
            Progress::Rotating(_) => {}
        }
        Ok(())
    }

    /// There are tickets, the first ones or new ones.
    fn enter(&mut self) -> Result<(), Box<dyn Error>> {
        let number = self.wallet.global_id().ok_or("no ticket has come")?;
        let left = |end: Timestamp| format!("{} s", i64::from(end.sec) - i64::from(now().sec));
        let left = self.wallet.expires(EntityType::OSD).map_or_else(|| "ever".to_owned(), left);
        println!("client.{number}: the ticket for OSDs is good for {left}");
        if self.osd.is_none() {
            // OSDs tell the requests of clients apart by this number.
            self.messenger.local().set_name(EntityName::new(EntityType::CLIENT, i64::try_from(number)?));
            self.osd = Some(self.messenger.connect(EntityType::OSD, &self.osd_addrs));
        }
        Ok(())
    }

    /// Asks for new tickets when it is time. Open sessions go on with the old ones.
    fn renew(&self) -> Result<(), Box<dyn Error>> {
        if let Some(request) = self.wallet.renewal(now()) {
            println!("tickets end soon: asking for new ones");
            self.monitor.send(request.message())?;
        }
        Ok(())
    }
}

/// The wall clock: tickets end by it.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { sec: since.as_secs() as u32, nsec: since.subsec_nanos() }
}
