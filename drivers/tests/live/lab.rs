//! Which cluster is there to be talked to?

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cephwire::Version;
use cephwire::auth::cephx::{CryptoKey, Keyring};
use cephwire::codec::v2::mode;
use cephwire::codec::{AddrVec, EntityAddr};
use serde_json::Value;

/// A cluster that `testdata/lab/ceph-lab` started.
#[derive(Debug)]
pub(crate) struct Lab {
    dir: PathBuf,
    settings: Value,
}

/// The pool that is in every lab.
pub(crate) const POOL: &str = "lab";

impl Lab {
    /// The one in the directory that `CEPHWIRE_LAB` names.
    pub(crate) fn given() -> Self {
        let dir = std::env::var_os("CEPHWIRE_LAB").map(PathBuf::from);
        let dir = dir.unwrap_or_else(|| panic!("CEPHWIRE_LAB must name the directory of a lab"));
        let text = std::fs::read_to_string(dir.join("lab.json")).unwrap();
        Self { settings: serde_json::from_str(&text).unwrap(), dir }
    }

    fn text(&self, name: &str) -> &str {
        self.settings[name].as_str().unwrap()
    }

    /// A file of this name, for its commands.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether it wants cephx. (Else everybody is let in.)
    pub(crate) fn has_keys(&self) -> bool {
        match self.text("auth") {
            "cephx" => true,
            "none" => false,
            other => panic!("a lab with authentication {other}"),
        }
    }

    pub(crate) fn osds(&self) -> usize {
        self.settings["osds"].as_u64().unwrap() as usize
    }

    /// The mode of all its connections of v2.
    pub(crate) fn mode(&self) -> u32 {
        if self.text("mode") == "secure" { mode::SECURE } else { mode::CRC }
    }

    /// The cluster's identity, as people write it.
    pub(crate) fn fsid(&self) -> &str {
        self.text("fsid")
    }

    /// Where its monitor is, in this version.
    pub(crate) fn monitor(&self, version: Version) -> EntityAddr {
        let port = self.settings["port"].as_u64().unwrap();
        let text = match version {
            Version::V1 => format!("v1:127.0.0.1:{}/0", port + 1),
            Version::V2 => format!("v2:127.0.0.1:{port}/0"),
        };
        text.parse().unwrap()
    }

    /// Both addresses of its monitor, as in its map.
    pub(crate) fn monitor_addrs(&self) -> AddrVec {
        AddrVec(vec![self.monitor(Version::V2), self.monitor(Version::V1)])
    }

    /// The key of this entity.
    pub(crate) fn key(&self, entity: &str) -> CryptoKey {
        let text = std::fs::read_to_string(self.dir.join("keyring")).unwrap();
        Keyring::parse(&text).unwrap().key(&entity.parse().unwrap()).unwrap().clone()
    }

    /// Runs one of Ceph's own commands on the cluster, which must succeed.
    pub(crate) fn ceph(&self, command: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/lab/ceph-lab");
        let output = Command::new(script).arg("run").arg(&self.dir).args(command).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {errors}");
        output
    }
}
