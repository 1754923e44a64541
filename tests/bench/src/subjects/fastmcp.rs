//! A server made with `FastMCP` that checks a JWT at each call. It answers the calls itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::call;
use crate::cores::SubjectCore;
use crate::error::{BenchError, Step as _};
use crate::generator::Target;
use crate::process::{Process, free_port};
use crate::surroundings::Surroundings;

const PROGRAM: &str = include_str!("../../fastmcp.py");

/// Starts the server with this Python.
pub(super) async fn start(
    around: &Surroundings,
    core: SubjectCore,
    python: &Path,
) -> Result<(Process, Target), BenchError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let (program, token) = (around.file("bench_server.py"), around.file("fastmcp-token"));
    std::fs::write(&program, PROGRAM).step("write the FastMCP server")?;
    let command = [
        &python.display().to_string(),
        &program.display().to_string(),
        &address.port().to_string(),
        &token.display().to_string(),
    ];
    let command: Vec<_> = command.into_iter().map(String::as_str).collect();
    let mut process = Process::start("fastmcp", Some(core), &command, around.folder.path())?;
    process.listens(address).await?;
    let token = std::fs::read_to_string(token).step("read the token of FastMCP")?;
    let target = Target {
        address,
        requests: vec![call::request(&address.to_string(), &token)],
    };
    Ok((process, target))
}
