//! The address that a request comes from.

use tokio::io::AsyncWriteExt as _;

use crate::support::{connect, limits, listen, to_the_end};

#[tokio::test]
async fn a_request_knows_the_address_of_its_connection() {
    let (address, _end) = listen(limits()).await;
    let mut stream = connect(address).await;
    let own = stream.local_addr().unwrap().to_string();
    let request = b"GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    assert!(to_the_end(&mut stream).await.ends_with(own.as_bytes()));
}
