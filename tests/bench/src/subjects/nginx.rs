//! nginx as a plain proxy: one worker, connections to the server kept open, no log of requests, answers streamed as an MCP
//! server needs it.

use std::net::{Ipv4Addr, SocketAddr};

use crate::cores::SubjectCore;
use crate::error::{BenchError, Step as _};
use crate::process::{Process, free_port};
use crate::surroundings::Surroundings;

/// Starts nginx, and returns its address.
pub(super) async fn start(
    around: &Surroundings,
    core: SubjectCore,
) -> Result<(Process, SocketAddr), BenchError> {
    let folder = around.folder.path();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let file = around.file("nginx.conf");
    let path = folder.display();
    let server = around.server.address();
    let text = format!(
        "daemon off;
worker_processes 1;
user root;
pid {path}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {path}/nginx-body;
  proxy_temp_path {path}/nginx-proxy;
  fastcgi_temp_path {path}/nginx-fastcgi;
  uwsgi_temp_path {path}/nginx-uwsgi;
  scgi_temp_path {path}/nginx-scgi;
  keepalive_requests 1000000000;
  client_max_body_size 8m;
  upstream mcp {{ server {server}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://mcp;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering off;
    }}
  }}
}}
"
    );
    std::fs::write(&file, text).step("write nginx.conf")?;
    let file = file.display().to_string();
    // Debian has nginx in a folder that is not in the PATH of every user.
    let program = ["/usr/sbin/nginx", "nginx"];
    let program = program
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    let command = [program.unwrap_or("nginx"), "-e", "stderr", "-c", &file];
    let mut process = Process::start("nginx", Some(core), &command, folder)?;
    process.listens(address).await?;
    Ok((process, address))
}
