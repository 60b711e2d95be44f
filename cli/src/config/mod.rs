//! Who are we, and where are the monitors? As every tool of Ceph finds out.
//!
//! From the strongest to the weakest: options on the command line, options in `CEPH_ARGS`, `CEPH_KEYRING`,
//! ceph.conf (the section of the very entity, then of its type, then `[global]`), and Ceph's defaults. ceph.conf is
//! what `--conf` says, else `CEPH_CONF`, else the first that exists of [`SEARCH`].

mod environment;
mod expand;
mod file;
mod mon_host;
mod name;

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use cephwire_codec::AddrVec;
use zeroize::Zeroizing;

pub use self::environment::Environment;
use self::expand::Meaning;
pub use self::file::{ConfFile, ParseError};
pub use self::mon_host::{AddressError, PORT_V1, PORT_V2, Place, Unresolved, entities};
pub use self::name::{Name, NameError};

/// Where ceph.conf is looked for.
pub const SEARCH: &str = "/etc/ceph/$cluster.conf, $home/.ceph/$cluster.conf, $cluster.conf";

/// Values of options that nobody has set and that are needed here, or that others are made of.
const DEFAULTS: [(&str, &str); 4] = [
    (
        "keyring",
        "/etc/ceph/$cluster.$name.keyring,/etc/ceph/$cluster.keyring,/etc/ceph/keyring,/etc/ceph/keyring.bin",
    ),
    ("run_dir", "/var/run/ceph"),
    ("mon_data", "/var/lib/ceph/mon/$cluster-$id"),
    ("osd_data", "/var/lib/ceph/osd/$cluster-$id"),
];

/// What the command line says, with Ceph's names.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Ceph's own options")]
#[group(skip)]
pub struct Arguments {
    /// Name of the cluster [default: ceph, or that of the file]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Who we are, without type: client.ID
    #[arg(long, alias = "user", value_name = "ID", conflicts_with = "name")]
    pub id: Option<String>,
    /// Who we are [default: client.admin]
    #[arg(short, long, value_name = "TYPE.ID")]
    pub name: Option<String>,
    /// The monitors
    #[arg(short, long, alias = "mon_host", value_name = "ADDRS")]
    pub mon_host: Option<String>,
    /// Files with keys, with commas in between
    #[arg(short, long, value_name = "FILES")]
    pub keyring: Option<String>,
    /// File with the key alone
    #[arg(short = 'K', long, value_name = "FILE")]
    pub keyfile: Option<String>,
    /// The key itself: whoever lists processes sees it
    #[arg(long, value_name = "KEY")]
    pub key: Option<Secret>,
}

/// A key as text; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text, to be decoded at once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A ceph.conf makes no sense.
    #[error("{}: {source}", path.display())]
    Parse {
        /// Which one.
        path: PathBuf,
        /// Where, and what was expected.
        source: ParseError,
    },
    /// The own name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An address, of a monitor or another one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nothing says where the monitors are.
    #[error("no monitors: neither -m, CEPH_ARGS nor mon_host in ceph.conf names them")]
    NoMonitors,
}

/// The configuration of this process.
pub struct Config {
    /// The cluster's name: what `$cluster` stands for.
    pub cluster: String,
    /// Who we are.
    pub name: Name,
    /// The ceph.conf in use.
    pub path: Option<PathBuf>,
    file: ConfFile,
    /// Options that were set by command line or environment, the stronger ones only.
    set: HashMap<String, Zeroizing<String>>,
    key: Option<Secret>,
    /// The command line names keyrings.
    keyring_asked: bool,
    /// Command line or `CEPH_ARGS` name a ceph.conf, a cluster or monitors.
    asked: bool,
    environment: Environment,
}

impl fmt::Debug for Config {
    /// Without the values: there may be keys among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, name, path, .. } = self;
        f.debug_struct("Config").field("cluster", cluster).field("name", name).field("path", path).finish()
    }
}

impl Config {
    /// Puts together what command line, environment and ceph.conf say. `conf` is the command line's choice of a
    /// file, or several with commas in between, of which the first that exists counts.
    ///
    /// # Errors
    /// A file that was asked for and is not there; one that makes no sense; a name that is none.
    pub fn load(
        arguments: &Arguments,
        conf: Option<&str>,
        environment: Environment,
    ) -> Result<Self, ConfigError> {
        let mut set = environment.arguments();
        if let Some(keyring) = environment.variable("CEPH_KEYRING") {
            set.entry("keyring".to_owned()).or_insert_with(|| keyring.to_owned().into());
        }
        let own = [
            ("cluster", &arguments.cluster),
            ("id", &arguments.id),
            ("name", &arguments.name),
            ("mon_host", &arguments.mon_host),
            ("keyring", &arguments.keyring),
            ("keyfile", &arguments.keyfile),
        ];
        for (option, value) in own {
            if let Some(value) = value {
                set.insert(option.to_owned(), value.clone().into());
                // Either of the two replaces the other.
                match option {
                    "id" => set.remove("name"),
                    "name" => set.remove("id"),
                    _ => None,
                };
            }
        }
        let text = |option: &str| set.get(option).map(|value| value.as_str());
        let name = Name::choose(text("name"), text("id"))?;
        let given = conf.or_else(|| text("conf")).map(str::to_owned);
        let asked = given.is_some() || ["cluster", "mon_host"].iter().any(|option| set.contains_key(*option));
        let mut this = Self {
            cluster: text("cluster").unwrap_or_default().to_owned(),
            name,
            path: None,
            file: ConfFile::default(),
            set,
            key: arguments.key.clone(),
            keyring_asked: arguments.keyring.is_some(),
            asked,
            environment,
        };
        this.read_file(given.as_deref())?;
        this.read_key()?;
        Ok(this)
    }

