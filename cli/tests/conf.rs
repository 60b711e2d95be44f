//! Is the configuration found and read as Ceph does it?
//!
//! `testdata/conf/lookups.tsv` is what `ceph-conf` of 16.2.15 said about the files beside it; `testdata/lab/conf-live`
//! asks the installed one again.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use cephwire_cli::config::{Arguments, Config, ConfigError, Environment};

/// Where this reader is more forgiving than Ceph's on purpose: file, key, what is read.
const FORGIVEN: [(&str, &str, &str); 10] = [
    ("basic", "mon-host", "1.2.3.4"),
    ("nofinal", "mon_host", "1.2.3.4"),
    ("indenthead", "fsid", "b"),
    ("blankfirst", "fsid", "b"),
    ("nosection2", "fsid", "q"),
    ("nosection3", "fsid", "q"),
    ("nosection3", "mon_host", "1"),
    ("cont2", "mon_host", "1.1.1.1"),
    ("keys", "mon_initial_members", "d"),
    ("dashkey", "log_file", "d"),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/conf")
}

fn load(conf: &str, name: &str) -> Result<Config, ConfigError> {
    let arguments = Arguments { name: Some(name.to_owned()), ..Arguments::default() };
    Config::load(&arguments, Some(conf), Environment::of(&[("HOME", "/home/someone")]))
}

#[test]
fn files_are_read_as_ceph_reads_them() {
    let table = fs::read_to_string(directory().join("lookups.tsv")).unwrap();
    let mut forgiven = 0;
    for line in table.lines() {
        let [file, entity, key, outcome, value] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?}");
        };
        let path = directory().join(format!("{file}.conf"));
        let found = load(path.to_str().unwrap(), entity).map(|config| config.value(key));
        if let Some((.., value)) = FORGIVEN.iter().find(|row| (row.0, row.1) == (file, key)) {
            assert_ne!(outcome, "value", "{line}: nothing to forgive");
            assert_eq!(found.unwrap().as_deref(), Some(*value), "{line}");
            forgiven += 1;
            continue;
        }
        match (outcome, found) {
            ("value", Ok(found)) => assert_eq!(found.as_deref(), Some(value), "{line}"),
            ("absent", Ok(found)) => assert_eq!(found, None, "{line}"),
            ("refused", Err(ConfigError::Parse { .. })) => {}
            (_, found) => panic!("{line}: {found:?}"),
        }
    }
    assert_eq!(forgiven, FORGIVEN.len());
}

#[test]
fn a_mistake_is_named_with_its_place() {
    for (file, message) in [
        ("noeq", "line 2, column 9: expected ="),
        ("quotes", "line 4, column 14: expected the closing quote"),
        ("quotes2", "line 2, column 14: expected the end of the line"),
        ("unclosed", "line 1, column 8: expected ]"),
        ("emptysect", "line 1, column 2: expected the name of a section"),
        ("badutf", "line 2, column 1: expected UTF-8"),
    ] {
        let path = directory().join(format!("{file}.conf"));
        let error = load(path.to_str().unwrap(), "client.admin").unwrap_err().to_string();
        assert!(error.ends_with(message), "{file}: {error}");
    }
}

/// A directory of this test with these files in it.
fn files(test: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&directory);
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

#[test]
fn the_stronger_source_wins() {
    let home = files(
        "the_stronger_source_wins",
        &[
            (".ceph/cephwire-test.conf", "[global]\nmon host = 127.0.0.1\nkeyring = file\nlog_file = file\n"),
            (".ceph/other.conf", "[global]\nlog_file = $cluster\n"),
            ("a.conf", "[global]\nlog_file = $cluster-a\n"),
        ],
    );
    let home = home.to_str().unwrap();
    let (conf, missing) = (format!("{home}/a.conf"), format!("{home}/missing.conf"));
    let load = |arguments: Arguments, conf: Option<&str>, more: &[(&str, &str)]| {
        let variables = [&[("HOME", home)], more].concat();
        Config::load(&arguments, conf, Environment::of(&variables))
    };
    let none = Arguments::default;
    // A cluster that no machine has a file for in /etc/ceph.
    let test = || Arguments { cluster: Some("cephwire-test".into()), ..none() };
    let log_file = |config: Result<Config, ConfigError>| config.unwrap().value("log_file").unwrap();

    let config = load(test(), None, &[]).unwrap();
    assert_eq!(config.path.as_deref(), Some(Path::new(&format!("{home}/.ceph/cephwire-test.conf"))));
    assert_eq!(
        (config.cluster.as_str(), config.name.to_string().as_str()),
        ("cephwire-test", "client.admin")
    );
    assert_eq!(
        config.monitors().unwrap()[0].as_ref().unwrap().to_string(),
        "[v2:127.0.0.1:3300/0,v1:127.0.0.1:6789/0]"
    );
    assert_eq!(config.keyrings(), [PathBuf::from("file")]);
    let other = Arguments { cluster: Some("other".into()), ..none() };
    assert_eq!(log_file(load(other.clone(), None, &[])), "other");
    // A file that is named gives the cluster its name, unless that is named too; CEPH_CONF does not.
    assert_eq!(log_file(load(none(), Some(&conf), &[])), "a-a");
    assert_eq!(log_file(load(other, Some(&conf), &[])), "other-a");
    assert_eq!(log_file(load(none(), None, &[("CEPH_CONF", &conf)])), "ceph-a");
    assert_eq!(log_file(load(none(), None, &[("CEPH_ARGS", &format!("-c {conf}"))])), "a-a");
    // The first that exists counts; one must.
    assert_eq!(log_file(load(none(), Some(&format!("{missing}, {conf}")), &[])), "a-a");
    for (conf, more) in [(Some(missing.as_str()), None), (None, Some(("CEPH_CONF", missing.as_str())))] {
        let error = load(none(), conf, more.as_slice()).unwrap_err();
        assert!(
            matches!(&error, ConfigError::File { path, .. } if path.ends_with("missing.conf")),
            "{error}"
        );
        assert!(std::error::Error::source(&error).is_some_and(|source| source.is::<std::io::Error>()));
    }
    let nobody = Config::load(&test(), None, Environment::of(&[("HOME", "/nowhere")])).unwrap();
    assert!(matches!(nobody.monitors(), Err(ConfigError::NoMonitors)));
    let defaults = nobody.keyrings();
    assert_eq!(defaults[0], Path::new("/etc/ceph/cephwire-test.client.admin.keyring"));
    assert_eq!(defaults.len(), 4);

    // CEPH_KEYRING is stronger than the file, CEPH_ARGS than that, the command line than all.
    let keyrings = |arguments, more: &[(&str, &str)]| load(arguments, None, more).unwrap().keyrings();
    let environment = [("CEPH_KEYRING", "env"), ("CEPH_ARGS", "--keyring=args --id x")];
    assert_eq!(keyrings(test(), &environment[..1]), [PathBuf::from("env")]);
    assert_eq!(keyrings(test(), &environment), [PathBuf::from("args")]);
    let own = Arguments { keyring: Some("own,$id".into()), ..test() };
    assert_eq!(keyrings(own, &environment), [PathBuf::from("own"), PathBuf::from("x")]);
}

