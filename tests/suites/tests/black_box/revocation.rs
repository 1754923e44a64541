//! A session that is open on three Pods is revoked: its streams end, and every Pod refuses its next call.

use std::time::{Duration, Instant};

use behalf_contract::ports;
use behalf_demo::environment::{Conditions, NAMESPACE_SERVERS};
use behalf_demo::mcp_client::SignedIn;
use behalf_simulators::people::{ANA, BEN, Person};
use behalf_tests::foreign_server::ForeignServer;
use futures::future::{Either, select, try_join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::form_urlencoded::Serializer;

use crate::ensure;
use crate::foreign_servers::serving;
use crate::scratch_server::{NAME, sessions_in_redis, sign_in, wait};
use crate::world::{TestResult, World};

crate::tests![Scratch: [
    a_revoked_session_ends_its_streams_and_calls_on_each_of_three_pods_within_two_seconds,
]];

const REPLICAS: usize = 3;

/// Maximum time until a revocation is in force on every Pod, and the tolerance of this test on a busy machine.
const IN_FORCE: Duration = Duration::from_secs(2);
const TOLERANCE: Duration = Duration::from_millis(500);

/// Maximum time of one request.
const ANSWER: Duration = Duration::from_secs(20);

/// Time between two changes of the Pods that make the kubelet update a Secret.
const SYNC: Duration = Duration::from_secs(3);

async fn a_revoked_session_ends_its_streams_and_calls_on_each_of_three_pods_within_two_seconds(
    world: &World,
) -> TestResult {
    // As the first process of its container this server ignores SIGTERM, so that each of its Pods lives for the whole time.
    let pod = json!({"terminationGracePeriodSeconds": 15});
    let fields = json!({"sessions": sessions_in_redis(world)?, "replicas": REPLICAS, "pod": pod});
    serving(world, ForeignServer::Everything, &fields, async || {
        let replicas = replicas(world).await?;
        let stays = Session::open(world, &BEN, &replicas).await?;
        // The first way is the client's own, the second one the administrator's for one session.
        let session = Session::open(world, &ANA, &replicas).await?;
        let revoked = session.revoke_as_client(&replicas[0]).await?;
        session.has_ended(&replicas, revoked, "POST /revoke").await?;

        let session = Session::open(world, &ANA, &replicas).await?;
        session.revoke_as_administrator(world, &replicas[1])?;
        session
            .has_ended(&replicas, Instant::now(), "admin sessions revoke")
            .await?;

        let session = Session::open(world, &ANA, &replicas).await?;
        declare_revocation(world, &replicas).await?;
        session
            .has_ended(&replicas, Instant::now(), "sessions.revocations")
            .await?;

        ensure!(
            stays.goes_on(),
            "a stream of another user's session ended as well"
        );
        for replica in &replicas {
            let status = replica.list_tools(&stays.token).await?;
            ensure!(
                status == StatusCode::OK,
                "the other user got {status} from {}",
                replica.name
            );
        }
        Ok(())
    })
    .await
}

/// One Pod, which the test calls without a Service.
struct Replica {
    name: String,
    origin: String,
    http: reqwest::Client,
}

async fn replicas(world: &World) -> TestResult<Vec<Replica>> {
    let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let selector = ListParams::default().labels(&format!("app.kubernetes.io/instance={NAME}"));
    let mut replicas = Vec::new();
    for pod in pods.list(&selector).await? {
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        replicas.push(Replica {
            name: pod.name_any(),
            origin: format!("http://{}:{}", ip.ok_or("a Pod has no address")?, ports::PUBLIC),
            http: reqwest::Client::builder().connect_timeout(ANSWER).build()?,
        });
    }
    ensure!(replicas.len() == REPLICAS, "there are {} Pods", replicas.len());
    Ok(replicas)
}

impl Replica {
    fn post(&self, token: &str, message: &Value) -> reqwest::RequestBuilder {
        self.http
            .post(format!("{}/mcp", self.origin))
            .bearer_auth(token)
            .header("accept", "application/json, text/event-stream")
            .timeout(ANSWER)
            .json(message)
    }

    async fn initialize(&self, token: &str) -> TestResult<String> {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        let answer = self.post(token, &message).send().await?;
        let id = answer.headers().get("mcp-session-id");
        let id = id.ok_or_else(|| {
            format!(
                "{} answered {} without Mcp-Session-Id",
                self.name,
                answer.status()
            )
        })?;
        Ok(id.to_str()?.to_owned())
    }

    /// Opens the event stream of a client, and waits for its end in the background.
    async fn stream(&self, token: &str) -> TestResult<JoinHandle<reqwest::Result<Instant>>> {
        let id = self.initialize(token).await?;
        let mut answer = self
            .http
            .get(format!("{}/mcp", self.origin))
            .bearer_auth(token)
            .header("accept", "text/event-stream")
            .header("mcp-session-id", id)
            .header("mcp-protocol-version", "2025-11-25")
            .send()
            .await?;
        ensure!(
            answer.status() == StatusCode::OK,
            "{} opened no stream: {}",
            self.name,
            answer.status()
        );
        Ok(tokio::spawn(async move {
            while answer.chunk().await?.is_some() {}
            Ok(Instant::now())
        }))
    }

    /// Lists the tools in an MCP session of its own.
    async fn list_tools(&self, token: &str) -> TestResult<StatusCode> {
        let id = self.initialize(token).await?;
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        Ok(self
            .post(token, &list)
            .header("mcp-session-id", id)
            .send()
            .await?
            .status())
    }

    /// Calls until the answer is 401, and returns when that was.
    async fn refuses(&self, token: &str) -> TestResult<Instant> {
        let ping = json!({"jsonrpc": "2.0", "id": 3, "method": "ping"});
        let began = Instant::now();
        loop {
            let status = self.post(token, &ping).send().await?.status();
            if status == StatusCode::UNAUTHORIZED {
                return Ok(Instant::now());
            }
            ensure!(began.elapsed() < ANSWER, "{} still answers {status}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// One session with an event stream on each Pod.
struct Session {
    client: SignedIn,
    token: String,
    streams: Vec<JoinHandle<reqwest::Result<Instant>>>,
}

impl Session {
    async fn open(world: &World, person: &Person, replicas: &[Replica]) -> TestResult<Self> {
        let client = sign_in(world, person).await?;
        let token = client.manager().lock().await.get_access_token().await?;
        let streams = try_join_all(replicas.iter().map(|replica| replica.stream(&token))).await?;
        let session = Self {
            client,
            token,
            streams,
        };
        ensure!(session.goes_on(), "a stream ended before the revocation");
        Ok(session)
    }

    fn goes_on(&self) -> bool {
        self.streams.iter().all(|stream| !stream.is_finished())
    }

    /// Returns the time before the request.
    async fn revoke_as_client(&self, replica: &Replica) -> TestResult<Instant> {
        let (client_id, _) = self.client.manager().lock().await.get_credentials().await?;
        let form = Serializer::new(String::new())
            .append_pair("client_id", &client_id)
            .append_pair("token", &self.token)
            .finish();
        let revoked = Instant::now();
        let answer = replica
            .http
            .post(format!("{}/revoke", replica.origin))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .timeout(ANSWER)
            .send()
            .await?;
        ensure!(
            answer.status() == StatusCode::OK,
            "the revocation was answered {}",
            answer.status()
        );
        Ok(revoked)
    }

    fn revoke_as_administrator(&self, world: &World, replica: &Replica) -> TestResult {
        let admin = |command: &[&str], input: &str| {
            let exec = [
                "--namespace",
                NAMESPACE_SERVERS,
                "exec",
                "--stdin",
                &replica.name,
                "--container",
                "auth-sidecar",
            ];
            let program = ["--", "behalf-auth-sidecar", "admin"];
            let arguments = [&exec[..], &program, command].concat();
            world.running.cluster.kubectl_with(&arguments, input)
        };
        let found: Value = serde_json::from_str(&admin(&["introspect", "--output", "json"], &self.token)?)?;
        let id = found["sid"].as_str().ok_or("the session has no id")?;
        ensure!(self.goes_on(), "a stream ended before the revocation");
        admin(&["sessions", "revoke", id], "")?;
        Ok(())
    }

    /// Fails unless all streams end cleanly and all Pods refuse the next call, in time after the revocation.
    async fn has_ended(self, replicas: &[Replica], revoked: Instant, how: &str) -> TestResult {
        let limit = IN_FORCE + TOLERANCE;
        let calls = try_join_all(replicas.iter().map(|replica| replica.refuses(&self.token)));
        let streams = tokio::time::timeout(limit, try_join_all(self.streams));
        let (calls, streams) = futures::future::join(calls, streams).await;
        let streams = streams.map_err(|_| format!("{how}: after {limit:?} a stream goes on"))??;
        let took = |at: Instant| at.saturating_duration_since(revoked);
        let mut ends = Vec::new();
        for stream in streams {
            ends.push(took(
                stream.map_err(|error| format!("{how}: a stream broke: {error}"))?,
            ));
        }
        let refusals: Vec<_> = calls?.into_iter().map(took).collect();
        println!("    {how}: the streams ended after {ends:.1?}, the calls got 401 after {refusals:.1?}");
        let slowest = ends.iter().chain(&refusals).max().copied().unwrap_or_default();
        ensure!(slowest <= limit, "{how}: the last Pod took {slowest:?}");
        Ok(())
    }
}

/// Revokes Ana's sessions in the object, and waits until every Pod reports that it has loaded the revocation.
async fn declare_revocation(world: &World, replicas: &[Replica]) -> TestResult {
    let patch = json!({"spec": {"sessions": {"revocations": {
        "users": [{"id": ANA.object_id, "before": "2099-01-01T00:00:00Z"}],
    }}}});
    world.kubectl(&[
        "patch",
        "mcpserver",
        NAME,
        "--type=merge",
        "--patch",
        &patch.to_string(),
    ])?;
    let in_force =
        |now: &Conditions| now.observed_generation == now.generation && now.is("RevocationsInForce", "True");
    let wait = wait(world, "RevocationsInForce", in_force);
    // By itself the kubelet updates the file within a minute or two. A change of a Pod makes it look at once.
    let sync = async {
        for change in 0_u32.. {
            tokio::time::sleep(SYNC).await;
            for replica in replicas {
                let annotation = format!("example.com/sync={change}");
                world.kubectl(&["annotate", "pod", &replica.name, "--overwrite", &annotation])?;
            }
        }
        TestResult::Ok(())
    };
    match select(Box::pin(wait), Box::pin(sync)).await {
        Either::Left((seen, _)) => seen.map(drop),
        Either::Right((ended, _)) => ended,
    }
}
