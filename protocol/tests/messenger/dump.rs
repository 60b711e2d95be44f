//! Is a dump what Ceph's `dump_messenger` prints, name by name?
//!
//! The golden files were checked against `AsyncMessenger::dump` and what it calls. `UPDATE_GOLDEN=1` writes them anew.

use std::sync::Arc;
use std::time::Duration;

use cephwire_protocol::dump::{MessengerDump, ProtocolDump, span};
use cephwire_protocol::throttle::Throttle;
use cephwire_protocol::{Loopback, Messenger, Options, Policy, Session, Version};
use serde_json::Value;

use crate::pair::{BOTH, Pair};

/// A server with a session that waits for a throttle, a newcomer and a loopback; and its client.
fn dumps(version: Version) -> [MessengerDump; 2] {
    let policy = Policy::stateful_server().throttled(Some(Throttle::new(15)), None);
    let mut pair = Pair::new(version, Policy::lossless_client(), policy, Options::default());
    pair.now += Duration::from_millis(1500);
    pair.send(1, 10);
    pair.send(2, 10);
    let now = pair.now + Duration::from_millis(250);
    let from = ([127, 0, 0, 1], 5001).into();
    let (newcomer, _) = Session::incoming(Arc::clone(&pair.server_local), from, version, now).unwrap();

    let mut messenger = Messenger::new();
    messenger.insert(pair.server.key().clone(), 0);
    messenger.accepting.insert(1).unwrap();
    let sessions = [&pair.server, &newcomer];
    let mut server =
        messenger.dump(&pair.server_local, |handle| sessions.get(*handle).map(|it| it.dump(now)));
    server.local_connection.push(Loopback::new(Arc::clone(&pair.server_local)).dump(&pair.server_local));

    let mut messenger = Messenger::new();
    messenger.insert(pair.client.key().clone(), 0);
    let client = messenger.dump(&pair.client_local, |_| Some(pair.client.dump(now)));
    [server, client]
}

#[test]
fn dumps_read_like_those_of_ceph() {
    for version in BOTH {
        let file = if version == Version::V1 { "dump_v1.json" } else { "dump_v2.json" };
        let path = format!("{}/tests/messenger/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = serde_json::to_string_pretty(&dumps(version)).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{file}; UPDATE_GOLDEN=1 writes it anew");
    }
}

/// All names in a value, each with its path; of a list, its first element's.
fn names(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            let path = format!("{path}.{name}");
            into.push(path.clone());
            names(value, &path, into);
        }),
        Value::Array(values) => values.iter().take(1).for_each(|value| names(value, path, into)),
        _ => {}
    }
}

