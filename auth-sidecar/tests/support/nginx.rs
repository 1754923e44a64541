//! nginx with TLS and HTTP/2 in front of a listener, as a gateway is in front of a Service.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use behalf_simulators::certificates::CertificateAuthority;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use url::Url;

/// Debian has nginx in a folder that is not in the PATH of every user; `.ci/prerequisites unit` installs it.
const PROGRAMS: [&str; 2] = ["/usr/sbin/nginx", "nginx"];

/// Maximum time until nginx listens on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A running nginx. It is killed when this is dropped.
pub(crate) struct Nginx {
    pub(crate) authority_pem: String,
    port: u16,
    process: Child,
    _folder: TempDir,
}

impl Nginx {
    /// Starts nginx in front of this address, where nothing needs to listen yet.
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let authority = CertificateAuthority::generate("Gateway").unwrap();
        let identity = authority.issue(&["localhost"]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let file = folder.path().join("nginx.conf");
        for (name, text) in [
            ("tls.crt", identity.certificate_chain_pem),
            ("tls.key", identity.private_key_pem),
            ("nginx.conf", configuration(folder.path(), port, upstream)),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let program = PROGRAMS.into_iter().find(|path| Path::new(path).exists());
        let process = Command::new(program.unwrap_or(PROGRAMS[1]))
            .args(["-e", "stderr", "-c"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("failed to start nginx: {error}; run .ci/prerequisites unit"));
        let nginx = Self {
            authority_pem: authority.certificate_pem().to_owned(),
            port,
            process,
            _folder: folder,
        };
        let listens = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(START, listens).await.expect("nginx does not listen");
        nginx
    }

    /// The origin that clients know.
    pub(crate) fn origin(&self) -> Url {
        Url::parse(&format!("https://localhost:{}", self.port)).unwrap()
    }

    /// An HTTP client that trusts this gateway and follows no redirect.
    pub(crate) fn http(&self) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(self.authority_pem.as_bytes()).unwrap();
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_merge([authority])
            .build()
            .unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One process without a master, so that none is left when it is killed.
fn configuration(folder: &Path, port: u16, upstream: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream sidecar {{ server {upstream}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {folder}/tls.crt;
    ssl_certificate_key {folder}/tls.key;
    client_max_body_size 8m;
    location / {{
      proxy_pass http://sidecar;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_buffering off;
      proxy_request_buffering off;
    }}
  }}
}}
"
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
