//! Servers of Redis in Pods of their own: the `StatefulSet` of `examples/high-availability` under another name, with another
//! number of Pods.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use behalf_demo::environment::{NAMESPACE_SERVERS, Objects};
use behalf_simulators::certificates::CertificateAuthority;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use serde_json::{Value, json};

use crate::ensure;
use crate::restarts::restarts;
use crate::scratch_server::{self, sessions_in_redis};
use crate::world::{TestResult, World};

/// The example's `StatefulSet` and its container.
const EXAMPLE: &str = "redis";

/// The user with which a test administrates the servers, and with which a replica logs in to its primary.
pub(crate) const ADMINISTRATOR: (&str, &str) = ("administrator", "password-of-this-test");

/// Maximum time until a server is ready, also after a restart.
const LIMIT: Duration = Duration::from_mins(2);

/// How the Service of the servers leads to them.
#[derive(Clone, Copy)]
pub(crate) enum Address {
    /// To this Pod alone.
    Pod(usize),

    /// To all Pods. Each also has a name of its own, also while it is not ready.
    All,
}

/// The servers of one `StatefulSet`. Its Service and everything else has the same name, or begins with it.
pub(crate) struct RedisPods<'w> {
    world: &'w World,
    name: &'static str,
}

impl<'w> RedisPods<'w> {
    /// Starts this number of servers with TLS, the example's users and further arguments, and waits until they are ready.
    /// `rights` are further rights of the user of the object `scratch`.
    pub(crate) async fn start(
        world: &'w World,
        name: &'static str,
        number: usize,
        address: Address,
        arguments: &[&str],
        rights: &str,
    ) -> TestResult<Self> {
        let pods = Self { world, name };
        let mut objects = Objects::default();
        pods.add_credentials(&mut objects, number, rights).await?;
        objects
            .add(pods.service(address))
            .add(pods.stateful_set(number, arguments)?);
        objects.apply(&world.running.client).await?;
        let timeout = format!("--timeout={}s", LIMIT.as_secs());
        world.kubectl(&["rollout", "status", &format!("statefulset/{name}"), &timeout])?;
        Ok(pods)
    }

    /// Removes everything that [`Self::start`] created.
    pub(crate) fn remove(world: &World, name: &str) -> TestResult {
        let objects = [
            format!("statefulset/{name}"),
            format!("service/{name}"),
            format!("configmap/{name}-ca"),
            format!("secret/{name}-tls"),
            format!("secret/{name}-users"),
        ];
        let mut arguments = vec![
            "delete",
            "--ignore-not-found",
            "--cascade=foreground",
            "--wait=true",
        ];
        arguments.extend(objects.iter().map(String::as_str));
        world.kubectl(&arguments)?;
        Ok(())
    }

    /// The field `sessions` of the object `scratch` that keeps its sessions here.
    pub(crate) fn sessions(&self, topology: &str) -> TestResult<Value> {
        let mut sessions = sessions_in_redis(self.world)?;
        let redis = sessions.pointer_mut("/store/redis");
        let redis = redis.ok_or("the server article has no Redis")?;
        redis["topology"] = json!(topology);
        redis["endpoints"] = json!([format!("rediss://{}:6379", self.host())]);
        redis["certificateAuthorityRef"] = json!({"name": format!("{}-ca", self.name), "key": "ca.crt"});
        Ok(sessions)
    }