/// The names in Ceph's source, in its order; nothing else but ours.
#[test]
fn no_name_is_missing() {
    let ours = ["paused_ago", "counters"];
    for version in BOTH {
        let [server, _] = dumps(version);
        let mut found = Vec::new();
        names(&serde_json::to_value(&server).unwrap(), "", &mut found);
        found.retain(|name| !ours.iter().any(|own| name.contains(own)));

        let name = if version == Version::V1 { "v1" } else { "v2" };
        let addr = ["type", "addr", "nonce"];
        let mut connection: Vec<String> = ["state", "messenger_nonce", "status", "status.connected"]
            .into_iter()
            .chain(["status.loopback", "socket_fd", "tcp_info", "conn_id", "peer", "peer.entity_name"])
            .chain(["peer.entity_name.type", "peer.entity_name.id", "peer.type", "peer.id", "peer.global_id"])
            .chain(["peer.addr", "peer.addr.addrvec", "last_connect_started_ago", "last_active_ago"])
            .chain(["recv_start_time_ago", "last_tick_id", "socket_addr", "target_addr", "port", "protocol"])
            .chain(["worker_id"])
            .map(str::to_owned)
            .collect();
        for field in addr {
            connection.extend(["socket_addr", "target_addr"].map(|owner| format!("{owner}.{field}")));
        }
        let peer_addrvec = addr.map(|field| format!("peer.addr.addrvec.{field}"));
        connection.push(format!("protocol.{name}"));
        let both = ["state", "con_mode", "connect_seq", "peer_global_seq"];
        let v2 =
            ["rev1", "crypto", "crypto.rx", "crypto.tx", "compression", "compression.rx", "compression.tx"];
        let fields = both.iter().chain(v2.iter().filter(|_| version == Version::V2));
        connection.extend(fields.map(|field| format!("protocol.{name}.{field}")));

        let mut expected: Vec<String> =
            ["nonce", "my_name", "my_name.type", "my_name.num", "my_addrs", "my_addrs.addrvec"]
                .into_iter()
                .chain([
                    "listen_sockets",
                    "dispatch_queue",
                    "dispatch_queue.length",
                    "dispatch_queue.max_age_ago",
                ])
                .chain([
                    "connections_count",
                    "connections",
                    "connections.addrvec",
                    "connections.async_connection",
                ])
                .chain(["anon_conns", "accepting_conns", "deleted_conns", "local_connection"])
                .map(|field| format!(".{field}"))
                .collect();
        for field in addr {
            expected.extend([format!(".my_addrs.addrvec.{field}"), format!(".connections.addrvec.{field}")]);
        }
        let of = |owner: &str, fields: &[String]| -> Vec<String> {
            fields.iter().map(|field| format!(".{owner}.{field}")).collect()
        };
        expected.extend(of("connections.async_connection", &connection));
        expected.extend(of("connections.async_connection", &peer_addrvec));
        // The newcomer has no address yet.
        expected.extend(of("accepting_conns", &connection));
        // The loopback is one of v1.
        let loopback: Vec<String> = connection
            .iter()
            .filter(|field| !v2.iter().any(|of_v2| **field == format!("protocol.{name}.{of_v2}")))
            .map(|field| field.replace("protocol.v2", "protocol.v1"))
            .chain(peer_addrvec)
            .collect();
        expected.extend(of("local_connection", &loopback));
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}

/// `timespan_str` in Ceph's `src/common/ceph_time.cc`.
#[test]
fn spans_of_time() {
    let day = 86_400;
    let rows = [
        (0, "0s"),
        (1, "1s"),
        (2, "2s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (2 * day - 1, "47h"),
        (2 * day, "2d"),
        (14 * day, "2w"),
        (84 * day - 1, "11w"),
        (84 * day, "2M"),
        (720 * day - 1, "23M"),
        (730 * day, "2y"),
    ];
    for (seconds, text) in rows {
        assert_eq!(span(Duration::from_secs(seconds)), text);
    }
    assert_eq!(span(Duration::from_millis(1250)), "1.25s");
    assert_eq!(span(Duration::from_millis(2999)), "2s");
}

/// The state has Ceph's names wherever the session is.
#[test]
fn states() {
    for version in BOTH {
        let mut pair =
            Pair::new(version, Policy::lossless_client(), Policy::stateful_server(), Options::default());
        let state = |session: &Session, now| {
            let dump = session.dump(now);
            let (ProtocolDump::V1 { state, .. } | ProtocolDump::V2 { state, .. }) = dump.protocol;
            (dump.state, state)
        };
        let open = if version == Version::V1 { "OPENED" } else { "READY" };
        assert_eq!(state(&pair.server, pair.now), ("STATE_CONNECTION_ESTABLISHED", open));
        pair.server.handle_eof(pair.now, pair.links.1).unwrap();
        assert_eq!(state(&pair.server, pair.now), ("STATE_CONNECTION_ESTABLISHED", "STANDBY"));
        pair.server.close(false);
        assert_eq!(state(&pair.server, pair.now), ("STATE_CLOSED", "CLOSED"));
        pair.client.handle_eof(pair.now, pair.links.0).unwrap();
        assert_eq!(state(&pair.client, pair.now), ("STATE_CONNECTING_RE", "START_CONNECT"));
        let link = pair.dialed_link();
        pair.client.handle_dialed(pair.now, link, Err(std::io::ErrorKind::TimedOut)).unwrap();
        assert_eq!(state(&pair.client, pair.now), ("STATE_CONNECTING", "START_CONNECT"));
    }
}
