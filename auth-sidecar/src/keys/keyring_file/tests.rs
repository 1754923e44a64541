//! Tests of the keyring: sealing, opening and rotation.

use behalf_contract::{Key, KeyMaterial, Keys};
use behalf_entra::FixedClock;
use rstest::rstest;

use super::*;
use crate::keys::RecordKind;
use crate::random::SystemRandom;
use crate::session_id::{SessionId, SessionSecret};

const START: Timestamp = Timestamp::UNIX_EPOCH;

struct Fixture {
    directory: tempfile::TempDir,
    clock: Arc<FixedClock>,
}

fn key(id: &str, byte: u8, created_at: Timestamp) -> Key {
    Key {
        id: id.to_owned(),
        material: KeyMaterial::new([byte; 32]),
        created_at,
        retire_at: None,
    }
}

fn keyring(sealing: &str, keys: Vec<Key>) -> Keyring {
    let clients = Keys {
        sealing: "c1".to_owned(),
        keys: vec![key("c1", 200, START)],
    };
    Keyring {
        sessions: Keys {
            sealing: sealing.to_owned(),
            keys,
        },
        clients,
    }
}

impl Fixture {
    fn new(keyring: &Keyring) -> Self {
        let fixture = Self {
            directory: tempfile::tempdir().unwrap(),
            clock: Arc::new(FixedClock::new(START)),
        };
        fixture.write(keyring);
        fixture
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keyring.json")
    }

    fn write(&self, keyring: &Keyring) {
        std::fs::write(self.path(), serde_json::to_vec(keyring).unwrap()).unwrap();
    }

    fn handle(&self, object: &str) -> KeyringHandle {
        let clock = Arc::clone(&self.clock);
        KeyringHandle::load(self.path(), object, clock, Arc::new(SystemRandom)).unwrap()
    }
}

fn one_key() -> Fixture {
    Fixture::new(&keyring("k1", vec![key("k1", 1, START)]))
}

/// Regression: `gateway sample (static key and IV)`.
#[test]
fn opens_what_it_sealed_and_never_seals_alike() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    let [one, other] = [(); 2].map(|()| keys.seal(Purpose::Access, &"value").unwrap());
    assert_ne!(one, other);
    assert!(one.starts_with("bha1.k1."), "{one}");
    for text in [one, other] {
        assert_eq!(keys.open::<String>(Purpose::Access, &text).unwrap(), "value");
    }
}

/// Regression: `gateway sample (static key and IV)`, which authenticated nothing.
#[test]
fn any_flipped_bit_is_noticed() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    let sealed = keys.seal(Purpose::Access, &"value").unwrap();
    for index in 0..sealed.len() {
        let mut bytes = sealed.clone().into_bytes();
        bytes[index] ^= 1;
        let Ok(altered) = String::from_utf8(bytes) else {
            continue;
        };
        assert!(
            keys.open::<String>(Purpose::Access, &altered).is_err(),
            "{altered}"
        );
    }
    for length in 0..sealed.len() {
        assert!(
            keys.open::<String>(Purpose::Access, &sealed[..length]).is_err(),
            "{length}"
        );
    }
}

#[test]
fn a_value_sealed_for_one_purpose_opens_for_no_other() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    let sealed = keys.seal(Purpose::Access, &"value").unwrap();
    assert_eq!(
        keys.open::<String>(Purpose::Refresh, &sealed),
        Err(OpenError::Malformed)
    );
    let disguised = sealed.replace("bha1", "bhr1");
    assert_eq!(
        keys.open::<String>(Purpose::Refresh, &disguised),
        Err(OpenError::Seal)
    );
}

#[test]
fn a_value_sealed_for_one_object_opens_for_no_other() {
    let fixture = one_key();
    let sealed = fixture
        .handle("mcp/azure-devops")
        .seal(Purpose::Access, &"value")
        .unwrap();
    let opened = fixture
        .handle("mcp/another")
        .open::<String>(Purpose::Access, &sealed);
    assert_eq!(opened, Err(OpenError::Seal));
}

