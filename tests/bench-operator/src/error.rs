//! Why a run of the bench ended early.

use std::error::Error;
use std::fmt::{self, Display};

/// A step of the bench failed.
#[derive(Debug)]
pub(crate) struct BenchError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BenchError {
    /// A failure without a cause of its own.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }
}

impl Display for BenchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(formatter, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl Error for BenchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

/// Names the step that failed.
pub(crate) trait Step<T> {
    /// Adds the step, such as "create a namespace", to the error.
    fn step(self, step: impl Display) -> Result<T, BenchError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Step<T> for Result<T, E> {
    fn step(self, step: impl Display) -> Result<T, BenchError> {
        self.map_err(|source| BenchError {
            message: format!("failed to {step}"),
            source: Some(source.into()),
        })
    }
}
