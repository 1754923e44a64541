//! A client's connection: sends a prepared request and reads the whole answer. It costs a few microseconds per call,
//! so that the generator is not what limits a run.

use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::{BenchError, Step as _};

/// Number of characters of an unexpected answer that the error shows.
const SHOWN: usize = 300;

/// An HTTP/1.1 connection that stays open between calls.
pub(crate) struct Connection {
    stream: TcpStream,
    received: BytesMut,
}

/// The length of an answer's body.
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(address).await.step("connect")?;
        stream.set_nodelay(true).step("connect")?;
        Ok(Self {
            stream,
            received: BytesMut::with_capacity(16 * 1024),
        })
    }

    /// Sends a request and reads the answer. An answer other than 200 is an error.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<(), BenchError> {
        self.stream.write_all(request).await.step("send a call")?;
        let framing = loop {
            if let Some(framing) = self.head()? {
                break framing;
            }
            self.read_more().await?;
        };
        match framing {
            Framing::Length(length) => {
                while self.received.len() < length {
                    self.read_more().await?;
                }
                let _ = self.received.split_to(length);
            }
            Framing::Chunked => while !self.chunk().await? {},
        }
        Ok(())
    }

    /// Sends a request for an event stream, and waits for the first bytes of the stream.
    pub(crate) async fn open_stream(&mut self, request: &[u8]) -> Result<(), BenchError> {
        self.stream.write_all(request).await.step("open a stream")?;
        while self.head()?.is_none() {
            self.read_more().await?;
        }
        while self.received.is_empty() {
            self.read_more().await?;
        }
        Ok(())
    }

    /// Takes the answer's head from what was received, once it is complete.
    fn head(&mut self) -> Result<Option<Framing>, BenchError> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&self.received).step("parse an answer")?;
        let httparse::Status::Complete(length) = parsed else {
            return Ok(None);
        };
        if response.code != Some(200) {
            let text = String::from_utf8_lossy(&self.received);
            let shown: String = text.chars().take(SHOWN).collect();
            return Err(BenchError::new(format!("a call was answered with {shown}")));
        }
        let mut framing = Framing::Length(0);
        for header in response.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                let text = String::from_utf8_lossy(header.value);
                framing = Framing::Length(text.parse().step("parse Content-Length")?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Chunked;
                break;
            }
        }
        let _ = self.received.split_to(length);
        Ok(Some(framing))
    }

    /// Takes one chunk. Returns whether it was the last.
    async fn chunk(&mut self) -> Result<bool, BenchError> {
        loop {
            let parsed = httparse::parse_chunk_size(&self.received)
                .map_err(|_| BenchError::new("an answer has an invalid chunk size"))?;
            if let httparse::Status::Complete((head, size)) = parsed {
                let size = usize::try_from(size).step("read a chunk")?;
                // The data of a chunk, or the empty trailer, ends with a line break.
                let whole = head + size + 2;
                while self.received.len() < whole {
                    self.read_more().await?;
                }
                let _ = self.received.split_to(whole);
                return Ok(size == 0);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), BenchError> {
        let read = self.stream.read_buf(&mut self.received).await;
        if read.step("read an answer")? == 0 {
            return Err(BenchError::new("a connection was closed during a call"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Answers the first request with these bytes, in pieces of seven.
    async fn answered(bytes: &'static str) -> Result<(), BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for piece in bytes.as_bytes().chunks(7) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut connection = Connection::open(address).await.unwrap();
        let result = connection.call(b"GET / HTTP/1.1\r\n\r\n").await;
        server.await.unwrap();
        assert!(result.is_err() || connection.received.is_empty());
        result
    }

    #[tokio::test]
    async fn reads_answers_with_a_length_and_in_chunks_to_their_end() {
        answered("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world")
            .await
            .unwrap();
        answered(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        )
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn an_answer_other_than_200_and_a_cut_off_answer_are_errors() {
        let refused = answered("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
        assert!(refused.unwrap_err().to_string().contains("401"));
        assert!(
            answered("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello")
                .await
                .is_err()
        );
    }
}