#[rstest]
#[case::nothing("")]
#[case::prefix_alone("bha1")]
#[case::no_body("bha1.k1.")]
#[case::no_key_id("bha1..AAAA")]
#[case::long_key_id("bha1.aaaaaaaaaaaaaaaaa.AAAA")]
#[case::upper_case_key_id("bha1.K1.AAAA")]
#[case::four_parts("bha1.k1.AAAA.AAAA")]
#[case::not_base64url("bha1.k1.AA+/")]
#[case::padded("bha1.k1.AAA=")]
#[case::shorter_than_a_nonce("bha1.k1.AAAA")]
#[case::shorter_than_a_tag("bha1.k1.AAAAAAAAAAAAAAAAAAAAAAAA")]
#[case::line_break("bha1.k1.AAAA\n")]
#[case::other_alphabet("bha1.k1.\u{e9}\u{e9}")]
fn other_texts_are_malformed(#[case] text: &str) {
    let fixture = one_key();
    assert_eq!(
        fixture
            .handle("mcp/azure-devops")
            .open::<String>(Purpose::Access, text),
        Err(OpenError::Malformed)
    );
}

#[test]
fn texts_beyond_the_bound_are_not_looked_at() {
    let fixture = one_key();
    let text = format!("bha1.k1.{}", "A".repeat(Purpose::Access.max_length()));
    assert_eq!(
        fixture
            .handle("mcp/azure-devops")
            .open::<String>(Purpose::Access, &text),
        Err(OpenError::Malformed)
    );
}

#[test]
fn client_ids_are_sealed_under_keys_of_their_own() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    let id = keys.seal(Purpose::Client, &"client").unwrap();
    assert!(id.starts_with("bhi1.c1."), "{id}");
    fixture.write(&keyring("k2", vec![key("k2", 2, START)]));
    keys.reload().unwrap();
    assert_eq!(keys.open::<String>(Purpose::Client, &id).unwrap(), "client");
}

#[test]
fn a_rotation_opens_the_old_and_seals_with_the_new() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    let old = keys.seal(Purpose::Access, &"value").unwrap();
    let later = START + SignedDuration::from_hours(1);
    fixture.write(&keyring("k2", vec![key("k1", 1, START), key("k2", 2, later)]));
    assert!(keys.reload().unwrap());
    assert!(!keys.reload().unwrap());
    assert_eq!(keys.open::<String>(Purpose::Access, &old).unwrap(), "value");
    assert!(
        keys.seal(Purpose::Access, &"value")
            .unwrap()
            .starts_with("bha1.k2.")
    );
    assert_eq!(keys.report().opening, ["k1", "k2"]);
    fixture.write(&keyring("k2", vec![key("k2", 2, later)]));
    keys.reload().unwrap();
    let opened = keys.open::<String>(Purpose::Access, &old);
    assert_eq!(
        opened,
        Err(OpenError::UnknownKey {
            rotation_pending: false
        })
    );
}

#[test]
fn an_unknown_key_id_reads_the_file_and_not_at_will() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    let both = vec![key("k1", 1, START), key("k2", 2, START)];
    fixture.write(&keyring("k2", both));
    let sealed = fixture
        .handle("mcp/azure-devops")
        .seal(Purpose::Access, &"value")
        .unwrap();
    assert!(matches!(
        keys.open::<String>(Purpose::Access, &sealed),
        Err(OpenError::UnknownKey { .. })
    ));
    fixture.clock.advance(UNKNOWN_KEY_PAUSE);
    assert_eq!(keys.open::<String>(Purpose::Access, &sealed).unwrap(), "value");
}

#[test]
fn an_unknown_key_is_told_apart_while_a_rotation_is_pending() {
    let later = START + SignedDuration::from_hours(1);
    let fixture = Fixture::new(&keyring("k1", vec![key("k1", 1, START), key("k2", 2, later)]));
    let text = one_key()
        .handle("mcp/azure-devops")
        .seal(Purpose::Access, &"value")
        .unwrap()
        .replace(".k1.", ".k9.");
    let opened = fixture
        .handle("mcp/azure-devops")
        .open::<String>(Purpose::Access, &text);
    assert_eq!(
        opened,
        Err(OpenError::UnknownKey {
            rotation_pending: true
        })
    );
}

