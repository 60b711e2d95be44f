#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;

const KEY: &str = "AQBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==";
const OTHER: &str = "AQDThAFr4Nz7KBAAV3x1kBKpz49/lNN33HftsA==";

fn entity(text: &str) -> Entity {
    text.parse().unwrap()
}

#[test]
fn as_ceph_writes_it() {
    let text = format!(
        "[mon.]\n\tkey = {OTHER}\n[client.admin]\n\tkey = {KEY}\n\tcaps mds = \"allow *\"\n\tcaps mon = \"allow *\"\n"
    );
    let keyring = Keyring::parse(&text).unwrap();
    assert_eq!(keyring.entries.len(), 2);
    assert_eq!(*keyring.key(&entity("client.admin")).unwrap().to_base64(), KEY);
    assert_eq!(keyring.key(&Entity::monitors()), Some(&OTHER.parse().unwrap()));
    assert_eq!(keyring.key(&entity("client.other")), None);
    let caps = &keyring.entries.get(&entity("client.admin")).unwrap().caps;
    assert_eq!(caps.get("mds").map(String::as_str), Some("allow *"));
    assert_eq!(*keyring.to_text(), text);
}

#[test]
fn as_people_write_it() {
    let text = format!(
        "\u{feff}; a comment\n[global]\nanything = goes\n\n  [ osd.3 ] # the third\n\
         key={KEY} ; now\n caps_mon = allow profile osd\n  caps   osd = \"allow \\\"x\\\" # ; no comment\"  # one\n\
         caps mgr = allow \\\n profile osd\nauid = 18446744073709551615\npending_key = {OTHER}\n[osd.3]\nkey = {OTHER}\n[osd.4]\nkey = \"{KEY}\""
    );
    let keyring = Keyring::parse(&text).unwrap();
    assert_eq!(*keyring.key(&entity("osd.3")).unwrap().to_base64(), OTHER);
    assert_eq!(*keyring.key(&entity("osd.4")).unwrap().to_base64(), KEY);
    let keyring = Keyring::parse(text.split("[osd.3]\n").next().unwrap()).unwrap();
    let entry = keyring.entries.get(&entity("osd.3")).unwrap();
    assert_eq!(*entry.key.to_base64(), KEY);
    assert_eq!(*entry.pending_key.as_ref().unwrap().to_base64(), OTHER);
    let caps: Vec<_> = entry.caps.iter().map(|(service, cap)| (service.as_str(), cap.as_str())).collect();
    let osd = "allow \"x\" # ; no comment";
    assert_eq!(caps, [("mgr", "allow  profile osd"), ("mon", "allow profile osd"), ("osd", osd)]);
    assert_eq!(Keyring::parse(&keyring.to_text()).unwrap(), keyring);
}

#[test]
fn what_is_wrong_and_where() {
    let at = |line, expected| Reason::Keyring { line, expected };
    let base64 = Reason::Text { what: "key", field: "text", expected: "base64" };
    let truncated = Reason::Truncated { what: "key", field: "secret", needed: 16, left: 12 };
    for (text, error) in [
        (format!("key = {KEY}"), at(1, "[TYPE.ID]")),
        ("\n[client.admin".to_owned(), at(2, "]")),
        ("[admin]".to_owned(), at(1, "[TYPE.ID]")),
        ("[host.a]".to_owned(), at(1, "[TYPE.ID]")),
        ("[client.a]\n[client.b]".to_owned(), at(1, "a key in this section")),
        ("[client.a]\n\n\n".to_owned(), at(1, "a key in this section")),
        (format!("[client.a]\nkey {KEY}"), at(2, "key, pending key, caps SERVICE or auid")),
        ("[client.a]\nkey".to_owned(), at(2, "[TYPE.ID] or NAME = VALUE")),
        ("[client.a]\ncaps = x".to_owned(), at(2, "key, pending key, caps SERVICE or auid")),
        // It would come out as what cannot be read. (Found by the fuzz target `keyring`.)
        ("[client.a]\ncaps mon\" = a # Q".to_owned(), at(2, "key, pending key, caps SERVICE or auid")),
        ("[client.a]\nsecret = x".to_owned(), at(2, "key, pending key, caps SERVICE or auid")),
        ("[client.a]\ncaps mon = \"allow".to_owned(), at(2, "a closing quotation mark")),
        ("[client.a]\ncaps mon = \"allow\" x".to_owned(), at(2, "a closing quotation mark")),
        ("[client.a]\nkey = x*".to_owned(), base64),
        (
            "[client.a]\nkey = AgBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==".to_owned(),
            Reason::KeyLength { kind: "aes256k", found: 16 },
        ),
        (
            "[client.a]\nkey = AwBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==".to_owned(),
            Reason::KeyType { found: 3 },
        ),
        ("[client.a]\nkey = AQBJcQFrE0B0JxAAiMO4X+VNesu28My2".to_owned(), truncated),
        (
            format!("[client.a]\nkey = {}", "A".repeat(300)),
            Reason::TooLong { what: "key", field: "base64", found: 300, limit: 256 },
        ),
    ] {
        assert_eq!(Keyring::parse(&text), Err(error), "{text}");
    }
}

#[test]
fn nothing_of_it_is_printed() {
    let keyring = Keyring::default().with(entity("osd.1"), KEY.parse().unwrap());
    assert!(format!("{keyring:?}").contains("osd.1") || format!("{keyring:?}").contains("\"1\""));
    for secret in ["iMO4X", "0xc3", "195", "c3b8", "Entry { key: CryptoKey(aes, [", "88"] {
        assert!(!format!("{keyring:?}").contains(secret), "{keyring:?}");
    }
}
