//! Does the command `cephwire decode` keep what its help promises: output, exit status, both formats?

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const V1: &str = "pacific-v1-cephx-bad-auth-alpha.pcap";
const V2: &str = "pacific-v2crc-cephx-keepalive-timeout-alpha.pcap";
const FOREIGN: &str = "pacific-v2crc-cephx-bad-banner-alpha.pcap";
const ZIPPED: &str = "pacific-v2crc-none-keepalive-alpha.pcap.gz";

fn capture(file: &str) -> PathBuf {
    support::testdata().join("captures").join(file)
}

fn cephwire(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cephwire"));
    command.args(arguments).env_remove("CLICOLOR_FORCE").stdin(Stdio::null());
    command
}

/// Runs the command, without standard input.
fn run(arguments: &[&str], files: &[&Path]) -> Output {
    cephwire(arguments).args(files).output().unwrap()
}

/// Runs the command with `input` as standard input.
fn run_with(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = cephwire(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).and_then(|()| stdin.flush()));
    let output = child.wait_with_output().unwrap();
    // It need not have read all of it.
    let _ = writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The objects of JSON output, the summary apart.
fn objects(output: &Output) -> (Vec<Value>, Value) {
    let mut objects: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = objects.pop().unwrap();
    assert!(objects.iter().all(|object| object.get("summary").is_none()));
    (objects, last["summary"].clone())
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let file = capture(V1);
    for arguments in [
        &[][..],
        &["encode"],
        &["decode"],
        &["decode", "-f", "xml"],
        &["decode", "--only", "gossip"],
        &["decode", "--only", "message,gossip"],
        &["decode", "--port", "3300"],
        // There are none without keys.
        &["decode", "--show-secrets", "-fplain"],
    ] {
        let files: &[&Path] = if arguments.len() > 2 { &[&file] } else { &[] };
        let output = run(arguments, files);
        assert_eq!(status(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_the_environment() {
    let help = text(&run(&["--help"], &[]).stdout);
    for name in ["CEPH_CONF", "CEPH_ARGS", "CEPH_KEYRING", "CEPHWIRE_KEY_LOG", "NO_COLOR"] {
        assert!(help.contains(name), "{name}: {help}");
    }
    assert!(text(&run(&["--version"], &[]).stdout).starts_with("cephwire 0."));
}

#[test]
fn help_names_all_frames() {
    let output = run(&["decode", "--help"], &[]);
    assert_eq!(status(&output), 0);
    let help = text(&output.stdout);
    for name in ["banner", "connect_reply", "session_reconnect_ok", "message", "encrypted", "missing"] {
        assert!(help.contains(name), "{name}: {help}");
    }
    assert!(help.lines().all(|line| line.len() <= 120), "{help}");
}

#[test]
fn nothing_wrong_is_status_0() {
    let sealed = capture("pacific-v2secure-cephx-session-alpha.pcap.gz");
    for file in [capture(V1), capture(V2), capture(FOREIGN), capture(ZIPPED), sealed] {
        for format in ["plain", "json"] {
            let output = run(&["decode", "-f", format], &[&file]);
            assert_eq!(status(&output), 0, "{file:?}");
            assert!(output.stderr.is_empty(), "{file:?}");
        }
    }
}

#[test]
fn a_capture_that_cannot_be_read_is_status_1() {
    let directory = tempfile("unreadable");
    let no_capture = directory.join("text");
    fs::write(&no_capture, "This is no capture, but plain text.").unwrap();
    let truncated = directory.join("truncated.pcap");
    let whole = fs::read(capture(V2)).unwrap();
    fs::write(&truncated, &whole[..whole.len() - 100]).unwrap();
    let truncated_gz = directory.join("truncated.pcap.gz");
    let zipped = fs::read(capture(ZIPPED)).unwrap();
    fs::write(&truncated_gz, &zipped[..zipped.len() / 2]).unwrap();
    let empty = directory.join("empty");
    fs::write(&empty, "").unwrap();
    for file in [directory.join("missing"), directory.clone(), no_capture, empty, truncated, truncated_gz] {
        let plain = run(&["decode"], &[&file]);
        assert_eq!(status(&plain), 1, "{file:?}");
        assert!(text(&plain.stderr).contains(file.to_str().unwrap()), "{file:?}");
        assert!(text(&plain.stdout).lines().last().unwrap().ends_with(" 1 errors"), "{file:?}");
        let json = run(&["decode", "-f", "json"], &[&file]);
        assert_eq!(status(&json), 1, "{file:?}");
        let (objects, summary) = objects(&json);
        assert_eq!(summary["errors"], 1, "{file:?}");
        let errors: Vec<_> = objects.iter().filter(|object| object.get("error").is_some()).collect();
        assert_eq!(errors.len(), 1, "{file:?}");
        assert_eq!(errors[0]["file"], file.to_str().unwrap());
        // The others are decoded all the same.
        let both = run(&["decode", "-f", "json"], &[&file, &capture(V1)]);
        assert_eq!(status(&both), 1);
        assert!(self::objects(&both).1["frames"].as_u64() > summary["frames"].as_u64());
    }
}

#[test]
fn a_bad_crc_is_status_1() {
    let mut packets = support::packets::read(&fs::read(capture(V1)).unwrap());
    let decoded = support::decode(&capture(V1));
    let message = decoded.records.iter().find(|record| record.name() == "message").unwrap();
    support::packets::flip(&mut packets, message.src, message.dst, message.offset + 60, 1);
    let file = support::packets::write(&packets);
    let plain = run_with(&["decode", "-"], &file);
    assert_eq!(status(&plain), 1);
    assert_eq!(text(&plain.stdout).matches("(BAD CRC ").count(), 1);
    let json = run_with(&["decode", "-f", "json", "-"], &file);
    assert_eq!(status(&json), 1);
    let (objects, summary) = objects(&json);
    assert_eq!(objects.iter().filter(|object| object["crc"] == "bad").count(), 1);
    assert_eq!(summary["errors"], 1);
}

#[test]
fn standard_input_and_gzip_are_the_same() {
    let file = support::file("pacific-v2crc-none-keepalive-alpha");
    let direct = run(&["decode"], &[&capture(ZIPPED)]);
    let zipped = run_with(&["decode", "-"], &fs::read(capture(ZIPPED)).unwrap());
    let plain = run_with(&["decode", "-"], &file);
    assert_eq!(direct.stdout, zipped.stdout);
    assert_eq!(direct.stdout, plain.stdout);
    assert_eq!(status(&plain), 0);
}

#[test]
fn several_files_are_counted_together() {
    let count =
        |files: &[&Path]| objects(&run(&["decode", "-f", "json"], files)).1["frames"].as_u64().unwrap();
    let (one, other) = (capture(V1), capture(V2));
    assert_eq!(count(&[&one, &other]), count(&[&one]) + count(&[&other]));
}

#[test]
fn only_prints_these_and_counts_all() {
    let file = capture("kernel61-v1-cephx-cephfs-evict-alpha.pcap.gz");
    let (all, summary) = objects(&run(&["decode", "-f", "json"], &[&file]));
    let (some, same) = objects(&run(&["decode", "-f", "json", "--only", "message,ack"], &[&file]));
    let wanted: Vec<_> =
        all.into_iter().filter(|object| object["frame"] == "message" || object["frame"] == "ack").collect();
    assert!(wanted.len() > 500);
    assert_eq!(some, wanted);
    assert_eq!(same, summary);
}

/// The fields that every record has.
const ALWAYS: [&str; 9] = ["file", "conn", "time", "src", "dst", "proto", "offset", "len", "frame"];
/// The fields that a message has as well.
const MESSAGE: [&str; 13] = [
    "seq",
    "tid",
    "type",
    "type_name",
    "priority",
    "version",
    "front",
    "middle",
    "data",
    "front_crc",
    "middle_crc",
    "data_crc",
    "crc",
];
/// Frames without fields.
const BARE: [&str; 4] = ["keepalive", "close", "wait", "encrypted"];

#[test]
fn json_has_all_fields_and_its_summary_adds_up() {
    let files = support::files();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let output = run(&["decode", "-f", "json"], &files);
    assert_eq!(status(&output), 0);
    let (objects, summary) = objects(&output);
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut connections = HashSet::new();
    for object in &objects {
        assert!(ALWAYS.iter().all(|field| object.get(field).is_some()), "{object}");
        let frame = object["frame"].as_str().unwrap();
        let len = object["len"].as_u64().unwrap();
        let time = object["time"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z') && time.contains('T'), "{object}");
        connections.insert((object["file"].clone(), object["conn"].clone()));
        *sums.entry("bytes").or_default() += len;
        let sum = match frame {
            "encrypted" => "encrypted_bytes",
            "cut" => "cut_bytes",
            "foreign" => "foreign_bytes",
            _ => "",
        };
        if sum.is_empty() {
            *sums.entry("frames").or_default() += 1;
            assert!(object["proto"] == "v1" || object["proto"] == "v2", "{object}");
        } else {
            *sums.entry(sum).or_default() += len;
        }
        if frame == "message" {
            *sums.entry("messages").or_default() += 1;
            assert!(MESSAGE.iter().all(|field| object.get(field).is_some()), "{object}");
            assert!(["ok", "bad", "off"].contains(&object["crc"].as_str().unwrap()), "{object}");
        } else if !(BARE.contains(&frame) || frame == "banner" && object["proto"] == "v1") {
            assert!(object.as_object().unwrap().len() > ALWAYS.len(), "{object}");
        }
    }
    for (name, sum) in sums {
        assert_eq!(summary[name], sum, "{name}");
    }
    assert_eq!(summary["errors"], 0);
    assert!(summary["connections"].as_u64().unwrap() >= connections.len() as u64);
}

#[test]
fn compressed_messages_show_both_lengths() {
    let file = capture("reef-snappy-v2crc-cephx-peers-alpha.pcap.gz");
    let (objects, _) = objects(&run(&["decode", "-f", "json"], &[&file]));
    let compressed: Vec<_> = objects.iter().filter(|object| object.get("compressed").is_some()).collect();
    assert!(!compressed.is_empty());
    for object in compressed {
        let logical = ["front", "middle", "data"].map(|part| object[part].as_u64().unwrap());
        assert!(
            logical.iter().sum::<u64>() + 41 > object["len"].as_u64().unwrap() - 32 - 4 - 13 - 41,
            "{object}"
        );
        assert!(object["compressed"]["front"].is_u64(), "{object}");
    }
}

#[test]
fn no_colour_unless_on_a_terminal() {
    for format in ["plain", "json"] {
        let output = run(&["decode", "-f", format], &[&capture(V1), Path::new("/nonexistent")]);
        assert!(!output.stdout.contains(&0x1b));
        assert!(!output.stderr.contains(&0x1b));
    }
    let coloured = cephwire(&["decode"]).arg(capture(V1)).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(coloured.stdout.contains(&0x1b));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let file = capture("kernel61-v1-cephx-cephfs-evict-alpha.pcap.gz");
    for format in ["plain", "json"] {
        let mut child = cephwire(&["decode", "-f", format])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 16];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(status(&output), 0);
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

/// What the receiver's log and our line have in common: `osd.0 v1:127.0.0.1:23116/19598 21`, then the word and the
/// version of the message, then its lengths.
fn received(line: &str) -> Option<(String, String)> {
    let (head, rest) = line.split_once(" <== ")?.1.split_once(" ==== ")?;
    let (text, lengths) = rest.rsplit_once(" ==== ")?;
    let word = text.split([' ', '(', '{']).next()?;
    let version = text.rsplit(' ').next()?;
    let lengths = lengths.split(' ').next()?;
    Some((head.to_owned(), format!("{word} {version} {lengths}")))
}

#[test]
fn plain_messages_read_like_the_receivers_log() {
    for name in [
        "pacific-v1-cephx-keepalive-alpha",
        "nautilus-simple-v1-cephx-peers-alpha",
        "pacific-v2crc-cephx-osd-pause-alpha",
        "reef-snappy-v2crc-cephx-peers-alpha",
    ] {
        let path = support::files().into_iter().find(|path| support::name(path) == name).unwrap();
        let output = run(&["decode"], &[&path]);
        let log = support::log(name);
        let logged: HashSet<_> = log.lines().filter_map(received).collect();
        let lines = text(&output.stdout);
        let missing: Vec<_> =
            lines.lines().filter(|line| received(line).is_some_and(|line| !logged.contains(&line))).collect();
        assert!(lines.contains(" ==== ") && missing.is_empty(), "{name}: {missing:#?}");
    }
}

#[test]
fn plain_lines_are_these() {
    let lines = text(&run(&["decode"], &[&capture(V2)]).stdout);
    let first: Vec<&str> = lines.lines().take(2).map(|line| line.split_once(" -- ").unwrap().1).collect();
    assert!(first[0].ends_with(" banner supported 0x1 required 0x0 con 0"), "{first:?}");
    let last = lines.lines().last().unwrap();
    assert!(last.contains(" connections, ") && last.ends_with(", 0 errors"), "{last}");
}

/// An empty directory for a test's files.
fn tempfile(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("command-{name}"));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

const SEALED: &str = "pacific-v2secure-cephx-renew-alpha";

#[test]
fn keys_open_what_is_sealed() {
    let file = capture(&format!("{SEALED}.pcap.gz"));
    let (keyring, secrets) = (capture(&format!("{SEALED}.keyring")), capture(&format!("{SEALED}.secrets")));
    for (option, given) in [("--keyring", &keyring), ("-k", &keyring), ("--secrets", &secrets)] {
        let output = run(&["decode", "-f", "json", option, given.to_str().unwrap()], &[&file]);
        assert_eq!(status(&output), 0);
        let (objects, summary) = objects(&output);
        assert_eq!((&summary["encrypted_bytes"], &summary["messages"]), (&0.into(), &134.into()));
        assert_eq!(summary["signatures"], 14);
        let session = objects.iter().find(|object| object["cephx"]["is"] == "session").unwrap();
        assert_eq!(session["cephx"]["auth_ticket"]["service"], "auth");
    }
    // From a pipe they open it in one go, as tickets come before they are used.
    let piped =
        run_with(&["decode", "-f", "json", "-k", keyring.to_str().unwrap(), "-"], &support::file(SEALED));
    assert_eq!((status(&piped), &objects(&piped).1["encrypted_bytes"]), (0, &0.into()));
    // Without them nothing is said of what is inside.
    let output = run(&["decode", "-f", "json"], &[&file]);
    assert_eq!(status(&output), 0);
    let (objects, summary) = objects(&output);
    assert!(summary["encrypted_bytes"].as_u64() > Some(0) && summary.get("signatures").is_none());
    let silent = |object: &Value| object.get("cephx").is_none() && object.get("signature_check").is_none();
    assert!(objects.iter().all(silent));
}

#[test]
fn secrets_are_shown_only_if_asked_for() {
    let file = capture(&format!("{SEALED}.pcap.gz"));
    let keyring = capture(&format!("{SEALED}.keyring"));
    // Everything that opens something: the last word of each line.
    let of_file = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().filter(|line| line.contains("key = ") || line.starts_with("CEPHWIRE"));
        lines.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let found = of_file(&capture(&format!("{SEALED}.secrets")));
    let given = of_file(&keyring);
    assert!(found.len() > 20 && given.len() > 3);
    for format in ["plain", "json"] {
        let arguments = ["decode", "-f", format, "-k", keyring.to_str().unwrap(), "--show-secrets"];
        let output = text(&run(&arguments, &[&file]).stdout);
        assert!(found.iter().all(|secret| output.contains(secret)), "{format}");
        assert!(given.iter().all(|secret| !output.contains(secret)), "{format}");
        let output = text(&run(&arguments[..5], &[&file]).stdout);
        assert!(found.iter().chain(&given).all(|secret| !output.contains(secret)), "{format}");
    }
}

#[test]
fn keyrings_come_one_by_one_or_as_a_list() {
    let directory = tempfile("lists");
    let file = capture(&format!("{SEALED}.pcap.gz"));
    let whole = capture(&format!("{SEALED}.keyring"));
    // Each entity in a file of its own.
    let text = fs::read_to_string(&whole).unwrap();
    let paths: Vec<String> = text
        .split("\n[")
        .enumerate()
        .map(|(n, entity)| {
            let path = directory.join(n.to_string());
            let bracket = if n > 0 { "[" } else { "" };
            fs::write(&path, format!("{bracket}{entity}\n")).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect();
    assert!(paths.len() > 3);
    let expected = run(&["decode", "-k", whole.to_str().unwrap()], &[&file]).stdout;
    let list = paths.join(",");
    assert_eq!(run(&["decode", "-k", &list], &[&file]).stdout, expected);
    let mut repeated = vec!["decode"];
    paths.iter().for_each(|path| repeated.extend(["-k", path.as_str()]));
    assert_eq!(run(&repeated, &[&file]).stdout, expected);
    let secrets = capture(&format!("{SEALED}.secrets"));
    let twice = format!("{0},{0}", secrets.to_str().unwrap());
    let once = run(&["decode", "--secrets", secrets.to_str().unwrap()], &[&file]);
    assert_eq!(run(&["decode", "--secrets", &twice], &[&file]).stdout, once.stdout);
    assert_eq!(status(&once), 0);
}

#[test]
fn json_can_be_pretty() {
    let missing = Path::new("/nowhere/capture");
    let of = |format| run(&["decode", "-f", format], &[&capture(V1), missing]);
    let (plain, pretty) = (of("json"), of("json-pretty"));
    assert_eq!((status(&plain), status(&pretty)), (1, 1));
    let read = |output: &Output| {
        let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        objects.collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(read(&plain), read(&pretty));
    assert!(text(&pretty.stdout).starts_with("{\n  \"file\""));
}

#[test]
fn a_wrong_key_is_status_1_and_none_at_all_status_2() {
    let directory = tempfile("keys");
    let file = capture(&format!("{SEALED}.pcap.gz"));
    // Another cluster's.
    let other = directory.join("other");
    fs::write(&other, support::keyring("pacific-v2secure-cephx-session-alpha")).unwrap();
    let output = run(&["decode", "-k", other.to_str().unwrap()], &[&file]);
    assert_eq!(status(&output), 1);
    let expected = "error the key of client.admin does not open the session key: another one was used";
    assert!(text(&output.stdout).contains(expected));
    let bad = directory.join("bad");
    fs::write(&bad, "# a remark\nneither one nor the other\n").unwrap();
    for (option, path) in
        [("-k", &bad), ("--secrets", &bad), ("-k", &directory), ("--secrets", &directory.join("no"))]
    {
        let output = run(&["decode", option, path.to_str().unwrap()], &[&file]);
        assert_eq!(status(&output), 2, "{option} {path:?}");
        assert!(output.stdout.is_empty());
        let error = text(&output.stderr);
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert_eq!(error.contains("line 2"), path == &bad, "{error}");
    }
}