#[test]
fn a_rotation_that_does_not_go_on_no_longer_explains_an_unknown_key() {
    let later = START + SignedDuration::from_secs(1);
    let fixture = Fixture::new(&keyring("k1", vec![key("k1", 1, START), key("k2", 2, later)]));
    let keys = fixture.handle("mcp/azure-devops");
    let text = keys
        .seal(Purpose::Access, &"value")
        .unwrap()
        .replace(".k1.", ".k9.");
    for (wait, rotation_pending) in [
        (SignedDuration::ZERO, true),
        (MAX_PENDING + SignedDuration::from_secs(1), false),
    ] {
        fixture.clock.advance(wait);
        assert_eq!(
            keys.open::<String>(Purpose::Access, &text),
            Err(OpenError::UnknownKey { rotation_pending })
        );
    }
}

#[test]
fn an_unusable_file_leaves_the_keys_in_use() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    let sealed = keys.seal(Purpose::Access, &"value").unwrap();
    let usable = std::fs::read(fixture.path()).unwrap();
    std::fs::write(fixture.path(), b"{").unwrap();
    assert!(!keys.report().unusable);
    assert!(matches!(keys.reload(), Err(MountedFileError::Unusable { .. })));
    assert!(keys.report().unusable);
    assert_eq!(keys.report().opening, ["k1"]);
    std::fs::remove_file(fixture.path()).unwrap();
    assert!(matches!(keys.reload(), Err(MountedFileError::Unreadable { .. })));
    assert_eq!(keys.open::<String>(Purpose::Access, &sealed).unwrap(), "value");
    std::fs::write(fixture.path(), usable).unwrap();
    assert!(!keys.reload().unwrap(), "the same keys");
    assert!(!keys.report().unusable);
}

#[test]
fn the_report_names_the_key_that_seals_next() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    assert_eq!(keys.report().next, None);
    let later = START + SignedDuration::from_hours(1);
    fixture.write(&keyring("k1", vec![key("k1", 1, START), key("k2", 2, later)]));
    keys.reload().unwrap();
    let report = keys.report();
    assert_eq!(
        (report.sealing.as_str(), report.next.as_deref()),
        ("k1", Some("k2"))
    );
}

#[test]
fn a_record_needs_its_session_its_secret_and_its_revision() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    let [id, other_id] = [(); 2].map(|()| SessionId::generate(&SystemRandom));
    let [secret, other_secret] = [(); 2].map(|()| SessionSecret::generate(&SystemRandom));
    let context = RecordContext {
        kind: RecordKind::Session,
        id: &id,
        secret: &secret,
        revision: 3,
    };
    let envelope = keys.seal_record(context, b"record").unwrap();
    assert_eq!(*keys.open_record(context, &envelope).unwrap(), b"record"[..]);
    let others = [
        RecordContext {
            id: &other_id,
            ..context
        },
        RecordContext {
            secret: &other_secret,
            ..context
        },
        RecordContext {
            revision: 2,
            ..context
        },
        RecordContext {
            kind: RecordKind::Tokens,
            ..context
        },
        RecordContext {
            kind: RecordKind::Downstream,
            ..context
        },
    ];
    for other in others {
        assert_eq!(keys.open_record(other, &envelope).unwrap_err(), OpenError::Seal);
    }
    let foreign = fixture.handle("mcp/another").open_record(context, &envelope);
    assert_eq!(foreign.unwrap_err(), OpenError::Seal);
}

#[test]
fn altered_and_cut_records_do_not_open() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    let (id, secret) = (
        SessionId::generate(&SystemRandom),
        SessionSecret::generate(&SystemRandom),
    );
    let context = RecordContext {
        kind: RecordKind::Session,
        id: &id,
        secret: &secret,
        revision: 1,
    };
    let envelope = keys.seal_record(context, b"record").unwrap();
    for index in 0..envelope.len() {
        let mut altered = envelope.clone();
        altered[index] ^= 0x80;
        assert!(keys.open_record(context, &altered).is_err(), "{index}");
        assert!(keys.open_record(context, &envelope[..index]).is_err(), "{index}");
    }
}

#[test]
fn debug_shows_ids_and_nothing_else() {
    let fixture = one_key();
    let keys = fixture.handle("mcp/azure-devops");
    let text = format!("{keys:?}");
    assert!(text.contains("k1"), "{text}");
    assert!(!text.contains("ring:") && !text.contains("1, 1"), "{text}");
}
