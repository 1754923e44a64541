//! User and password for Redis, which may change while the process runs: from files, or from Entra.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use ::redis::auth::{BasicAuth, StreamingCredentialsProvider};
use ::redis::{RedisError, RedisResult};
use futures::{Stream, stream};

use super::entra_credentials::EntraCredentials;

/// How often the files are read. The kubelet itself takes up to a minute to replace them.
const INTERVAL: Duration = Duration::from_secs(5);

/// The user of a Redis that has only a password.
const DEFAULT_USER: &str = "default";

/// Gives each connection its user and password, and new ones when they change. The connection then authenticates again
/// without a reconnect.
#[derive(Clone)]
pub(super) enum Credentials {
    Files {
        username: Option<PathBuf>,
        password: PathBuf,
    },
    Entra(EntraCredentials),
}

impl Credentials {
    async fn read(&self) -> RedisResult<BasicAuth> {
        match self {
            Self::Files { username, password } => {
                let username = match username {
                    Some(path) => line_of(path).await?,
                    None => DEFAULT_USER.to_owned(),
                };
                Ok(BasicAuth::new(username, line_of(password).await?))
            }
            Self::Entra(entra) => entra.read().await,
        }
    }

    /// Waits until the credentials may have changed.
    async fn changed(&self) {
        match self {
            Self::Files { .. } => tokio::time::sleep(INTERVAL).await,
            Self::Entra(entra) => entra.changed().await,
        }
    }

    fn log(&self, error: &RedisError) {
        // Entra's refusal is logged once where it is found.
        if let Self::Files { .. } = self {
            let error: &dyn std::error::Error = error;
            tracing::warn!(
                error,
                "Unable to reread the credentials of the session store; the earlier ones stay in use"
            );
        }
    }

    /// Waits for other credentials than `known`.
    async fn next(&self, known: &BasicAuth) -> BasicAuth {
        // Reads first: the credentials may have changed before this wait began.
        loop {
            match self.read().await {
                Ok(read) if !same(&read, known) => return read,
                Ok(_) => {}
                Err(error) => self.log(&error),
            }
            self.changed().await;
        }
    }
}

impl StreamingCredentialsProvider for Credentials {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let credentials = self.clone();
        Box::pin(stream::unfold(
            None,
            move |last: Option<RedisResult<BasicAuth>>| {
                let credentials = credentials.clone();
                async move {
                    let read = match &last {
                        None => credentials.read().await,
                        Some(Ok(known)) => Ok(credentials.next(known).await),
                        Some(Err(_)) => {
                            credentials.changed().await;
                            credentials.read().await
                        }
                    };
                    Some((read.clone(), Some(read)))
                }
            },
        ))
    }
}

fn same(one: &BasicAuth, other: &BasicAuth) -> bool {
    one.username() == other.username() && one.password() == other.password()
}

/// The text of a file without the newline at its end.
async fn line_of(path: &Path) -> RedisResult<String> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| {
        let message = format!("failed to read {}: {error}", path.display());
        RedisError::from(std::io::Error::new(error.kind(), message))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (username, password) = (folder.path().join("username"), folder.path().join("password"));
        std::fs::write(&username, "behalf\n").unwrap();
        std::fs::write(&password, "first\n").unwrap();
        let credentials = Credentials::Files {
            username: Some(username),
            password: password.clone(),
        };
        let mut stream = credentials.subscribe();
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!((first.username(), first.password()), ("behalf", "first"));
        std::fs::write(&password, "second").unwrap();
        let second = stream.next().await.unwrap().unwrap();
        assert_eq!((second.username(), second.password()), ("behalf", "second"));
    }

    #[tokio::test]
    async fn a_missing_file_is_an_error_that_names_it() {
        let credentials = Credentials::Files {
            username: None,
            password: PathBuf::from("/nowhere/password"),
        };
        let error = credentials.subscribe().next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("/nowhere/password"), "{error}");
    }
}
