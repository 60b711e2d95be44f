//! A method of authentication that does as a test wants: several steps, a secret, real signatures.

use std::sync::Mutex;

use bytes::Bytes;
use cephwire_protocol::Denied;
use cephwire_protocol::auth::{Answer, Auth, Client, Opening, Peer, Reason, Request, Secrets, Server};
use cephwire_protocol::key_log::{KeyLog, Line, transcript_id};

/// Both halves of it.
#[derive(Clone, Debug)]
pub(crate) struct Stepwise {
    /// The client's methods, the best first, and those that the server takes.
    pub(crate) methods: Vec<u32>,
    /// How many times the server asks for more.
    pub(crate) steps: usize,
    /// What it says in the end: 0, or an errno.
    pub(crate) result: i32,
    /// The length of the connection secret.
    pub(crate) secret: usize,
    /// The length of what the server says in each step.
    pub(crate) payload: usize,
}

impl Default for Stepwise {
    fn default() -> Self {
        let methods = vec![cephwire_protocol::codec::v2::method::CEPHX];
        Self { methods, steps: 1, result: 0, secret: 64, payload: 10 }
    }
}

impl Auth for Stepwise {
    fn client(&self, _peer: &Peer) -> Box<dyn Client> {
        Box::new(self.clone())
    }

    fn server(&self, _peer: &Peer) -> Box<dyn Server> {
        Box::new(self.clone())
    }
}

impl Client for Stepwise {
    fn open(&mut self, allowed: &[u32]) -> Result<Option<Opening>, Denied> {
        let method = self.methods.iter().find(|method| allowed.is_empty() || allowed.contains(method));
        let denied = Denied { is_final: true, ..Denied::default() };
        let method = *method.ok_or(denied)?;
        Ok(Some(Opening { method, payload: Bytes::from_static(b"open") }))
    }

    fn more(&mut self, _payload: &[u8]) -> Result<Bytes, Denied> {
        Ok(Bytes::from_static(b"more"))
    }

    fn done(&mut self, _global_id: u64, _mode: u32, _payload: &[u8]) -> Result<Secrets, Denied> {
        Ok(self.secrets())
    }
}

impl Server for Stepwise {
    fn request(&mut self, _request: &Request<'_>) -> Answer {
        if let Some(left) = self.steps.checked_sub(1) {
            self.steps = left;
            return Answer::More(vec![0; self.payload].into());
        }
        if self.result != 0 {
            return Answer::Bad(Reason::Refused { result: self.result });
        }
        Answer::Done {
            name: None,
            global_id: 0,
            caps: Bytes::new(),
            payload: Bytes::new(),
            secrets: self.secrets(),
        }
    }

    fn methods(&self) -> Vec<u32> {
        self.methods.clone()
    }
}

impl Stepwise {
    fn secrets(&self) -> Secrets {
        let connection_secret = vec![9; self.secret].into();
        Secrets { connection_secret, sign_transcript: Box::new(sign), signer: None }
    }
}

/// What stands for an HMAC here.
pub(crate) fn sign(transcript: &[u8]) -> [u8; 32] {
    let mut signature = [0u8; 32];
    for (n, byte) in transcript.iter().enumerate() {
        let at = &mut signature[n % 32];
        *at = at.wrapping_mul(31).wrapping_add(*byte).wrapping_add(1);
    }
    signature
}

/// Keeps the lines that would be written down.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<Vec<Line>>);

impl KeyLog for Lines {
    fn log(&self, line: &Line) {
        self.0.lock().unwrap().push(line.clone());
    }
}

impl Lines {
    pub(crate) fn take(&self) -> Vec<Line> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// What [`Stepwise`] lets be written of a connection whose server said this.
    pub(crate) fn of_connection(said_by_server: &[u8]) -> Line {
        let secret = vec![9; Stepwise::default().secret].into();
        Line::ConnectionSecret { transcript: transcript_id(said_by_server), secret }
    }
}
