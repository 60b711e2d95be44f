//! Does `cephwire probe` report what is so, name what went wrong, and exit as its help promises?

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod peers;

use cephwire_codec::v2::{Banner, method, mode};
use cephwire_codec::{EntityType, Features, MsgrFeatures};
use serde_json::{Value, json};

use peers::{Daemon, OldDaemon, cephwire, closed_port, objects, peer, says, status};

/// Probes in JSON with these options: the exit status and what was found at the address.
fn probe(addr: &str, options: &[&str]) -> (i32, Value) {
    let output = cephwire(&[&["probe", "-f", "json", addr], options].concat());
    let objects = objects(&output);
    assert_eq!(objects.len(), 1, "{objects:?} {:?}", output.stderr);
    (status(&output), objects[0].clone())
}

fn cause(finding: &Value, attempt: usize) -> &str {
    finding["attempts"][attempt]["error"]["cause"].as_str().unwrap_or("none")
}

#[test]
fn a_wrong_command_line_is_status_2() {
    for arguments in [
        &["probe"][..],
        &["probe", "127.0.0.1:x"],
        &["probe", "127.0.0.1:1", "--require", "trust"],
        &["probe", "127.0.0.1:1", "--try", "v3"],
        &["probe", "127.0.0.1:1", "-t", "0"],
        &["probe", "127.0.0.1:1", "-n", "nobody"],
        &["probe", "127.0.0.1:1", "-c", "/nowhere/ceph.conf"],
        &["probe", "127.0.0.1:1", "-f", "xml"],
    ] {
        let output = cephwire(arguments);
        assert_eq!(status(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_words_and_causes() {
    let help = String::from_utf8(cephwire(&["probe", "--help"]).stdout).unwrap();
    for text in ["secure", "revision-1", "session", "not-ceph", "other-version", "Exit status"] {
        assert!(help.contains(text), "{text}: {help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
}

#[test]
fn nobody_there_is_status_3() {
    let (code, found) = probe(&format!("v2:{}", closed_port()), &[]);
    assert_eq!((code, cause(&found, 0)), (3, "refused"));
    assert_eq!(found["status"], 3);
    // Nor is there anybody whose name is not found; the others are probed all the same.
    let (code, found) = probe("no-such-host.invalid", &[]);
    assert_eq!((code, cause(&found, 0)), (3, "name"));
    assert_eq!((&found["address"], &found["status"]), (&json!("no-such-host.invalid"), &json!(3)));
    let alive = format!("v2:{}", Daemon::new(EntityType::MON).listen());
    let output = cephwire(&["probe", "-f", "json", &format!("no-such-host.invalid,{alive}")]);
    let found = objects(&output);
    assert_eq!(status(&output), 3, "{found:?}");
    assert_eq!((cause(&found[0], 0), &found[1]["attempts"][0]["open"]), ("name", &json!(true)));
    let output = cephwire(&["probe", "no-such-host.invalid"]);
    assert_eq!((status(&output), output.stderr), (3, vec![]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("failed       name: \"no-such-host.invalid\" cannot be resolved"), "{text}");
}

#[test]
fn who_does_not_speak_ceph_is_named() {
    let silent = says(b"");
    for (addr, version, expected, hint) in [
        (says(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), "v2", "not-ceph", "an SSH server"),
        (says(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), "v1", "not-ceph", "an SSH server"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "v2", "not-ceph", "an HTTP server"),
        (says(b"\x15\x03\x01\x00\x02\x02\x46"), "v1", "not-ceph", "a TLS server"),
        (says(b"hello, this is something else entirely"), "v2", "not-ceph", "hello, this"),
        (silent, "v2", "silent", "no byte"),
        (silent, "v1", "silent", "no byte"),
        (peer(|_, _| {}), "v2", "closed", "closed by the peer"),
        (says(b"ceph v2\n\x10\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "v1", "other-version", "write v2:"),
        (OldDaemon { nonce: 0, version: 15, methods: vec![0] }.listen(), "v2", "other-version", "write v1:"),
    ] {
        // Only silence has to be waited for.
        let timeout = if expected == "silent" { "0.5" } else { "60" };
        let (code, found) = probe(&format!("{version}:{addr}"), &["-t", timeout]);
        assert_eq!((code, cause(&found, 0)), (1, expected), "{found}");
        let attempt = &found["attempts"][0];
        assert!(attempt["error"]["text"].as_str().unwrap().contains(hint), "{found}");
        assert_eq!((&attempt["spoken"], &attempt["open"]), (&json!(false), &json!(false)));
    }
}

#[test]
fn a_session_tells_all() {
    let daemon = Daemon { methods: vec![method::CEPHX, method::NONE], ..Daemon::new(EntityType::MON) };
    let addr = daemon.listen();
    let (code, found) = probe(&format!("v2:{addr}"), &[]);
    assert_eq!(code, 0, "{found}");
    let attempt = &found["attempts"][0];
    for (name, expected) in [
        ("address", json!(format!("v2:{addr}/0"))),
        ("version", json!("v2")),
        ("spoken", json!(true)),
        ("open", json!(true)),
        ("type", json!("mon")),
        ("peer", json!("mon.3")),
        ("addresses", json!([format!("v2:{addr}/0")])),
        ("methods", json!(["cephx", "none"])),
        ("modes", json!({ "cephx": ["secure", "crc"], "none": ["crc"] })),
        ("revision", json!("2.1")),
        ("method", json!("none")),
        ("mode", json!("crc")),
        ("compression", Value::Null),
        ("lossy", json!(true)),
        ("error", Value::Null),
    ] {
        assert_eq!(attempt[name], expected, "{name}: {attempt}");
    }
    assert_eq!(attempt["banner"]["supported"]["names"], json!(["REVISION_1"]));
    assert_eq!(attempt["features_required"]["hex"], format!("{:#x}", Features::MSG_ADDR2.0));
    let names = attempt["features"]["names"].as_array().unwrap();
    assert!(
        names.contains(&json!("SERVER_PACIFIC")) && !names.contains(&json!("SERVER_QUINCY")),
        "{names:?}"
    );
    assert!(attempt["sees_us_as"].as_str().unwrap().starts_with("v2:127.0.0.1:"));
    for phase in ["tcp", "banner", "auth", "session"] {
        assert!(attempt["times_us"][phase].as_f64().unwrap() > 0.0, "{phase}: {attempt}");
    }
    let (_, found) = probe(&format!("v2:{addr}"), &["--no-revision-1"]);
    assert_eq!(found["attempts"][0]["revision"], "2.0");
    // For people, the same in other words.
    let text = String::from_utf8(cephwire(&["probe", &format!("v2:{addr}")]).stdout).unwrap();
    for part in ["mon.3", "msgr 2.1", "cephx with secure or crc; none with crc", "SERVER_PACIFIC", "session "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\x1b') && text.lines().all(|line| line.len() <= 100), "{text}");
}

#[test]
fn requirements_decide_the_status() {
    let daemon = Daemon::new(EntityType::OSD);
    let both = Daemon { methods: vec![method::CEPHX, method::NONE], ..daemon.clone() }.listen();
    let strict = Daemon {
        methods: vec![method::CEPHX],
        modes: [vec![mode::CRC], vec![mode::SECURE]],
        banner: Banner {
            supported: MsgrFeatures::REVISION_1.union(MsgrFeatures::COMPRESSION),
            required: MsgrFeatures(0),
        },
        ..daemon
    };
    let strict = strict.listen();
    let old = OldDaemon { nonce: 7, version: 24, methods: vec![method::NONE] }.listen();
    let denying = OldDaemon { nonce: 7, version: 24, methods: vec![method::CEPHX] }.listen();
    let (v2_both, v2_strict) = (format!("v2:{both}"), format!("v2:{strict}"));
    let (v1_old, v1_denying) = (format!("v1:{old}"), format!("v1:{denying}"));
    for (addr, options, expected) in [
        (&v2_both, "--require secure,crc,cephx,none,v2,revision-1,session", 0),
        (&v2_both, "--refuse v1,gss,compression", 0),
        (&v2_both, "--refuse crc", 1),
        (&v2_both, "--refuse none", 1),
        (&v2_both, "--require compression", 1),
        (&v2_both, "--require v1", 1),
        (&v2_both, "--require gss", 1),
        (&v2_strict, "--require secure,cephx,compression,v2 --refuse crc,none,gss,v1,session", 0),
        (&v2_strict, "--require session", 1),
        (&v2_strict, "--require crc", 1),
        (&v2_strict, "--refuse secure", 1),
        (&v1_old, "--require v1,crc,none,session --refuse secure,v2,cephx", 0),
        (&v1_old, "--refuse crc", 1),
        (&v1_old, "--require secure", 1),
        (&v1_denying, "--refuse none,session", 0),
        // It does not say what it would take: what is not known is not met, in neither way.
        (&v1_denying, "--require cephx", 1),
        (&v1_denying, "--refuse cephx", 1),
        // Only what is tried counts.
        (&v2_both, "--try v2 --require v2", 0),
        (&v2_both, "--try v1", 1),
        (&v1_old, "--try v1 --require v1", 0),
    ] {
        let options: Vec<&str> = options.split(' ').collect();
        let (code, found) = probe(addr, &options);
        assert_eq!(code, expected, "{addr} {options:?}: {found}");
        assert_eq!(found["status"], expected);
    }
    // The whole is as bad as its worst part.
    let output = cephwire(&["probe", &v2_both, &format!("v2:{}", closed_port()), &v1_old]);
    assert_eq!(status(&output), 3);
}

#[test]
fn both_versions_are_tried_where_none_is_said() {
    let addr = Daemon::new(EntityType::MON).listen();
    let (code, found) = probe(&addr.to_string(), &["--require", "v2", "--refuse", "v1"]);
    assert_eq!(code, 0, "{found}");
    assert_eq!(found["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(cause(&found, 1), "other-version");
}

#[test]
fn the_cause_is_named() {
    let osd = Daemon::new(EntityType::OSD);
    let unknown = Features(1 << 63);
    let future = Banner { supported: MsgrFeatures(1), required: MsgrFeatures(1 << 40) };
    for (daemon, expected, hint) in [
        (
            Daemon { methods: vec![method::CEPHX], ..osd.clone() },
            "method",
            "the peer takes cephx, we have none",
        ),
        (
            Daemon { modes: [vec![mode::SECURE], vec![]], ..osd.clone() },
            "mode",
            "the peer takes secure, we have crc",
        ),
        (Daemon { required: unknown, ..osd.clone() }, "features", "requires features"),
        (Daemon { banner: future, ..osd.clone() }, "msgr-features", "requires"),
        (Daemon { nonce: 77, ..osd.clone() }, "address", "the address has no nonce"),
    ] {
        let (code, found) = probe(&format!("v2:{}", daemon.listen()), &[]);
        // Nothing was required of it, and it is Ceph.
        assert_eq!((code, cause(&found, 0)), (0, expected), "{found}");
        assert!(found["attempts"][0]["error"]["text"].as_str().unwrap().contains(hint), "{found}");
    }
    // With its nonce, the same daemon is content.
    let addr = Daemon { nonce: 77, ..osd }.listen();
    assert_eq!(probe(&format!("v2:{addr}/77"), &["--require", "session"]).0, 0);
    let (code, found) = probe(&format!("v2:{addr}/78"), &["--require", "session"]);
    assert_eq!((code, cause(&found, 0)), (1, "closed"), "{found}");
}

#[test]
fn a_daemon_of_v1_tells_its_nonce_and_what_it_is() {
    for (version, kind) in [(24, "osd"), (32, "mds"), (0, "mgr")] {
        let addr = OldDaemon { nonce: 4711, version, methods: vec![method::NONE] }.listen();
        let (code, found) = probe(&format!("v1:{addr}"), &["--require", "session"]);
        assert_eq!(code, 0, "{found}");
        let attempt = &found["attempts"][0];
        assert_eq!((&attempt["type"], &attempt["methods"]), (&json!(kind), &json!(["none"])));
        assert_eq!(attempt["calls_itself"], format!("v1:{addr}/4711"));
        // Another nonce than the daemon's is not corrected.
        let (code, found) = probe(&format!("v1:{addr}/1"), &["--require", "session"]);
        assert_eq!((code, cause(&found, 0)), (1, "address"), "{found}");
    }
}
