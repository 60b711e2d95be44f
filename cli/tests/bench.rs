//! Does `cephwire bench` measure? (Not how fast: that is for a quiet machine.)

#![expect(clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

fn cephwire() -> Command {
    Command::new(env!("CARGO_BIN_EXE_cephwire"))
}

fn measured(arguments: &[&str]) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let run = cephwire().arg("bench").args(arguments).args(["--seconds", "0.05", "-f", "json"]).output()?;
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&run.stdout)?;
    Ok(report["cases"].as_array().cloned().unwrap_or_default())
}

#[test]
fn every_driver_and_version_is_compared_with_plain_tcp() -> Result<(), Box<dyn std::error::Error>> {
    for driver in ["blocking", "tokio"] {
        for protocol in ["v1", "v2"] {
            let cases = measured(&[
                "--driver",
                driver,
                "--protocol",
                protocol,
                "--size",
                "0,4K,1M",
                "--depth",
                "1,8",
                "--connections",
                "2",
                "--rounds",
                "1",
            ])?;
            let sizes: Vec<_> =
                cases.iter().map(|case| (case["size"].as_u64(), case["depth"].as_u64())).collect();
            let expected = [(0, 1), (0, 8), (4096, 1), (4096, 8), (1 << 20, 1), (1 << 20, 8)];
            assert_eq!(sizes, expected.map(|(size, depth)| (Some(size), Some(depth))));
            for case in cases {
                let ours = &case["messenger"][0];
                assert!(ours["operations"].as_u64() > Some(0), "{case:#}");
                assert!(ours["latency_microseconds_p50"].as_f64() > Some(0.0), "{case:#}");
                // The server is another process: both ends have used some.
                assert!(ours["cpu_seconds_client"].as_f64() > Some(0.0), "{case:#}");
                assert!(ours["cpu_seconds_server"].as_f64() > Some(0.0), "{case:#}");
                assert!(case["ratio_to_raw_exchange"].as_f64() > Some(0.0), "{case:#}");
                assert!(case["ratio_to_raw_stream"].is_f64(), "{case:#}");
            }
        }
    }
    Ok(())
}

#[test]
fn modes_are_compared_in_the_same_rounds() -> Result<(), Box<dyn std::error::Error>> {
    for driver in ["blocking", "tokio"] {
        let cases = measured(&[
            "--driver",
            driver,
            "--mode",
            "crc,secure",
            "--size",
            "4K,256K",
            "--depth",
            "4",
            "--connections",
            "2",
            "--rounds",
            "1",
        ])?;
        let found: Vec<_> = cases.iter().map(|case| (case["size"].as_u64(), case["mode"].as_str())).collect();
        let expected = [(4096, "crc"), (4096, "secure"), (262_144, "crc"), (262_144, "secure")];
        assert_eq!(found, expected.map(|(size, mode)| (Some(size), Some(mode))));
        for case in &cases {
            assert!(case["messenger"][0]["operations"].as_u64() > Some(0), "{case:#}");
            assert_eq!(case["ratio_to_crc"].is_f64(), case["mode"] == "secure", "{case:#}");
        }
        let rate = |case: usize| cases[case]["messenger"][0]["operations_per_second"].as_f64();
        let (Some(crc), Some(secure)) = (rate(0), rate(1)) else { return Err("no rates".into()) };
        let ratio = cases[1]["ratio_to_crc"].as_f64().ok_or("no ratio")?;
        assert!((ratio - secure / crc).abs() < 1e-9, "{ratio}");
    }
    // One alone has nothing to be compared with.
    let cases = measured(&["--mode", "secure", "--rounds", "1"])?;
    assert_eq!((cases.len(), &cases[0]["ratio_to_crc"]), (1, &Value::Null));
    Ok(())
}

