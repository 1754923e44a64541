//! The keys in the Redis of the server article, after the tests that sign in there.

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_simulators::people::ANA;
use serde_json::Value;

use crate::ensure;
use crate::leaks::password_of_redis;
use crate::world::{TestResult, World};

crate::tests![every_key_in_redis_has_an_expiry];

/// The user of the server in `examples/high-availability`, and the beginning of its keys.
const USER: &str = "article";
const KEYS: &str = "behalf:mcp/article:*";

/// PEXPIRETIME of a key without expiry, and of one that is gone.
const FOR_EVER: i64 = -1;
const GONE: i64 = -2;

async fn every_key_in_redis_has_an_expiry(world: &World) -> TestResult {
    let server = Server::Article;
    world.wait_ready(server).await?;
    world.access_token(server, &ANA).await?;
    let password = password_of_redis(world).await?;
    // With the rights of the server.
    let ask = |further: &[&str], commands: &str| -> TestResult<String> {
        let redis = [
            "exec",
            "--stdin",
            "redis-0",
            "--container",
            "redis",
            "--",
            "redis-cli",
        ];
        let account = ["--no-auth-warning", "--user", USER, "--pass", &password];
        let arguments = [
            &["--namespace", NAMESPACE_SERVERS],
            &redis[..],
            &["-e", "--tls", "--insecure"],
            &account,
            further,
        ]
        .concat();
        Ok(world.running.cluster.kubectl_with(&arguments, commands)?)
    };
    let keys = ask(&["--scan", "--pattern", KEYS], "")?;
    let keys: Vec<&str> = keys.lines().collect();
    let commands = keys
        .iter()
        .map(|key| format!("PEXPIRETIME {}", Value::from(*key)));
    let expiries = ask(&[], &commands.collect::<Vec<_>>().join("\n"))?;
    let expiries: Vec<i64> = expiries
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{error}: {expiries}"))?;
    ensure!(
        expiries.len() == keys.len() && expiries.iter().any(|expiry| *expiry > 0),
        "{} keys have {} expiries",
        keys.len(),
        expiries.len()
    );
    println!("    {} keys", keys.len());
    for (key, expiry) in keys.iter().zip(expiries) {
        ensure!(expiry != FOR_EVER, "{key} has no expiry");
        ensure!(expiry > 0 || expiry == GONE, "{key} has the expiry {expiry}");
    }
    Ok(())
}
