//! A listener whose connections are all in use.

use behalf_runtime::{Limits, WhenFull};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{
    FOR_EVER, PREFACE, SETTINGS, SHORT, connect, head_of_answer, is_served, limits, listen, to_the_end,
};

/// The limits of a probe port, with all the time in the world: only the number of places ends a connection.
fn patient_probes() -> Limits {
    Limits {
        first_bytes: FOR_EVER,
        head: FOR_EVER,
        ..Limits::probes(FOR_EVER)
    }
}

async fn occupy(address: std::net::SocketAddr, sent: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..patient_probes().connections {
        let mut stream = connect(address).await;
        stream.write_all(sent).await.unwrap();
        held.push(stream);
    }
    held
}

#[rstest::rstest]
#[case::silent(b"")]
#[case::in_the_head(b"GET / HTTP/1.1\r\n")]
#[tokio::test]
async fn a_probe_gets_in_and_the_oldest_connection_goes(#[case] sent: &[u8]) {
    let (address, _end) = listen(patient_probes()).await;
    let mut held = occupy(address, sent).await;
    for number in 0..20 {
        assert!(is_served(address).await, "probe {number}");
    }
    assert!(to_the_end(&mut held[0]).await.is_empty(), "the oldest was closed");
    let newest = held.last_mut().unwrap();
    let rest: &[u8] = if sent.is_empty() {
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    } else {
        b"host: a\r\n\r\n"
    };
    newest.write_all(rest).await.unwrap();
    assert!(head_of_answer(newest).await.unwrap().starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_probe_port_keeps_no_connection_after_its_answer() {
    let (address, _end) = listen(patient_probes()).await;
    let mut stream = connect(address).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = String::from_utf8(to_the_end(&mut stream).await).unwrap();
    assert!(
        answer.contains("connection: close") && answer.ends_with("there"),
        "{answer}"
    );
}

#[tokio::test]
async fn http2_connections_have_a_bound_of_their_own_and_http1_goes_on() {
    let (address, _end) = listen(Limits {
        connections: 3,
        ..limits()
    })
    .await;
    let mut first = connect(address).await;
    let mut second = connect(address).await;
    for stream in [&mut first, &mut second] {
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(SETTINGS).await.unwrap();
    }
    let mut frame = [0; 9];
    let (served, waiting) = tokio::select! {
        read = first.read_exact(&mut frame) => { read.unwrap(); (first, second) }
        read = async { second.read_exact(&mut [0; 9]).await } => { read.unwrap(); (second, first) }
    };
    assert!(is_served(address).await);
    let mut waiting = waiting;
    let unanswered = tokio::time::timeout(SHORT, waiting.read(&mut frame)).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    drop(served);
    waiting.read_exact(&mut frame).await.unwrap();
}

#[tokio::test]
async fn elsewhere_a_new_connection_waits_for_a_place() {
    let (address, _end) = listen(Limits {
        when_full: WhenFull::Wait,
        ..patient_probes()
    })
    .await;
    let mut held = occupy(address, b"").await;
    let waiting = tokio::spawn(is_served(address));
    tokio::time::sleep(crate::support::SHORT).await;
    assert!(!waiting.is_finished());
    held.pop();
    assert!(waiting.await.unwrap());
}
