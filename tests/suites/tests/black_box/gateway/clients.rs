//! The official SDKs behind the gateway: discovery, login and calls through TLS.

use std::io::Write as _;

use behalf_simulators::people::{ANA, BEN};
use behalf_tests::inspector::Protocol;
use behalf_tests::limits::LIMIT;
use behalf_tests::sdk_client::{Sdk, SdkClient, Work};

use super::behind_a_gateway;
use crate::ensure;
use crate::scratch_server::sessions_in_redis;
use crate::sign_in::calls;
use crate::world::{TestResult, World};

crate::tests![Scratch: [the_official_sdks_sign_in_and_call_all_tools_through_tls_and_a_gateway]];

async fn the_official_sdks_sign_in_and_call_all_tools_through_tls_and_a_gateway(world: &World) -> TestResult {
    behind_a_gateway(world, sessions_in_redis(world)?, LIMIT, async |gateway| {
        let mut authority = tempfile::NamedTempFile::new()?;
        authority.write_all(gateway.authority.as_bytes())?;
        let calls = calls();
        for (sdk, protocol, person) in [
            (Sdk::Python, Protocol::Modern, &ANA),
            (Sdk::TypeScript, Protocol::Modern, &BEN),
            (Sdk::TypeScript1, Protocol::Legacy, &ANA),
        ] {
            let work = Work {
                server: &gateway.mcp,
                protocol,
                sign_ins: 1,
                calls: &calls,
                cleared: None,
                authority: Some(authority.path()),
            };
            let sessions = SdkClient::install(sdk)?.run(&work, person).await?;
            let [session] = sessions.as_slice() else {
                return Err(format!("{sdk:?} has {} sessions", sessions.len()).into());
            };
            let good = session.results.iter().filter(|result| !result.is_error).count();
            ensure!(
                session.sign_ins == 1 && good == calls.len(),
                "{sdk:?} signed in {} times and got {:?}",
                session.sign_ins,
                session.results
            );
        }
        Ok(())
    })
    .await
}