#[test]
fn the_ends_run_apart_with_keys() -> Result<(), Box<dyn std::error::Error>> {
    let keyring = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-keyring");
    let other = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-other-keyring");
    fs::write(&keyring, "[client.b]\n\tkey = AQBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==\n")?;
    fs::write(&other, "[client.b]\n\tkey = AQBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0Q==\n")?;
    let (keyring, other) = (keyring.to_string_lossy(), other.to_string_lossy());
    let mut server = cephwire()
        .args(["bench", "server", "v2:127.0.0.1:0", "--mode", "secure", "-k", &keyring, "--until-eof"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let addr = line.trim().strip_prefix("listening on ").ok_or("no address")?;
    let keys =
        |mode, keyring| ["client", addr, "-n", "client.b", "--mode", mode, "-c", "/dev/null", "-k", keyring];
    let cases = measured(&keys("crc,secure", &keyring))?;
    assert!(cases[0]["messenger"][0]["operations"].as_u64() > Some(0));
    // What the server does not allow, or does not know, is not measured.
    for arguments in [&keys("crc", &keyring)[..], &keys("secure", &other), &["client", addr]] {
        let refused = cephwire().arg("bench").args(arguments).args(["--seconds", "0.05"]).output()?;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(!refused.stderr.is_empty());
    }
    drop(server.stdin.take());
    assert!(server.wait()?.success());
    Ok(())
}

#[test]
fn both_directions_are_filled() -> Result<(), Box<dyn std::error::Error>> {
    for driver in ["blocking", "tokio"] {
        let arguments = ["--driver", driver, "--both-ways", "--size", "1M", "--depth", "8", "--rounds", "1"];
        for case in measured(&arguments)? {
            assert!(case["messenger"][0]["operations"].as_u64() > Some(0), "{case:#}");
            // There is no plain program to compare it with.
            assert!(case["ratio_to_raw_exchange"].is_null(), "{case:#}");
        }
    }
    Ok(())
}

#[test]
fn the_ends_run_apart() -> Result<(), Box<dyn std::error::Error>> {
    let mut server = cephwire()
        .args(["bench", "server", "v1:127.0.0.1:0", "--driver", "tokio", "--until-eof"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let addr = line.trim().strip_prefix("listening on ").ok_or("no address")?;
    let cases = measured(&["client", addr, "--size", "100", "--depth", "3"])?;
    assert!(cases[0]["messenger"][0]["operations"].as_u64() > Some(0));

    // It ends with its input, and then there is nobody.
    drop(server.stdin.take());
    assert!(server.wait()?.success());
    let refused = cephwire().args(["bench", "client", addr, "--seconds", "0.05"]).output()?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr)?.contains("refused"));
    Ok(())
}

#[test]
fn mistakes_are_told() -> Result<(), Box<dyn std::error::Error>> {
    for wrong in [
        "--mode none",
        "--size 1X",
        "--size 99G",
        "--depth 0",
        "--seconds 0",
        "--rounds 0",
        "--pin-client 9999",
        "--pin-server 1023",
        // What clap cannot see.
        "--protocol v1 --mode crc",
        "server v1:127.0.0.1:0 --mode crc",
        "server v2:127.0.0.1:0 --mode crc",
        "server v2:127.0.0.1:0 --mode crc -k /nowhere/keyring",
        "server v2:127.0.0.1:0 --mode crc -k /proc/self/status",
        "server v2:127.0.0.1:0 --pin 9999",
        "client v1:127.0.0.1:1 --mode crc --key AQBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==",
        "client v2:127.0.0.1:1 --mode crc -c /dev/null -k /nowhere/keyring",
        "client v2:127.0.0.1:1 --mode crc -c /nowhere/ceph.conf",
        "client v2:127.0.0.1:1 --mode crc -c /dev/null --key nonsense",
        "client v2:127.0.0.1:1 --mode crc -c /dev/null -n nobody",
        "client v2:127.0.0.1:1 --pin 9999",
    ] {
        let run = cephwire().arg("bench").args(wrong.split(' ')).env_remove("CEPH_ARGS").output()?;
        assert_eq!(run.status.code(), Some(2), "{wrong:?}: {}", String::from_utf8_lossy(&run.stderr));
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{wrong:?}");
    }
    // What goes wrong afterwards is another thing: this port is nobody's to listen at (TEST-NET-1).
    let run = cephwire().args(["bench", "server", "v2:192.0.2.1:7000"]).output()?;
    assert_eq!(run.status.code(), Some(1));
    Ok(())
}
