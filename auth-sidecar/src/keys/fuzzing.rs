//! Fuzzes the formats of sealed texts and records.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a fuzz target fails"
)]

use std::sync::LazyLock;

use behalf_contract::{Key, KeyMaterial, Keyring, Keys};
use jiff::Timestamp;

use super::purpose::Purpose;
use super::ring::Ring;
use super::sealed_record::{RecordContext, RecordKind, join, split};
use crate::random::Random;
use crate::session_id::{SessionId, SessionSecret};

const OBJECT: &str = "mcp/article";

/// Bytes that repeat, so that a failure can be reproduced.
struct Fixed;

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

static RING: LazyLock<Ring> = LazyLock::new(|| {
    let keys = |id: &str, byte| Keys {
        sealing: id.to_owned(),
        keys: vec![Key {
            id: id.to_owned(),
            material: KeyMaterial::new([byte; 32]),
            created_at: Timestamp::UNIX_EPOCH,
            retire_at: None,
        }],
    };
    Ring::new(&Keyring {
        sessions: keys("s1", 1),
        clients: keys("c1", 2),
    })
});

static GENUINE: LazyLock<String> = LazyLock::new(|| {
    let sealed = RING.seal(Purpose::Access, OBJECT, b"content", &Fixed);
    sealed.expect("sealing works")
});

/// No text opens except the one that was sealed, and that one only for its purpose.
pub fn sealed_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // The first byte tells where the input replaces the end of a sealed text.
    let kept = usize::from(data.first().copied().unwrap_or_default()).min(GENUINE.len());
    let changed = format!("{}{}", &GENUINE[..kept], text.get(1..).unwrap_or_default());
    for text in [text.as_ref(), changed.as_str()] {
        for purpose in Purpose::ALL {
            let opened = RING.open(purpose, OBJECT, text).is_ok();
            let genuine = purpose == Purpose::Access && text == *GENUINE;
            assert_eq!(opened, genuine, "{text}");
        }
    }
}

static ID: LazyLock<SessionId> = LazyLock::new(|| SessionId::generate(&Fixed));
static SECRET: LazyLock<SessionSecret> = LazyLock::new(|| SessionSecret::generate(&Fixed));

fn context() -> RecordContext<'static> {
    RecordContext {
        kind: RecordKind::Session,
        id: &ID,
        secret: &SECRET,
        revision: 1,
    }
}

static ENVELOPE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let sealed = RING.seal_record(OBJECT, context(), b"content", &Fixed);
    sealed.expect("sealing works")
});

/// An envelope that splits is the same when it is joined again. None opens except the one that was sealed.
pub fn envelope(data: &[u8]) {
    // The first byte tells where the input replaces the end of a sealed record.
    let kept = usize::from(data.first().copied().unwrap_or_default()).min(ENVELOPE.len());
    let changed = [&ENVELOPE[..kept], data.get(1..).unwrap_or_default()].concat();
    for envelope in [data, &changed] {
        if let Some((key_id, rest)) = split(envelope) {
            let joined = join(key_id, rest).expect("a key id is short");
            assert_eq!(joined, envelope);
        }
        let opened = RING.open_record(OBJECT, context(), envelope).is_ok();
        assert_eq!(opened, envelope == *ENVELOPE);
    }
}
