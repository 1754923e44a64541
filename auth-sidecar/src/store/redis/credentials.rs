//! User and password for Redis, from files that may change while the process runs.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use ::redis::auth::{BasicAuth, StreamingCredentialsProvider};
use ::redis::{RedisError, RedisResult};
use futures::{Stream, stream};

/// How often the files are read. The kubelet itself takes up to a minute to replace them.
const INTERVAL: Duration = Duration::from_secs(5);

/// The user of a Redis that has only a password.
const DEFAULT_USER: &str = "default";

/// Gives each connection its user and password, and new ones when the files change. The connection then
/// authenticates again without a reconnect.
#[derive(Clone)]
pub(super) struct Credentials {
    username_file: Option<PathBuf>,
    password_file: PathBuf,
}

impl Credentials {
    pub(super) fn files(username_file: Option<PathBuf>, password_file: PathBuf) -> Self {
        Self {
            username_file,
            password_file,
        }
    }

    async fn read(&self) -> RedisResult<BasicAuth> {
        let username = match &self.username_file {
            Some(path) => line_of(path).await?,
            None => DEFAULT_USER.to_owned(),
        };
        let password = line_of(&self.password_file).await?;
        Ok(BasicAuth::new(username, password))
    }

    /// Waits until the files hold something else than `known`.
    async fn next(&self, known: &BasicAuth) -> BasicAuth {
        loop {
            tokio::time::sleep(INTERVAL).await;
            match self.read().await {
                Ok(read) if !same(&read, known) => return read,
                Ok(_) => {}
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "Unable to read the credentials of the session store again");
                }
            }
        }
    }
}

impl StreamingCredentialsProvider for Credentials {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let files = self.clone();
        Box::pin(stream::unfold(
            None,
            move |last: Option<RedisResult<BasicAuth>>| {
                let files = files.clone();
                async move {
                    let read = match &last {
                        None => files.read().await,
                        Some(Ok(known)) => Ok(files.next(known).await),
                        Some(Err(_)) => {
                            tokio::time::sleep(INTERVAL).await;
                            files.read().await
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
        let credentials = Credentials::files(Some(username), password.clone());
        let mut stream = credentials.subscribe();
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!((first.username(), first.password()), ("behalf", "first"));
        std::fs::write(&password, "second").unwrap();
        let second = stream.next().await.unwrap().unwrap();
        assert_eq!((second.username(), second.password()), ("behalf", "second"));
    }

    #[tokio::test]
    async fn a_missing_file_is_an_error_that_names_it() {
        let credentials = Credentials::files(None, PathBuf::from("/nowhere/password"));
        let error = credentials.subscribe().next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("/nowhere/password"), "{error}");
    }
}
