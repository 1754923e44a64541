//! A thief of the whole Redis and of the keyring finds no token.

use std::collections::BTreeSet;
use std::sync::Arc;

use aes_gcm::aead::Aead as _;
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use behalf_auth_sidecar::sessions::SignInAgain;
use behalf_contract::ExchangePlace::Sidecar as InSidecar;
use behalf_contract::Injection::Header;
use behalf_contract::RedisTopology;
use behalf_simulators::entra::{Effect, Fault, RequestKind};
use behalf_simulators::people::{ANA, BEN, CLIENT_ID};
use behalf_simulators::sign_in::{Browser, Visit};
use hkdf::Hkdf;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use url::Url;

use crate::redis_server::{RedisServer, store_at};
use crate::world::{CLIENT, KEY_MATERIAL, Login, Sidecar, World, call, read};

/// Every name from which the sidecar derives a subkey, and the kinds of records.
const NAMES: [&str; 13] = [
    "access",
    "refresh",
    "code",
    "request",
    "flow",
    "consent",
    "csrf",
    "client",
    "record",
    "pending",
    "user",
    "downstream",
    "summary",
];

/// The kinds of entries in the store.
const KINDS: [&str; 6] = ["session", "downstream", "user", "pending", "finished", "renewal"];

/// The keyring after the rotation: the key that sealed before, and the one that seals now.
const KEYS: [(&str, [u8; 32]); 2] = [("k1", KEY_MATERIAL), ("k2", [8; 32])];

fn hkdf(salt: &[u8], input: &[u8], info: &[u8]) -> [u8; 32] {
    let mut output = [0; 32];
    Hkdf::<Sha256>::new(Some(salt), input)
        .expand(info, &mut output)
        .unwrap();
    output
}

/// The subkey of a key for a purpose, as `auth-sidecar/src/keys/ring.rs` derives it.
fn subkey(material: &[u8; 32], name: &str) -> [u8; 32] {
    hkdf(b"behalf/keys/1", material, name.as_bytes())
}

/// Every subkey of every key.
fn subkeys() -> Vec<[u8; 32]> {
    let of_key = |(_, material)| NAMES.map(|name| subkey(&material, name));
    KEYS.into_iter().flat_map(of_key).collect()
}

/// Length of the beginning that decides whether a key is the right one.
const BEGINNING: usize = 32;

/// Decrypts a whole value if its beginning gives ASCII, as those of all of the sidecar's plaintexts in a store are: JSON, or the
/// header of a JWT.
fn decrypt_known(key: &[u8; 32], sealed: &[u8]) -> Option<Vec<u8>> {
    let beginning = &sealed[..sealed.len().min(12 + 16 + BEGINNING)];
    let is_known = decrypt(key, beginning)?.is_ascii();
    is_known.then(|| decrypt(key, sealed).unwrap())
}

/// Decrypts without the check of the tag, so that the thief need not know the associated data: the same key and nonce
/// give the same key stream.
fn decrypt(key: &[u8; 32], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<12>()?;
    let ciphertext = rest.get(..rest.len().checked_sub(16)?)?;
    let plaintext = Aes256Gcm::new(key.into())
        .encrypt(&Nonce::from(*nonce), ciphertext)
        .ok()?;
    Some(plaintext[..ciphertext.len()].to_vec())
}

/// The nonce and ciphertext of a value: after `prefix.key id.` of a sealed text, or after the head of a record.
fn sealed_parts(value: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![value.to_vec()];
    if let Ok(text) = std::str::from_utf8(value)
        && let Some(body) = text.rsplit('.').next()
        && let Ok(bytes) = URL_SAFE_NO_PAD.decode(body)
    {
        parts.push(bytes);
    }
    if let Some((head, rest)) = value.split_first_chunk::<2>() {
        // A session's value: length, summary, length, record, tokens.
        let length = usize::from(u16::from_be_bytes(*head));
        if let Some((summary, rest)) = rest.split_at_checked(length)
            && summary.starts_with(b"bhm1.")
        {
            let (length, rest) = rest.split_first_chunk::<2>().unwrap();
            let (record, tokens) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
            parts.extend([summary, record, tokens].into_iter().flat_map(sealed_parts));
        }
        parts.extend(rest.get(usize::from(head[1])..).map(<[u8]>::to_vec));
    }
    parts
}

/// Everything that the thief reads: keys, fields and each decryption with each key, as bytes and as text.
struct Loot {
    raw: Vec<Vec<u8>>,
    texts: Vec<String>,
}

