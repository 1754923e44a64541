//! Copies bytes between a client and a Pod.

use std::sync::PoisonError;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::io::InspectReader;

use super::answers::Copied;

/// Copies in both directions. The end of one direction is passed on at once and leaves the other one open. An
/// answer thus arrives even if its reader still writes, or has finished writing.
pub(super) async fn relay(local: TcpStream, remote: impl AsyncRead + AsyncWrite, copy: Option<Copied>) {
    without_delay(&local);
    let (mut from_client, mut to_client) = tokio::io::split(local);
    let (from_pod, mut to_pod) = tokio::io::split(remote);
    let mut from_pod = InspectReader::new(from_pod, |bytes| {
        if let Some(copy) = &copy {
            let mut copy = copy.lock().unwrap_or_else(PoisonError::into_inner);
            copy.extend_from_slice(bytes);
        }
    });
    // Each end may close or reset at any time. That ends its direction and is not an error.
    let up = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_pod).await;
        let _ = to_pod.shutdown().await;
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_pod, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}

/// Makes the connection send small pieces at once. Otherwise the second of two would wait 40 ms for the
/// peer's delayed acknowledgement.
pub(super) fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        // The connection is already closed; the first read reports it.
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "Unable to set TCP_NODELAY"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// A client, and the server that it reaches through a relay.
    async fn connected() -> (TcpStream, TcpStream) {
        let [front, back] = [
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
        ];
        let client = TcpStream::connect(front.local_addr().unwrap()).await.unwrap();
        let remote = TcpStream::connect(back.local_addr().unwrap()).await.unwrap();
        let (local, _) = front.accept().await.unwrap();
        let (server, _) = back.accept().await.unwrap();
        tokio::spawn(relay(local, remote, None));
        (client, server)
    }

    #[tokio::test]
    async fn a_close_of_the_pod_reaches_a_client_that_keeps_sending() {
        let (mut client, mut server) = connected().await;
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");

        client.write_all(b"rest").await.unwrap();
        client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"rest");
    }

    #[tokio::test]
    async fn a_client_that_has_finished_sending_gets_its_answer() {
        let (mut client, mut server) = connected().await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = Vec::new();
        server.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
    }

    #[tokio::test]
    async fn small_pieces_to_the_client_do_not_wait_for_an_acknowledgement() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (local, _) = listener.accept().await.unwrap();
        // A second handle of the same socket, which has the same options.
        let local = local.into_std().unwrap();
        let socket = local.try_clone().unwrap();
        assert!(!socket.nodelay().unwrap());
        let (remote, mut pod) = tokio::io::duplex(64);
        let relaying = tokio::spawn(relay(TcpStream::from_std(local).unwrap(), remote, None));
        pod.write_all(b"a").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'a');
        assert!(socket.nodelay().unwrap());
        relaying.abort();
    }
}
