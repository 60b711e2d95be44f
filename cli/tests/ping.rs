//! Does `cephwire ping` tell who answers, and exit as its help promises?

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod peers;

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use cephwire_codec::EntityType;
use cephwire_codec::v2::method;
use serde_json::json;

use peers::{Daemon, OldDaemon, cephwire, closed_port, command, objects, status};

const HEALTH: &str =
    r#"{"health":{"status":"HEALTH_OK"},"mon_status":{"name":"a","state":"leader","quorum":[0]}}"#;

/// A host that nobody can have (RFC 6761).
const NOBODY: &str = "no-such-host.invalid";

#[test]
fn a_wrong_command_line_is_status_2() {
    for arguments in [
        &["ping", "127.0.0.1:x"][..],
        &["ping", "127.0.0.1:1", "-c", "0"],
        &["ping", "127.0.0.1:1", "-c", "ceph.conf"],
        &["ping", "127.0.0.1:1", "--key", "none"],
        &["ping", "127.0.0.1:1", "-i", "-1"],
        &["ping", "--conf", "/nowhere/ceph.conf"],
        &["ping", "--conf", "/dev/null"],
    ] {
        let output = cephwire(arguments);
        assert_eq!(status(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_monitor_answers_with_its_health() {
    let addr = Daemon { text: Some(HEALTH), keepalives: false, ..Daemon::new(EntityType::MON) }.listen();
    let addr = format!("v2:{addr}");
    let output = cephwire(&["ping", &addr]);
    assert_eq!(status(&output), 0);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["mon.3", "msgr 2.1", "tcp ", "session ", "HEALTH_OK", "mon.a is leader, quorum of 1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let output = cephwire(&["ping", "-f", "json", "-c", "3", "-i", "0.01", "-m", &addr]);
    assert_eq!(status(&output), 0);
    let [open, answers @ .., summary] = &objects(&output)[..] else { panic!("no output") };
    assert_eq!(open["address"], format!("{addr}/0"));
    for phase in ["tcp", "banner", "auth", "session"] {
        assert!(open["open"]["times_us"][phase].as_f64().unwrap() > 0.0, "{open}");
    }
    assert_eq!(answers.len(), 3);
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!((&answer["seq"], &answer["answer"]), (&json!(n + 1), &json!("ping")));
        assert_eq!(answer["text"]["mon_status"]["state"], "leader");
        assert!(answer["time_us"].as_f64().unwrap() > 0.0);
    }
    assert_eq!((&summary["summary"]["sent"], &summary["summary"]["received"]), (&json!(3), &json!(3)));
}

/// Whatever names a cluster is meant; a stand-in's health is nobody's.
#[test]
fn without_address_the_monitors_are_pinged() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without_address");
    fs::create_dir_all(&directory).unwrap();
    let addr = Daemon { text: Some(HEALTH), ..Daemon::new(EntityType::MON) }.listen();
    let (alive, dead) = (format!("v2:{addr}"), format!("v2:{}", closed_port()));
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = command(&[&["ping", "-f", "json"], arguments].concat());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let objects = objects(&output);
        assert!(objects.iter().all(|object| object.get("stand_in").is_none()), "{objects:?}");
        (status(&output), objects)
    };
    for (monitor, expected) in [(&alive, 0), (&dead, 1)] {
        let conf = directory.join(format!("{expected}.conf"));
        fs::write(&conf, format!("[global]\nmon host = {monitor}\n")).unwrap();
        let (conf, args) = (conf.to_str().unwrap(), format!("--mon-host={monitor}"));
        let conf_in_args = format!("-c {conf}");
        for (variables, arguments) in [
            (&[("CEPH_CONF", conf)][..], &[][..]),
            (&[("CEPH_ARGS", args.as_str())], &[]),
            (&[("CEPH_ARGS", conf_in_args.as_str())], &[]),
            (&[], &["--conf", conf]),
            (&[], &["-m", monitor]),
        ] {
            let (code, objects) = run(variables, arguments);
            assert_eq!(code, expected, "{variables:?} {arguments:?}: {objects:?}");
            assert_eq!(objects[0]["address"], format!("{monitor}/0"));
        }
    }
    // A cluster whose monitors are not named, as they are found in DNS, is not replaced by a stand-in.
    let conf = directory.join("nameless.conf");
    fs::write(&conf, "[global]\nfsid = 1\n").unwrap();
    let conf = conf.to_str().unwrap();
    for (variables, arguments) in [
        (&[("CEPH_CONF", conf)][..], &[][..]),
        (&[("CEPH_ARGS", "--cluster other")], &[]),
        (&[], &["--cluster", "other"]),
        (&[], &["-m", ""]),
    ] {
        let (code, objects) = run(variables, arguments);
        assert_eq!((code, objects), (2, vec![]), "{variables:?} {arguments:?}");
    }
}

#[test]
fn text_that_is_no_json_is_shown_as_it_is() {
    let addr = Daemon { text: Some("all is well"), ..Daemon::new(EntityType::MON) }.listen();
    let output = cephwire(&["ping", "-f", "json", &format!("v2:{addr}")]);
    assert_eq!(objects(&output)[1]["text"], "all is well");
    let text = String::from_utf8(cephwire(&["ping", "-v", &format!("v2:{addr}")]).stdout).unwrap();
    assert!(text.contains("all is well"), "{text}");
}

#[test]
fn other_daemons_give_a_sign_of_life() {
    let osd = Daemon { nonce: 77, ..Daemon::new(EntityType::OSD) }.listen();
    let old = OldDaemon { nonce: 77, version: 24, methods: vec![method::NONE] }.listen();
    for (addr, peer) in [(format!("v2:{osd}/77"), "osd.3"), (format!("v1:{old}"), "osd.?")] {
        let output = cephwire(&["ping", "-f", "json", &addr]);
        let objects = objects(&output);
        assert_eq!(status(&output), 0, "{objects:?}");
        assert_eq!(objects[0]["open"]["peer"], peer);
        assert_eq!((&objects[1]["answer"], &objects[1]["bytes"]), (&json!("keepalive2_ack"), &json!(0)));
    }
}

#[test]
fn no_answer_is_status_1() {
    let dumb = Daemon { keepalives: false, ..Daemon::new(EntityType::OSD) }.listen();
    let output = cephwire(&["ping", "-f", "json", "-t", "3", &format!("v2:{dumb}")]);
    let objects = objects(&output);
    assert_eq!(status(&output), 1, "{objects:?}");
    assert_eq!((&objects[1]["seq"], &objects[1]["answer"]), (&json!(1), &json!(null)));
    assert_eq!(objects[2]["summary"], json!({ "sent": 1, "received": 0 }));

    let output = cephwire(&["ping", &format!("v2:{}", closed_port())]);
    assert_eq!(status(&output), 1);
    assert!(String::from_utf8(output.stdout).unwrap().contains("refused"));
}

#[test]
fn a_keyring_that_is_of_no_use_is_told() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_use");
    fs::create_dir_all(&directory).unwrap();
    let (missing, others, directory) =
        (directory.join("missing"), directory.join("others"), directory.as_path());
    fs::write(&others, "[client.x]\n\tkey = AQBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==\n").unwrap();
    let addr = format!("v2:{}", Daemon { text: Some(HEALTH), ..Daemon::new(EntityType::MON) }.listen());
    for (path, reason) in
        [(&*missing, "No such file"), (directory, "directory"), (&*others, "no key of client.admin")]
    {
        let path = path.to_str().unwrap();
        for tool in ["ping", "probe"] {
            let output = cephwire(&[tool, &addr, "-k", path]);
            assert_eq!((status(&output), output.stdout), (2, vec![]), "{tool} {path}");
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(error.contains(path) && error.contains(reason), "{error}");
        }
    }
    // The first that can be read is taken, as in Ceph.
    let list = format!("{},{}", missing.display(), others.display());
    assert_eq!(status(&cephwire(&["ping", &addr, "-k", &list, "-n", "client.x"])), 0);
    // Elsewhere it may be named for other clusters; what is there and cannot be read is worth a line.
    for (path, lines) in [(&*missing, 0), (directory, 1), (&*others, 0)] {
        let output = command(&["ping", &addr]).env("CEPH_KEYRING", path).output().unwrap();
        let error = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!((status(&output), error.lines().count()), (0, lines), "{error}");
    }
}

#[test]
fn a_host_that_is_not_found_is_one_that_does_not_answer() {
    let addr = format!("v2:{}", Daemon { text: Some(HEALTH), ..Daemon::new(EntityType::MON) }.listen());
    let both = format!("{NOBODY},{addr}");
    for arguments in
        [&[NOBODY, addr.as_str()][..], &[addr.as_str(), NOBODY], &[both.as_str()], &["-m", both.as_str()]]
    {
        let output = cephwire(&[&["ping", "-f", "json"], arguments].concat());
        let objects = objects(&output);
        assert_eq!(status(&output), 1, "{objects:?}");
        let failed: Vec<_> = objects.iter().filter(|object| object["error"].is_object()).collect();
        assert!(
            matches!(failed[..], [one] if one["address"] == NOBODY && one["error"]["cause"] == "name"),
            "{objects:?}"
        );
        // The other is pinged all the same.
        assert!(objects.iter().any(|object| object["summary"]["received"] == 1), "{objects:?}");
    }
    let output = cephwire(&["ping", NOBODY]);
    assert_eq!(status(&output), 1);
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("no-such-host.invalid: name: "));
    // Who knows `ceph ping mon.a` is told what is wanted here.
    let text = String::from_utf8(cephwire(&["ping", "mon.a"]).stdout).unwrap();
    assert!(text.starts_with("mon.a: name: ") && text.contains("the address is wanted"), "{text}");
    // What is no address at all is seen before anybody is pinged.
    let output = cephwire(&["ping", &addr, "127.0.0.1:x"]);
    assert_eq!((status(&output), output.stdout), (2, vec![]));
}