    /// The name of a Pod.
    pub(crate) fn pod(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// The address of a Pod.
    pub(crate) fn ip(&self, number: usize) -> TestResult<String> {
        let path = "jsonpath={.status.podIP}";
        self.world
            .kubectl(&["get", "pod", &self.pod(number), "--output", path])
    }

    /// Sends a command to one server, and returns what `redis-cli` printed.
    pub(crate) fn ask(&self, number: usize, command: &[&str]) -> TestResult<String> {
        let pod = self.pod(number);
        let mut arguments = vec![
            "exec",
            &*pod,
            "--container",
            EXAMPLE,
            "--",
            "redis-cli",
            "-e",
            "--tls",
        ];
        let (user, password) = ADMINISTRATOR;
        arguments.extend([
            "--insecure",
            "--no-auth-warning",
            "--user",
            user,
            "--pass",
            password,
        ]);
        arguments.extend(command);
        self.world.kubectl(&arguments)
    }

    /// Lets the Service lead to another Pod.
    pub(crate) async fn lead_to(&self, number: usize) -> TestResult {
        let mut objects = Objects::default();
        objects.add(self.service(Address::Pod(number)));
        Ok(objects.apply(&self.world.running.client).await?)
    }

    /// Ends one server, and waits until its container runs again with the same data.
    pub(crate) async fn restart(&self, number: usize) -> TestResult {
        let pods: Api<Pod> = Api::namespaced(self.world.running.client.clone(), NAMESPACE_SERVERS);
        let name = self.pod(number);
        let before = pods.get(&name).await?;
        // There is no answer: the server ends.
        drop(self.ask(number, &["SHUTDOWN"]));
        let began = Instant::now();
        loop {
            let pod = pods.get(&name).await?;
            let statuses = pod.status.iter().flat_map(|status| &status.container_statuses);
            let ready = statuses.flatten().all(|status| status.ready);
            if ready && restarts(&pod) > restarts(&before) {
                return Ok(());
            }
            ensure!(began.elapsed() < LIMIT, "{name} did not come back");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn host(&self) -> String {
        format!("{}.{NAMESPACE_SERVERS}.svc", self.name)
    }

    fn metadata(&self, suffix: &str) -> Value {
        json!({"name": format!("{}{suffix}", self.name), "namespace": NAMESPACE_SERVERS})
    }

    fn labels(&self) -> Value {
        json!({"app.kubernetes.io/name": self.name})
    }

    /// A certificate for all servers, and the example's users with two changes.
    async fn add_credentials(&self, objects: &mut Objects, number: usize, rights: &str) -> TestResult {
        let authority = CertificateAuthority::generate(self.name)?;
        let hosts = (0..number).map(|number| format!("{}.{}", self.pod(number), self.host()));
        let hosts: Vec<String> = [self.host()].into_iter().chain(hosts).collect();
        let identity = authority.issue(&hosts.iter().map(String::as_str).collect::<Vec<_>>())?;
        let secrets: Api<Secret> = Api::namespaced(self.world.running.client.clone(), NAMESPACE_SERVERS);
        let example = secrets.get("redis-users").await?.data.unwrap_or_default();
        let example = example.get("users.acl").ok_or("Redis has no file of users")?;
        let (name, password) = ADMINISTRATOR;
        let mut users = format!("user {name} on >{password} ~* &* +@all\n");
        let server = format!("user {} ", scratch_server::NAME);
        for user in std::str::from_utf8(&example.0)?.lines() {
            let further = if user.starts_with(&server) { rights } else { "" };
            let _ = writeln!(users, "{user} {further}");
        }
        objects
            .add(
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata("-ca"),
                    "data": {"ca.crt": authority.certificate_pem()},
                }),
            )
            .add(
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": self.metadata("-users"),
                    "stringData": {"users.acl": users},
                }),
            )
            .add(
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": self.metadata("-tls"),
                    "stringData": {
                        "tls.crt": identity.certificate_chain_pem, "tls.key": identity.private_key_pem,
                        // Servers are clients of each other.
                        "ca.crt": authority.certificate_pem(),
                    },
                }),
            );
        Ok(())
    }

    fn service(&self, address: Address) -> Value {
        let mut spec = json!({"ports": [{"name": "tls", "port": 6379, "targetPort": "tls"}]});
        match address {
            Address::Pod(number) => {
                spec["selector"] = json!({"statefulset.kubernetes.io/pod-name": self.pod(number)});
            }
            Address::All => {
                spec["selector"] = self.labels();
                spec["clusterIP"] = json!("None");
                spec["publishNotReadyAddresses"] = json!(true);
            }
        }
        json!({"apiVersion": "v1", "kind": "Service", "metadata": self.metadata(""), "spec": spec})
    }

    fn stateful_set(&self, number: usize, arguments: &[&str]) -> TestResult<Value> {
        let mut spec = self.world.get("statefulset", EXAMPLE)?["spec"].take();
        spec["replicas"] = json!(number);
        spec["serviceName"] = json!(self.name);
        spec["podManagementPolicy"] = json!("Parallel");
        spec["selector"]["matchLabels"] = self.labels();
        let template = &mut spec["template"];
        template["metadata"] = json!({"labels": self.labels()});
        let container = &mut template["spec"]["containers"][0];
        let all = container["args"].as_array_mut().ok_or("Redis has no arguments")?;
        all.extend(arguments.iter().map(|argument| json!(argument)));
        let pod_name = json!({"fieldRef": {"fieldPath": "metadata.name"}});
        container["env"] = json!([{"name": "POD_NAME", "valueFrom": pod_name}]);
        let volumes = template["spec"]["volumes"].as_array_mut();
        for volume in volumes.into_iter().flatten() {
            for kind in ["tls", "users"] {
                if volume["name"] == kind {
                    volume["secret"]["secretName"] = json!(format!("{}-{kind}", self.name));
                }
            }
        }
        Ok(
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": self.metadata(""), "spec": spec}),
        )
    }
}
