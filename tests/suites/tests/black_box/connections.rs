//! Tests how clients use connections: a body sent after its head, idle connections, many calls at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use behalf_contract::ports;
use behalf_demo::environment::Server;
use behalf_demo::mcp_client::{call_with, http_client};
use behalf_simulators::azure_devops::{Action, Calls, Fault};
use behalf_simulators::people::ANA;
use behalf_tests::limits::restoring;
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::credentials::pod_of;
use crate::ensure;
use crate::restarts::{restarting_nothing, restarting_nothing_of};
use crate::scratch_server;
use crate::world::{TestResult, World};

crate::tests![
    Article: [idle_connections_to_the_internal_ports_restart_nothing],
    Everything: [
        a_connection_outlives_refusals_whose_body_comes_behind_the_head,
        a_large_body_behind_a_refused_head_gets_its_answer_every_time,
        thirty_calls_of_one_user_at_once_succeed,
    ],
    Scratch: [invalid_registrations_of_an_address_do_not_stop_its_valid_one],
];

/// Maximum time for one answer.
const ANSWER: Duration = Duration::from_secs(20);

async fn connect(address: SocketAddr) -> TestResult<TcpStream> {
    let stream = timeout(ANSWER, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn connect_to(world: &World, server: Server) -> TestResult<TcpStream> {
    let url = world.layout.public_url(server);
    let addresses = url.socket_addrs(|| None)?;
    connect(*addresses.first().ok_or("the server has no address")?).await
}

/// Reads the next answer and returns its head.
async fn answer(stream: &mut TcpStream) -> TestResult<String> {
    let read = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await?;
        Ok::<_, std::io::Error>(head)
    };
    Ok(timeout(ANSWER, read).await??)
}

fn head(path: &str, headers: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n")
}

/// The refusals that are decided before the body is read: path, further headers, status.
const EARLY: [(&str, &str, &str); 5] = [
    ("/mcp", "", "401"),
    ("/mcp", "origin: https://other.example\r\n", "403"),
    ("/callback", "", "405"),
    ("/nothing-here", "", "404"),
    ("/register", "content-type: text/plain\r\n", "415"),
];

async fn a_connection_outlives_refusals_whose_body_comes_behind_the_head(world: &World) -> TestResult {
    for server in Server::ALL {
        restarting_nothing(world, server, async || {
            for (path, headers, status) in EARLY {
                let mut stream = connect_to(world, server).await?;
                for number in 0..30_u64 {
                    let body = vec![b'x'; 400];
                    stream
                        .write_all(head(path, headers, body.len()).as_bytes())
                        .await?;
                    tokio::time::sleep(Duration::from_micros(500 * number)).await;
                    stream.write_all(&body).await?;
                    let head = answer(&mut stream)
                        .await
                        .map_err(|error| format!("{path}, request {number}: {error}"))?;
                    ensure!(
                        head.starts_with(&format!("http/1.1 {status}"))
                            && !head.contains("connection: close"),
                        "{path}, request {number}: {head}"
                    );
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn a_large_body_behind_a_refused_head_gets_its_answer_every_time(world: &World) -> TestResult {
    const JSON: &str = "content-type: application/json\r\n";
    let server = Server::Quickstart;
    let work = async || {
        for (path, status, sizes) in [
            ("/mcp", "401", [20_000, 400_000, 1_000_000, 4_000_000]),
            ("/register", "413", [60_000, 400_000, 1_000_000, 4_000_000]),
        ] {
            for size in sizes {
                let body = vec![b' '; size];
                for number in 0..20 {
                    let mut stream = connect_to(world, server).await?;
                    let exchange = async {
                        stream.write_all(head(path, JSON, size).as_bytes()).await?;
                        stream.write_all(&body).await?;
                        answer(&mut stream).await
                    };
                    let head = exchange
                        .await
                        .map_err(|error| format!("{path}, {size} bytes, request {number}: {error}"))?;
                    ensure!(
                        head.starts_with(&format!("http/1.1 {status}")),
                        "{path}, {size} bytes, request {number}: {head}"
                    );
                }
            }
        }
        Ok(())
    };
    restarting_nothing(world, server, work).await
}

/// Registrations with invalid metadata: more than one address has at once (300).
const INVALID: usize = 500;

/// Only an object with trusted proxies counts by address. Without them all clients share the budget of 10,000.
async fn invalid_registrations_of_an_address_do_not_stop_its_valid_one(world: &World) -> TestResult {
    let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
    let fields = json!({"server": quickstart["spec"]["server"], "trustedProxies": ["192.0.2.0/24"]});
    let url = scratch_server::mcp_url()?.join("/register")?;
    let origin = url.origin().ascii_serialization();
    let object = scratch_server::object(world, &origin, &fields)?;
    let http = reqwest::Client::builder().build()?;
    let register = async |redirect_uri: &str| {
        let metadata = json!({"redirect_uris": [redirect_uri]});
        Ok::<_, reqwest::Error>(http.post(url.clone()).json(&metadata).send().await?.status())
    };
    let flood = async || {
        for _ in 0..INVALID {
            let status = register("ftp://example.com/").await?;
            ensure!(
                status == StatusCode::BAD_REQUEST,
                "an invalid registration was answered {status}"
            );
        }
        let status = register("http://localhost/callback").await?;
        ensure!(
            status == StatusCode::CREATED,
            "after {INVALID} invalid registrations a valid one was answered {status}"
        );
        Ok(())
    };
    let work = async || restarting_nothing_of(world, scratch_server::NAME, flood).await;
    scratch_server::serving(world, &object, work).await
}

/// The kubelet probes each 10 s, and ends the container after three failures: at most 32 s. The container stops within 12 s, and the
/// count of its restarts rises.
const ATTACK: Duration = Duration::from_secs(48);

/// Probes in a row without an answer after which the kubelet restarts the container.
const FAILURES: u32 = 3;

/// Idle connections that are held open to each port.
const IDLE: usize = 200;

async fn idle_connections_to_the_internal_ports_restart_nothing(world: &World) -> TestResult {
    let server = Server::Article;
    let pod = pod_of(world, server).await?;
    let status = pod.status.as_ref().ok_or("the Pod has no status")?;
    let ip = status
        .pod_ip
        .as_deref()
        .ok_or("the Pod has no address")?
        .parse()?;
    let addresses = [ports::INTERNAL, ports::SERVER_PROBES].map(|port| SocketAddr::new(ip, port));
    restarting_nothing(world, server, async || {
        let (began, mut late) = (Instant::now(), HashMap::new());
        while began.elapsed() < ATTACK {
            let mut idle = Vec::new();
            for address in addresses {
                for _ in 0..IDLE {
                    idle.push(connect(address).await?);
                }
                let mut probe = connect(address).await?;
                probe
                    .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
                    .await?;
                if let Ok(head) = timeout(Duration::from_secs(2), answer(&mut probe)).await {
                    let head = head?;
                    ensure!(head.starts_with("http/1.1 200"), "{address}: {head}");
                    late.remove(&address);
                } else {
                    let late = late.entry(address).or_insert(0);
                    *late += 1;
                    ensure!(*late < FAILURES, "{FAILURES} probes of {address} got no answer");
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(idle);
        }
        Ok(())
    })
    .await?;
    world.wait_ready(server).await?;
    Ok(())
}

async fn thirty_calls_of_one_user_at_once_succeed(world: &World) -> TestResult {
    for server in Server::ALL {
        restarting_nothing(world, server, async || thirty_calls(world, server).await).await?;
    }
    Ok(())
}

/// How long Azure DevOps takes for each answer: all calls wait for one at the same time.
const LATE: Duration = Duration::from_millis(300);

/// Calls that a user has at the server at once. The others wait for a place.
const AT_ONCE: u32 = 16;

async fn thirty_calls(world: &World, server: Server) -> TestResult {
    let token = world.access_token(server, &ANA).await?;
    let (http, mcp) = (http_client(None)?, world.layout.mcp_url(server));
    let late = Fault::always(Action::Delay {
        milliseconds: u64::try_from(LATE.as_millis())?,
        retry_after_seconds: None,
    });
    let work = async {
        world
            .azure_devops
            .fault(&late.on(Calls::of(ANA.object_id)))
            .await?;
        let began = Instant::now();
        let answers = join_all((0..30).map(|_| call_with(&http, &mcp, &token))).await;
        Ok((answers, began.elapsed()))
    };
    let restore = async { Ok(world.azure_devops.clear_faults().await?) };
    let (answers, took) = restoring(work, restore).await?;
    for (number, answer) in answers.into_iter().enumerate() {
        let answer = answer.map_err(|error| format!("call {number}: {error}"))?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(
            status == StatusCode::OK && !text.contains("\"isError\":true") && !text.contains("\"error\""),
            "call {number} was answered {status}: {text}"
        );
    }
    // The article has two Pods, which share the calls.
    let rounds = if server == Server::Quickstart {
        30_u32.div_ceil(AT_ONCE)
    } else {
        1
    };
    ensure!(
        took >= LATE * rounds,
        "30 calls took {took:?}: they did not wait for one another"
    );
    ensure!(took < Duration::from_secs(10), "30 calls took {took:?}");
    Ok(())
}
