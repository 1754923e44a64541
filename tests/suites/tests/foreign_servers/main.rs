//! Two stateful MCP servers that are not part of this project run behind the sidecar. A client on rmcp signs in through the
//! simulator of Entra and calls their tools. `.ci/test` runs this suite: it downloads the servers at its first run.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
mod pods;

#[cfg(test)]
mod tests {
    use behalf_contract::Injection;
    use behalf_demo::mcp_client::{Connection, Era};
    use behalf_simulators::people::{ANA, AZURE_DEVOPS_APPLICATION_ID, BEN};
    use behalf_tests::foreign_server::ForeignServer::{self, Everything, FastMcp};
    use serde_json::{Value, json};

    use crate::pods::{Pods, post};

    /// Calls a tool and returns its text.
    async fn call(connection: &Connection, tool: &str, arguments: Value) -> String {
        let result = connection.call(tool, arguments).await.unwrap();
        let text = behalf_demo::text(&result);
        assert_ne!(result.is_error, Some(true), "{tool}: {text}");
        text
    }

    async fn echo(connection: &Connection, message: &str) {
        let text = call(connection, "echo", json!({"message": message})).await;
        assert_eq!(text, format!("Echo: {message}"));
    }

    #[tokio::test]
    async fn a_user_calls_the_everything_server_and_goes_on_in_another_pod() {
        let pods = Pods::start(Everything, Injection::Header, 2).await;
        let connection = pods.sign_in(&ANA).await.connect(Era::Legacy).await.unwrap();
        assert!(connection.tools().await.unwrap().len() > 5);
        echo(&connection, "one").await;
        pods.route_to(1);
        echo(&connection, "two").await;
        assert_eq!(
            pods.refusals(1, "unknown_server_session"),
            1,
            "it initialized again"
        );
        connection.close().await;
    }

    #[tokio::test]
    async fn the_state_of_an_mcp_session_is_that_of_its_pod() {
        let pods = Pods::start(FastMcp, Injection::None, 2).await;
        let signed_in = pods.sign_in(&ANA).await;
        let connection = signed_in.connect(Era::Legacy).await.unwrap();
        let other = signed_in.connect(Era::Legacy).await.unwrap();
        for expected in ["1", "2"] {
            assert_eq!(call(&connection, "count", json!({})).await, expected);
        }
        assert_eq!(call(&other, "count", json!({})).await, "1", "another MCP session");
        pods.route_to(1);
        assert_eq!(
            call(&connection, "count", json!({})).await,
            "1",
            "a new MCP session"
        );
        pods.route_to(0);
        assert_eq!(
            call(&other, "count", json!({})).await,
            "2",
            "its Pod still has it"
        );
    }

    #[tokio::test]
    async fn the_server_gets_exactly_the_token_of_the_injection() {
        for (injection, header, argument) in [
            (Injection::Header, true, false),
            (Injection::Argument, false, true),
            (Injection::None, false, false),
        ] {
            let pods = Pods::start(FastMcp, injection, 1).await;
            for person in [ANA, BEN] {
                let connection = pods.sign_in(&person).await.connect(Era::Legacy).await.unwrap();
                // The client's own value never arrives.
                let text = call(&connection, "tokens", json!({"bearerToken": "a.e30.c"})).await;
                let seen: Value = serde_json::from_str(&text).unwrap();
                let token = json!({"aud": AZURE_DEVOPS_APPLICATION_ID, "oid": person.object_id});
                let expected = |arrives| if arrives { token.clone() } else { Value::Null };
                assert_eq!(
                    seen,
                    json!({"header": expected(header), "argument": expected(argument)}),
                    "{injection:?}"
                );
                connection.close().await;
            }
        }
    }

    /// Initializes and returns the `Mcp-Session-Id`.
    async fn initialize(pods: &Pods, token: &str) -> String {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        let response = post(&pods.mcp_url(), token, None, &message).await;
        assert!(response.status().is_success(), "{}", response.status());
        let id = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        assert!(id.starts_with("bht1."), "{id}");
        id
    }

    #[tokio::test]
    async fn nobody_enters_the_mcp_session_of_another_user_and_delete_ends_it() {
        for server in [Everything, FastMcp] {
            let pods = Pods::start(server, Injection::Header, 1).await;
            let (ana, ben) = (pods.access_token(&ANA).await, pods.access_token(&BEN).await);
            let id = initialize(&pods, &ana).await;
            let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
            let status = async |token: &str| {
                post(&pods.mcp_url(), token, Some(&id), &list)
                    .await
                    .status()
                    .as_u16()
            };
            assert_eq!(status(&ana).await, 200, "{server:?}");
            assert_eq!(status(&ben).await, 404, "{server:?}");
            pods.delete(&ben, &id, 404).await;
            assert_eq!(status(&ana).await, 200, "{server:?}");
            pods.delete(&ana, &id, 200).await;
            assert_eq!(status(&ana).await, unknown(server), "{server:?}");
        }
    }

    /// The server's own answer to a session that it does not know. The specification demands 404.
    fn unknown(server: ForeignServer) -> u16 {
        match server {
            Everything => 400,
            FastMcp => 404,
        }
    }
}