#[test]
fn ceph_args_are_read_as_ceph_reads_them() {
    let load = |arguments: &Arguments, args: &str| {
        let environment = Environment::of(&[("CEPH_ARGS", args), ("HOME", "/nowhere")]);
        Config::load(arguments, Some("/dev/null"), environment).unwrap()
    };
    let none = Arguments::default();
    let config = load(
        &none,
        "--mon-host 127.0.0.9:7000 --debug-ms=1 --no-mon-config -n osd.7 --ms_type async --log-early -x -k $id.key",
    );
    assert_eq!(config.name.to_string(), "osd.7");
    assert_eq!(
        config.monitors().unwrap()[0].as_ref().unwrap().to_string(),
        "[v2:127.0.0.9:7000/0,v1:127.0.0.9:7000/0]"
    );
    assert_eq!(config.value("debug_ms").as_deref(), Some("1"));
    assert_eq!(config.value("ms_type").as_deref(), Some("async"));
    assert_eq!(config.keyrings(), [PathBuf::from("7.key")]);
    // The last one wins, whether --id or --name; the command line beats both.
    assert_eq!(load(&none, "--name osd.1 --id me").name.to_string(), "client.me");
    assert_eq!(load(&none, "--id me --name=mon.a -- --id you").name.to_string(), "mon.a");
    let own = Arguments { id: Some("own".into()), ..Arguments::default() };
    assert_eq!(load(&own, "--name osd.1").name.to_string(), "client.own");
}

#[test]
fn names_are_checked() {
    for (name, on_the_wire) in [
        ("client.admin", "client.?"),
        ("client.7", "client.?"),
        ("osd.7", "osd.7"),
        ("mon.a", "mon.?"),
        ("mds.a.b", "mds.?"),
        ("mgr.x", "mgr.?"),
    ] {
        assert_eq!(load("/dev/null", name).unwrap().name.on_the_wire().to_string(), on_the_wire);
    }
    for name in ["admin", "client.", "auth.1", "any.x", "host.x", ""] {
        assert!(matches!(load("/dev/null", name), Err(ConfigError::Name(_))), "{name}");
    }
}

#[test]
fn keys_are_found_and_never_printed() {
    let home = files(
        "keys_are_found_and_never_printed",
        &[("k.conf", "[global]\nkey = infile==\n"), ("kf", "inkeyfile==\n")],
    );
    let (conf, keyfile) = (home.join("k.conf"), home.join("kf"));
    let (conf, keyfile) = (conf.to_str(), keyfile.to_str().map(str::to_owned));
    let key = |arguments: &Arguments, args: &str| {
        let environment = Environment::of(&[("CEPH_ARGS", args)]);
        let config = Config::load(arguments, conf, environment.clone()).unwrap();
        let printed = format!("{config:?} {arguments:?} {environment:?} {:?}", config.key());
        assert!(!printed.contains("=="), "{printed}");
        config.key().unwrap().reveal().to_owned()
    };
    let none = Arguments::default();
    assert_eq!(key(&none, ""), "infile==");
    assert_eq!(key(&none, "--key inargs=="), "inargs==");
    let with_file = Arguments { keyfile: keyfile.clone(), ..Arguments::default() };
    assert_eq!(key(&with_file, "--key inargs=="), "inkeyfile==");
    assert_eq!(key(&Arguments { key: Some("own==".into()), keyfile, ..none }, ""), "own==");
}