/// Closes its standard output before it can have written all of it.
fn unread(arguments: &[&str]) -> Output {
    let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let alive = format!("v2:{}", Daemon { text: Some(HEALTH), ..Daemon::new(EntityType::MON) }.listen());
    let dumb = format!("v2:{}", Daemon { keepalives: false, ..Daemon::new(EntityType::OSD) }.listen());
    let dead = format!("v2:{}", closed_port());
    for format in ["plain", "json"] {
        // It does not go on for nobody: that would take days.
        let many = ["ping", "-f", format, "-c", "1000000000", "-i", "0.001", &alive];
        for (arguments, expected) in [
            (&many[..], 0),
            (&["ping", "-f", format, &alive], 0),
            (&["ping", "-f", format, "-t", "0.5", &dumb], 1),
            (&["ping", "-f", format, &dead], 1),
        ] {
            let output = unread(arguments);
            assert_eq!(status(&output), expected, "{arguments:?}");
            assert!(output.stderr.is_empty(), "{arguments:?}");
        }
    }
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let alive = format!("v2:{}", Daemon { text: Some(HEALTH), ..Daemon::new(EntityType::MON) }.listen());
    for tool in ["ping", "probe"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(&[tool, &alive]).stdout(full).output().unwrap();
        assert_eq!(status(&output), 1, "{tool}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("standard output"), "{tool}");
    }
}

#[test]
fn the_other_version_is_tried_too() {
    let old = OldDaemon { nonce: 0, version: 24, methods: vec![method::NONE] }.listen();
    // Without prefix: v2 first, which this one does not speak.
    let output = cephwire(&["ping", &old.to_string()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("other-version") && text.contains("msgr 1"), "{text}");
    let output = cephwire(&["ping", "--try", "v2", &old.to_string()]);
    assert_eq!(status(&output), 1);
}
