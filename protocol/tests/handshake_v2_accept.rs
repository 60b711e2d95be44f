//! Does an accepted connection of v2 get from the first byte to an open session as the spec says?
//!
//! The host accepts, the script is the client. Rows are those of session2.md.

mod script;

use script::v2::ident;
use script::{Host, Setup, V2};

#[test]
fn opens() {
    let host = Host::new(Setup::default());
    let mut peer = host.accept::<V2>();
    peer.enter();
    let server = peer.open(ident(7, 10));
    assert_ne!(server.cookie, 0);
    assert_eq!(host.told(0), ["open Server"]);
}
