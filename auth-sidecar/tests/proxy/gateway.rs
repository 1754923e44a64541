//! Tests that a client receives early answers whole through nginx with TLS and HTTP/2.

use behalf_auth_sidecar::lifecycle;
use rstest::rstest;

use crate::nginx::Nginx;
use crate::world::World;

/// The sidecar answers before it has the body. nginx must neither lose this answer nor make a 502 of it.
#[rstest]
#[case::no_token("/mcp", "application/json", 401)]
#[case::too_large("/register", "application/json", 413)]
#[case::too_large_a_form("/token", "application/x-www-form-urlencoded", 413)]
#[tokio::test]
async fn an_early_answer_passes_a_gateway_every_time(
    #[case] path: &str,
    #[case] content_type: &str,
    #[case] status: u16,
    #[values(60_000, 1_000_000, 4_000_000)] size: usize,
) {
    let world = World::start().await;
    let started = lifecycle::Sidecar::start(world.loaded(), world.environment()).await;
    let sidecar = started.unwrap();
    let gateway = Nginx::start(sidecar.public()).await;
    let (http, url) = (gateway.http(), gateway.origin().join(path).unwrap());
    for number in 0..12 {
        let request = http
            .post(url.clone())
            .header("content-type", content_type)
            .body(vec![b'x'; size]);
        let response = request.send().await;
        let response = response.unwrap_or_else(|error| panic!("{number}: {error:?}"));
        assert_eq!(response.status().as_u16(), status, "{number}");
        let body = response.bytes().await;
        body.unwrap_or_else(|error| panic!("{number}: {error:?} in the body"));
    }
    drop(http);
    sidecar.stop().await;
}