    /// Finds ceph.conf. Only one that was asked for must exist.
    fn read_file(&mut self, given: Option<&str>) -> Result<(), ConfigError> {
        let named_by_file = given.is_some() && self.cluster.is_empty();
        if self.cluster.is_empty() && given.is_none() {
            "ceph".clone_into(&mut self.cluster);
        }
        let wanted =
            given.map(str::to_owned).or_else(|| self.environment.variable("CEPH_CONF").map(str::to_owned));
        let list = wanted.as_deref().unwrap_or(SEARCH);
        let mut missing = None;
        for path in words(list).map(|path| PathBuf::from(self.expand(path))) {
            match fs::read(&path).map(Zeroizing::new) {
                Ok(text) => {
                    self.file = ConfFile::parse(&text)
                        .map_err(|source| ConfigError::Parse { path: path.clone(), source })?;
                    self.path = Some(path);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing = Some((path, error)),
                Err(source) => return Err(ConfigError::File { path, source }),
            }
        }
        if let (Some(_), None, Some((path, error))) = (&wanted, &self.path, missing) {
            return Err(ConfigError::File { path, source: error });
        }
        if named_by_file {
            let file =
                self.path.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
            let prefix = file.as_deref().and_then(|name| Some(name.split_once(".conf")?.0));
            prefix.unwrap_or("ceph").clone_into(&mut self.cluster);
        }
        Ok(())
    }

    /// The key is that of `--key`, else that in the file of `--keyfile`, else the option's.
    fn read_key(&mut self) -> Result<(), ConfigError> {
        if self.key.is_some() {
            return Ok(());
        }
        self.key = match self.value("keyfile").filter(|path| !path.is_empty()) {
            Some(path) if path == "-" => {
                let mut text = Zeroizing::new(String::new());
                io::Read::read_to_string(&mut io::stdin(), &mut text)
                    .map_err(|source| ConfigError::File { path: path.into(), source })?;
                Some(Secret::from(text.as_str()))
            }
            Some(path) => {
                let text = fs::read_to_string(&path)
                    .map(Zeroizing::new)
                    .map_err(|source| ConfigError::File { path: path.into(), source })?;
                Some(Secret::from(text.as_str()))
            }
            None => self.raw("key").filter(|key| !key.is_empty()).map(Secret::from),
        };
        Ok(())
    }

    /// The value of an option, with its names expanded; nothing if nobody has set it and there is no default here.
    #[must_use]
    pub fn value(&self, option: &str) -> Option<String> {
        self.raw(option).map(|value| self.expand(value))
    }

    /// The monitors, each with its addresses, if its host is found.
    ///
    /// # Errors
    /// Nobody says where they are, or what is said cannot be used.
    pub fn monitors(&self) -> Result<Vec<Result<AddrVec, Unresolved>>, ConfigError> {
        match self.value("mon_host").filter(|list| !list.trim().is_empty()) {
            Some(list) => Ok(entities(&list)?),
            None => Err(ConfigError::NoMonitors),
        }
    }

    /// Whether anything says that there is a cluster: an option that names it, its monitors or its ceph.conf, or a
    /// ceph.conf that sets something. Without that there is none to look for, as on a machine without Ceph; with it,
    /// monitors that are not named are a mistake.
    #[must_use]
    pub fn mentions_a_cluster(&self) -> bool {
        self.asked || !self.file.is_empty()
    }

    /// Our key, if it is given outside a keyring.
    #[must_use]
    pub fn key(&self) -> Option<&Secret> {
        self.key.as_ref()
    }

    /// The keyrings, in the order in which they are looked for.
    #[must_use]
    pub fn keyrings(&self) -> Vec<PathBuf> {
        let list = self.value("keyring").unwrap_or_default();
        words(&list).map(PathBuf::from).collect()
    }

    /// Whether the command line names them: who does so wants to hear if they are of no use.
    #[must_use]
    pub fn asks_for_a_keyring(&self) -> bool {
        self.keyring_asked
    }

    fn raw(&self, option: &str) -> Option<&str> {
        let name = self.name.to_string();
        let sections = [name.as_str(), self.name.kind_name(), "global"];
        let in_file = || sections.iter().find_map(|section| self.file.read(section, option));
        let default = || DEFAULTS.iter().find(|(name, _)| *name == option).map(|(_, value)| *value);
        self.set.get(option).map(|value| value.as_str()).or_else(in_file).or_else(default)
    }

    fn expand(&self, text: &str) -> String {
        expand::expand(text, &|name| {
            let value = match name {
                "cluster" => self.cluster.clone(),
                "name" => self.name.to_string(),
                "type" => self.name.kind_name().to_owned(),
                "id" | "num" => self.name.id.clone(),
                "pid" => std::process::id().to_string(),
                "home" => {
                    let home = self.environment.variable("HOME").unwrap_or_default();
                    return Some(Meaning::Home(home.to_owned()));
                }
                "host" => match self.raw("host") {
                    Some(host) if !host.is_empty() => host.to_owned(),
                    _ => self.environment.host(),
                },
                option => return self.raw(option).map(|value| Meaning::Option(value.to_owned())),
            };
            Some(Meaning::Text(value))
        })
    }
}

/// The parts of a list of files.
fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ';', ' ', '\t', '=']).filter(|word| !word.is_empty())
}
