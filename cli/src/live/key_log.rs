//! Where are the secrets of our own connections written to, for who wants to read their packets?
//!
//! To the file that `CEPHWIRE_KEY_LOG` names, as browsers do with `SSLKEYLOGFILE`; nowhere if it names none.
//! `cephwire decode --secrets` reads it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cephwire_protocol::key_log::{KeyLog, Line};
use zeroize::Zeroizing;

/// The variable that names the file.
const VARIABLE: &str = "CEPHWIRE_KEY_LOG";

/// A file that lines are appended to.
#[derive(Debug)]
pub(crate) struct KeyLogFile(Mutex<File>);

impl KeyLogFile {
    /// Appends to a file; a new one is readable for its owner alone.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    /// The file that the environment names. If it cannot be opened, that is said, and nothing is written.
    pub(crate) fn of_environment() -> Option<Arc<dyn KeyLog>> {
        let path = PathBuf::from(std::env::var_os(VARIABLE).filter(|path| !path.is_empty())?);
        match Self::open(&path) {
            Ok(file) => Some(Arc::new(file)),
            Err(error) => {
                let _ = writeln!(io::stderr(), "cephwire: {VARIABLE}: {}: {error}", path.display());
                None
            }
        }
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, line: &Line) {
        let text = Zeroizing::new(format!("{}\n", *line.to_text()));
        // In one piece, as others may append to the same file. A session goes on whether or not it is written.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_are_appended_for_the_owners_eyes_only() {
        let path = std::env::temp_dir().join(format!("cephwire-key-log-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let line =
            |byte: u8| Line::ConnectionSecret { transcript: [byte; 32], secret: vec![byte; 64].into() };
        KeyLogFile::open(&path).unwrap().log(&line(1));
        KeyLogFile::open(&path).unwrap().log(&line(2));
        let (text, mode) =
            (std::fs::read_to_string(&path).unwrap(), path.metadata().unwrap().permissions().mode());
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<_> = text.lines().map(|text| Line::parse(text).unwrap().unwrap()).collect();
        assert_eq!(lines, [line(1), line(2)]);
        assert_eq!(mode & 0o777, 0o600);
    }
}
