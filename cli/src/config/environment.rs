//! What does the environment say?

use std::collections::HashMap;
use std::fmt;

use zeroize::Zeroizing;

/// Environment variables and the host's name; a value, so that tests can have their own. There may be keys among them.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, Zeroizing<String>>,
}

impl fmt::Debug for Environment {
    /// Without the values: there may be keys among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// Short forms in `CEPH_ARGS`.
const SHORT: [(&str, &str); 5] =
    [("-c", "conf"), ("-n", "name"), ("-m", "mon_host"), ("-k", "keyring"), ("-K", "keyfile")];

/// Options without a value that Ceph's tools know.
const FLAGS: [&str; 7] =
    ["no_mon_config", "mon_config", "log_early", "foreground", "show_conf", "show_config", "nodaemon"];

impl Environment {
    /// That of this process. Variables that are not UTF-8 are not there.
    #[must_use]
    pub fn of_process() -> Self {
        let known = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?.into()))
        };
        Self { variables: std::env::vars_os().filter_map(known).collect() }
    }

    /// An environment of these variables.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned().into());
        Self { variables: variables.iter().map(owned).collect() }
    }

    /// One variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.as_str())
    }

    /// The host's name up to the first dot.
    #[must_use]
    pub fn host(&self) -> String {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .or_else(|| self.variable("HOSTNAME").map(str::to_owned))
            .unwrap_or_default();
        name.trim().split('.').next().unwrap_or_default().to_owned()
    }

    /// The options in `CEPH_ARGS`, by their names with underscores; the last one wins. Ceph cuts it at blanks,
    /// without quotes.
    #[must_use]
    pub(super) fn arguments(&self) -> HashMap<String, Zeroizing<String>> {
        let mut options = HashMap::new();
        let mut words = self.variable("CEPH_ARGS").unwrap_or_default().split_ascii_whitespace().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            let (name, value) = match (word.strip_prefix("--"), word.split_once('=')) {
                (Some(long), Some(_)) => {
                    let (name, value) = long.split_once('=').unwrap_or((long, ""));
                    (name.replace('-', "_"), Some(value))
                }
                (Some(long), None) => (long.replace('-', "_"), None),
                (None, _) => match SHORT.iter().find(|(short, _)| *short == word) {
                    Some((_, long)) => ((*long).to_owned(), None),
                    None => continue,
                },
            };
            let name = if name == "user" { "id".to_owned() } else { name };
            if FLAGS.contains(&name.as_str()) {
                continue;
            }
            let value = value.or_else(|| words.next_if(|next| !next.starts_with("--")));
            let Some(value) = value else { continue };
            match name.as_str() {
                "id" => options.remove("name"),
                "name" => options.remove("id"),
                _ => None,
            };
            options.insert(name, value.to_owned().into());
        }
        options
    }
}
