//! Login and tools with the MCP Inspector's command line, version and Node.js pinned in `tests/inspector`.

use behalf_demo::environment::Server;
use behalf_simulators::people::ANA;
use behalf_tests::inspector::{Inspector, Protocol};
use serde_json::Value;

use crate::ensure;
use crate::sign_in::calls;
use crate::world::{TestResult, World};

crate::tests![
    Traffic: [
        the_inspector_signs_in_and_calls_all_four_tools_in_the_legacy_era,
        the_inspector_signs_in_and_calls_all_four_tools_in_the_modern_era,
    ],
];

async fn all_four_tools(world: &World, server: Server, protocol: Protocol) -> TestResult {
    let inspector = Inspector::install()?;
    // Without --use-stored-auth the Inspector signs in again at each start.
    let mut home = inspector.visit(&world.layout.mcp_url(server), protocol)?;
    for (tool, arguments) in calls() {
        let answer = home.call(tool, &arguments, &ANA).await?;
        ensure!(
            answer.pointer("/isError") != Some(&Value::Bool(true)),
            "{tool} refused: {answer}"
        );
        ensure!(
            answer.pointer("/content/0/text").is_some(),
            "{tool} answered nothing: {answer}"
        );
    }
    ensure!(
        home.sign_ins() == calls().len(),
        "it signed in {} times",
        home.sign_ins()
    );
    Ok(())
}

async fn the_inspector_signs_in_and_calls_all_four_tools_in_the_legacy_era(world: &World) -> TestResult {
    all_four_tools(world, Server::Quickstart, Protocol::Legacy).await
}

async fn the_inspector_signs_in_and_calls_all_four_tools_in_the_modern_era(world: &World) -> TestResult {
    all_four_tools(world, Server::Article, Protocol::Modern).await
}
