//! Does a messenger bear what a system does not give, and times that nobody can wait for? Each test on each driver.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[macro_use]
mod rig;

use std::net::TcpStream;
use std::time::Duration;

use cephwire::codec::AddrVec;
use cephwire::{Policy, Setup};
use rig::{BOTH, Driver, Witness, any_port, client, eventually, osd, request, setup};

fn without_end(mut setup: Setup) -> Setup {
    setup.protocol.ready_timeout = Duration::MAX;
    setup.protocol.idle_timeout = Duration::MAX;
    setup.protocol.initial_backoff = Duration::MAX;
    setup.protocol.max_backoff = Duration::MAX;
    setup.net.silence = Duration::MAX;
    setup.net.bind_retry_delay = Duration::MAX;
    setup.net.tcp_keepalive = Some(Duration::MAX);
    setup
}

fn times_without_end_are_waited_for<D: Driver>() {
    for version in BOTH {
        let server = D::start(without_end(setup(osd(), Policy::stateless_server())));
        let saw = Witness::fast_sink();
        server.add_tail(saw.clone());
        // A listener for both versions looks at what comes first, for as long as it takes.
        let both = server.listen(&"any:127.0.0.1:0/0".parse().unwrap());
        let to =
            AddrVec(both.0.into_iter().filter(|addr| any_port(version).0[0].kind == addr.kind).collect());
        let other = D::start(without_end(setup(client(), Policy::lossy_client())));
        for tid in 1..=10 {
            other.connect(osd().kind, &to).send(request(tid, vec![1; 1000])).unwrap();
        }
        assert_eq!(other.end(Duration::MAX), []);
        saw.wait_messages(10);
        assert_eq!(server.end(Duration::MAX), []);
    }
}

/// A shutdown that waits for ever ends when somebody else has no such patience.
fn another_shutdown_ends_a_patient_one<D: Driver>() {
    let messenger = D::start(setup(client(), Policy::lossless_client()));
    let own = messenger.listen(&any_port(BOTH[0]));
    let nowhere: AddrVec = "v2:127.0.0.1:1/0".parse().unwrap();
    messenger.connect(osd().kind, &nowhere).send(request(1, vec![1; 10])).unwrap();
    std::thread::scope(|scope| {
        let patient = [(); 2].map(|()| scope.spawn(|| messenger.end(Duration::MAX)));
        eventually("it listens no more", || TcpStream::connect(own.0[0].socket.unwrap()).is_err());
        messenger.end(Duration::ZERO);
        for waiting in patient {
            waiting.join().unwrap();
        }
    });
    assert!(messenger.connect(osd().kind, &nowhere).is_closed());
}

on_each_driver! {
    times_without_end_are_waited_for
    another_shutdown_ends_a_patient_one
}

/// In a process of its own, whose threads would be larger than its memory can be.
#[cfg(feature = "blocking")]
#[test]
fn without_threads_there_is_no_messenger() {
    const INSIDE: &str = "CEPHWIRE_TEST_WITHOUT_THREADS";
    if std::env::var_os(INSIDE).is_some() {
        let error = cephwire::blocking::Messenger::new(setup(client(), Policy::lossy_client())).unwrap_err();
        println!("no messenger: {error}");
        return;
    }
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["without_threads_there_is_no_messenger", "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("RUST_MIN_STACK", (1_u64 << 60).to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && said.contains("no messenger"),
        "{said}{}",
        String::from_utf8_lossy(&out.stderr)
    );
}