impl Loot {
    /// `secrets` are the session secrets that the thief knows, if any.
    async fn of(redis: &RedisServer, secrets: &[Vec<u8>]) -> Self {
        let names: Vec<String> = redis.ask(&["KEYS", "*"]).await.unwrap();
        let mut values = Vec::new();
        let mut ids = BTreeSet::new();
        for name in &names {
            let fields: Vec<Vec<u8>> = redis.ask(&["HGETALL", name]).await.unwrap();
            values.extend(fields);
            let id = name.split(['{', '}']).nth(1).unwrap();
            ids.insert(URL_SAFE_NO_PAD.decode(id).unwrap());
        }
        let mut keys = subkeys();
        let mut inputs: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
        inputs.extend(ids.iter().cloned());
        inputs.extend(KEYS.map(|(_, material)| material.to_vec()));
        inputs.extend([Vec::new(), vec![0; 32]]);
        inputs.extend_from_slice(secrets);
        for (_, material) in KEYS {
            let salt = subkey(&material, "record");
            for (input, id) in inputs
                .iter()
                .flat_map(|input| ids.iter().map(move |id| (input, id)))
            {
                for label in [&b""[..], b"tokens", b"downstream"] {
                    keys.push(hkdf(&salt, input, &[id.as_slice(), label].concat()));
                }
            }
        }
        let (mut raw, mut texts) = (Vec::new(), names);
        for part in values.iter().flat_map(|value| sealed_parts(value)) {
            raw.extend(keys.iter().filter_map(|key| decrypt_known(key, &part)));
            raw.push(part);
        }
        texts.extend(
            raw.iter()
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        );
        Self { raw, texts }
    }

    fn contains(&self, wanted: &str) -> bool {
        self.texts.iter().any(|text| text.contains(wanted))
    }

    /// True if a token is there as text, or as in a record: its last part as the bytes that it encodes.
    fn contains_token(&self, token: &str) -> bool {
        let last = token.rsplit('.').next().unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(last);
        self.contains(last) || bytes.is_ok_and(|bytes| self.contains_bytes(&bytes))
    }

    fn contains_bytes(&self, wanted: &[u8]) -> bool {
        let mut raw = self.raw.iter();
        raw.any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
    }
}

/// The session secret in an access token or a code. Only its holder and the keyring together have it.
fn secret_of(purpose: &str, sealed: &str) -> Vec<u8> {
    let [_, id, body] = sealed.split('.').collect::<Vec<_>>()[..] else {
        panic!("not a sealed text: {sealed}")
    };
    let (_, material) = KEYS.into_iter().find(|key| key.0 == id).unwrap();
    let body = URL_SAFE_NO_PAD.decode(body).unwrap();
    let content = decrypt(&subkey(&material, purpose), &body).unwrap();
    if purpose == "access" {
        // Behind the version and the session's id.
        return content[17..49].to_vec();
    }
    let content: serde_json::Value = serde_json::from_slice(&content).unwrap();
    URL_SAFE_NO_PAD.decode(content["k"].as_str().unwrap()).unwrap()
}

/// A sidecar on a port, with its sessions in Redis.
struct Installation {
    world: World,
    redis: RedisServer,
    sidecar: Sidecar,
    origin: Url,
}

impl Installation {
    async fn start() -> Self {
        let (world, redis) = (World::start().await, RedisServer::start(&[]).await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let origin = Url::parse(&format!("http://localhost:{port}")).unwrap();
        let mut config = world.config_for_client(Header);
        config.public_url = origin.clone();
        let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
        let sidecar = world.sidecar_with_store(config, Arc::new(store));
        let app = sidecar.router.clone();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            world,
            redis,
            sidecar,
            origin,
        }
    }

    async fn calls(&self, login: &Login) {
        assert_eq!(self.sidecar.post(login, &call()).await.status(), StatusCode::OK);
    }

    /// Ana signs in, and Entra's token must be renewed after 20 minutes.
    async fn sign_in_for_half_an_hour(&self) -> Login {
        let refresh_token = self.world.refresh_token().await;
        let life = SignedDuration::from_mins(30);
        self.sidecar
            .sign_in_for(&self.world, life, Some(refresh_token))
            .await
    }

    /// Adds a key that seals from now on. The other one still opens.
    fn rotate(&self) {
        let path = self.world.file("keyring.json");
        let mut keyring: Value = serde_json::from_str(&read(&path)).unwrap();
        let (id, material) = KEYS[1];
        let key =
            json!({"id": id, "material": STANDARD.encode(material), "createdAt": "2026-01-02T00:00:00Z"});
        keyring["sessions"]["keys"].as_array_mut().unwrap().push(key);
        keyring["sessions"]["sealing"] = id.into();
        std::fs::write(path, keyring.to_string()).unwrap();
        assert!(self.sidecar.services.keyring.reload().unwrap());
    }

    /// Ana signs in with a browser, through the consent page, Entra and the callback. Returns the code for the client.
    async fn code_of_a_callback(&self) -> String {
        let callback = self.origin.join("/callback").unwrap();
        let control = self.world.control();
        control
            .add_redirect_uri(CLIENT_ID, callback.as_str())
            .await
            .unwrap();
        let mut authorize = self.origin.join("/authorize").unwrap();
        authorize.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", "http://127.0.0.1/callback"),
            ("code_challenge", &URL_SAFE_NO_PAD.encode([0; 32])),
            ("code_challenge_method", "S256"),
        ]);
        let visit = Visit::new(authorize, ANA.user_name);
        let signed_in = Browser::new().unwrap().sign_in(&visit).await.unwrap();
        signed_in.code.unwrap()
    }

    /// Steals everything while the tokens of this login are renewed.
    async fn stolen_during_a_renewal(&self, login: &Login) -> Loot {
        let control = self.world.control();
        let renewals = async || {
            control
                .requests_of(RequestKind::RefreshToken)
                .await
                .unwrap()
                .len()
        };
        let before = renewals().await;
        let hold = Fault::always([RequestKind::RefreshToken], Effect::Hold);
        control.add_fault(&hold).await.unwrap();
        let steals = async {
            while renewals().await == before {
                tokio::task::yield_now().await;
            }
            let loot = Loot::of(&self.redis, &[]).await;
            control.clear_faults().await.unwrap();
            loot
        };
        tokio::join!(self.calls(login), steals).1
    }
}

