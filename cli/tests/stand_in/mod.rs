//! `cephwire serve` as a process, and what it prints.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(dead_code, reason = "each test file uses a part, or all of it")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A server of its own, which ends with the test.
pub(crate) struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub(crate) addrs: Vec<String>,
}

impl Server {
    /// Starts it with these options at a port that is free.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_with(options, &[])
    }

    /// The same with environment variables.
    pub(crate) fn start_with(options: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cephwire"))
            .args(["serve", "-f", "json"])
            .args(options)
            .env_remove("CEPHWIRE_KEY_LOG")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut this = Self { child, lines, addrs: Vec::new() };
        this.addrs = this.beside();
        this
    }

    /// Where the next daemon listens that it plays beside.
    pub(crate) fn beside(&mut self) -> Vec<String> {
        let listening = self.next();
        assert_eq!(listening["event"], "listening");
        let addrs = listening["addresses"].as_array().unwrap().iter();
        addrs.map(|addr| addr.as_str().unwrap().to_owned()).collect()
    }

    /// Its addresses as one vector.
    pub(crate) fn vector(&self) -> String {
        format!("[{}]", self.addrs.join(","))
    }

    pub(crate) fn socket(&self) -> SocketAddr {
        self.addrs[0].parse::<cephwire::codec::EntityAddr>().unwrap().socket.unwrap()
    }

    /// Its address of one version.
    pub(crate) fn of(&self, version: &str) -> &str {
        self.addrs.iter().find(|addr| addr.starts_with(version)).unwrap()
    }

    /// The next line.
    pub(crate) fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Reads on until a line of this event.
    pub(crate) fn wait(&mut self, event: &str) -> Value {
        for line in (&mut self.lines).lines() {
            let object: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if object["event"] == event {
                return object;
            }
        }
        panic!("the server ended before {event}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