#[tokio::test]
async fn the_whole_store_and_the_keyring_yield_no_token() {
    let installation = Installation::start().await;
    let (world, sidecar) = (&installation.world, &installation.sidecar);
    let renewing = installation.sign_in_for_half_an_hour().await;
    let logins = [
        installation.sign_in_for_half_an_hour().await,
        sidecar.sign_in_as(world, BEN).await,
    ];
    for login in &logins {
        installation.calls(login).await;
    }
    installation.rotate();
    world.clock.advance(SignedDuration::from_mins(21));
    for login in &logins {
        installation.calls(login).await;
    }
    let refresh_token = &logins[1].refresh_token;
    let refreshed = sidecar.sessions.refresh(refresh_token, CLIENT, None, None).await;
    let refreshed = refreshed.unwrap();
    let newest = refreshed.access_token.expose();
    assert!(newest.starts_with("bha1.k2."), "sealed with the second key");
    let code = installation.code_of_a_callback().await;
    let session = sidecar.sessions.open(&refreshed.access_token).await.unwrap();
    let claims = r#"{"access_token":{"acrs":{"value":"c1"}}}"#;
    let again = SignInAgain {
        claims: Some(claims.to_owned()),
        consent: false,
    };
    sidecar.sessions.require_sign_in(&session, again).await.unwrap();

    let loot = installation.stolen_during_a_renewal(&renewing).await;
    for kind in KINDS {
        assert!(loot.contains(&format!("}}:{kind}")), "no entry {kind} was stolen");
    }
    let tokens = world.control().secrets().await.unwrap();
    assert!(tokens.len() > 4, "Entra issued too little: {}", tokens.len());
    assert!(loot.contains(BEN.object_id), "the summary is for administrators");
    assert!(
        loot.contains(&claims.replace('"', "\\\"")),
        "the thief cannot decrypt at all"
    );
    for token in &tokens {
        assert!(!loot.contains_token(&token.value), "{:?}", token.kind);
    }
    let of_clients = [&renewing, &logins[0], &logins[1]].map(|login| {
        let access = secret_of("access", &login.access_token);
        (access, vec![&*login.access_token, login.refresh_token.expose()])
    });
    let newer = [
        (
            secret_of("access", newest),
            vec![newest, refreshed.refresh_token.expose()],
        ),
        (secret_of("code", &code), vec![&*code]),
    ];
    for (secret, texts) in of_clients.iter().chain(&newer) {
        let secret_text = URL_SAFE_NO_PAD.encode(secret);
        for wanted in texts.iter().copied().chain([&*secret_text]) {
            assert!(!loot.contains(wanted), "a client's token");
        }
        assert!(!loot.contains_bytes(secret));
    }

    // The thief looks in the right place: with the secret of one access token he reads that session.
    let opened = Loot::of(&installation.redis, &[secret_of("access", newest)]).await;
    let found = tokens.iter().filter(|token| opened.contains_token(&token.value));
    assert!(found.count() >= 2, "the user token and the downstream token");
    assert!(!opened.contains_token(&logins[0].at_entra), "another session");
}

#[tokio::test]
async fn a_code_that_nobody_has_redeemed_leaves_no_token_in_the_store() {
    let (world, redis) = (World::start().await, RedisServer::start(&[]).await);
    let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
    let sidecar = world.sidecar_with_store(world.config(InSidecar, Header), Arc::new(store));
    let refresh_token = world.refresh_token().await;
    let at_entra = refresh_token.expose().to_owned();
    let hour = SignedDuration::from_hours(1);
    let (code, user_token) = sidecar.issue_code(&world, BEN, hour, Some(refresh_token)).await;
    let secret = secret_of("code", code.expose());

    let loot = Loot::of(&redis, &[]).await;
    assert!(loot.contains(BEN.object_id), "the summary is for administrators");
    assert!(!loot.contains_token(&user_token) && !loot.contains_token(&at_entra));
    assert!(!loot.contains(code.expose()) && !loot.contains(&URL_SAFE_NO_PAD.encode(&secret)));
    assert!(!loot.contains_bytes(&secret));

    // The thief looks in the right place: with the secret of the code he reads the session.
    let opened = Loot::of(&redis, &[secret]).await;
    assert!(opened.contains_token(&user_token) && opened.contains_token(&at_entra));
}
