//! The limits of the memory and the number of requests in flight, for one user and for all.

use std::convert::Infallible;
use std::future::Future;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use behalf_simulators::people::{ANA, BEN, Person};
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, future, stream};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::world::{Login, Sidecar, World, body, call, list, post};

/// One byte less than the largest message.
const LARGE: usize = 4 * 1024 * 1024 - 1;

/// Number of large messages that fit into the memory of one user.
const FIT: usize = 2;

/// Number of users whose messages fill the memory for all users.
const USERS: [&str; 7] = [
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000002",
    "00000000-0000-4000-8000-000000000003",
    "00000000-0000-4000-8000-000000000004",
    "00000000-0000-4000-8000-000000000005",
    "00000000-0000-4000-8000-000000000006",
    "00000000-0000-4000-8000-000000000007",
];

/// Maximum number of tool calls of one user in flight.
const MAX_CALLS: usize = 16;

/// Returns a message that stops after [`LARGE`] bytes. `taken` is notified when these bytes have been read.
fn unfinished<'a>(
    sidecar: &'a Sidecar,
    login: &Login,
    taken: &UnboundedSender<()>,
) -> impl Future<Output = Response<Body>> + use<'a> {
    let begin = stream::once(future::ready(Ok::<_, Infallible>(Bytes::from(vec![b' '; LARGE]))));
    let taken = taken.clone();
    // The reader polls for more, so it has read the bytes before. No more bytes follow.
    let rest = stream::once(async move {
        taken.send(()).unwrap();
        future::pending().await
    });
    let request = post(login).body(Body::from_stream(begin.chain(rest)));
    sidecar.send(request.unwrap())
}

async fn assert_busy(response: Response<Body>) {
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let answer = body(response).await;
    assert_eq!(
        (&answer["jsonrpc"], &answer["error"]["code"]),
        (&"2.0".into(), &503.into())
    );
}

#[tokio::test]
async fn messages_beyond_the_memory_for_all_users_get_503() {
    let world = World::start().await;
    let sidecar = world.sidecar_for_client();
    let (taken, mut arrivals) = unbounded_channel();
    let mut under_way = FuturesUnordered::new();
    for object_id in USERS {
        let login = sidecar.sign_in_as(&world, Person { object_id, ..ANA }).await;
        under_way.extend((0..FIT).map(|_| unfinished(&sidecar, &login, &taken)));
    }
    for _ in 0..FIT * USERS.len() {
        tokio::select! {
            Some(answer) = under_way.next() => panic!("{answer:?}"),
            Some(()) = arrivals.recv() => {}
        }
    }
    let login = sidecar.sign_in_as(&world, BEN).await;
    assert_busy(sidecar.post(&login, &call()).await).await;
    assert!(world.server.received().is_empty());

    // Requests without a sign-in use other memory.
    let form = sidecar.post_form("/token", &[("grant_type", "other")]).await;
    assert_eq!(form.status(), StatusCode::BAD_REQUEST);

    drop(under_way);
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::OK, "and all of it comes back");
}

#[tokio::test]
async fn messages_of_one_user_use_only_a_part_of_the_memory_through_all_sessions() {
    let world = World::start().await;
    let sidecar = world.sidecar_for_client();
    let (first, second) = (sidecar.sign_in(&world).await, sidecar.sign_in(&world).await);
    let bens = sidecar.sign_in_as(&world, BEN).await;
    let (taken, mut arrivals) = unbounded_channel();
    let mut under_way: FuturesUnordered<_> = [&first, &second]
        .into_iter()
        .map(|login| unfinished(&sidecar, login, &taken))
        .collect();
    for _ in 0..FIT {
        tokio::select! {
            Some(answer) = under_way.next() => panic!("{answer:?}"),
            Some(()) = arrivals.recv() => {}
        }
    }
    for login in [&first, &second] {
        assert_busy(sidecar.post(login, &call()).await).await;
    }
    assert_eq!(sidecar.post(&bens, &call()).await.status(), StatusCode::OK);
    drop(under_way);
    assert_eq!(sidecar.post(&first, &call()).await.status(), StatusCode::OK);
}

/// An event stream with one event, which does not end.
fn endless_stream() -> Response<Body> {
    let begin = stream::once(future::ready(Ok::<_, Infallible>(Bytes::from("data: 1\n\n"))));
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(Body::from_stream(begin.chain(stream::pending())))
        .unwrap()
}

#[tokio::test]
async fn each_user_has_a_limit_of_tool_calls_in_flight() {
    let world = World::start().await;
    let sidecar = world.sidecar_for_client();
    let (first, second) = (sidecar.sign_in(&world).await, sidecar.sign_in(&world).await);
    let bens = sidecar.sign_in_as(&world, BEN).await;
    // A call keeps its place until its answer has ended.
    world.server.answers(|_| endless_stream());
    let mut open = Vec::new();
    for number in 0..MAX_CALLS {
        let login = if number % 2 == 0 { &first } else { &second };
        let response = sidecar.post(login, &call()).await;
        assert_eq!(response.status(), StatusCode::OK, "{number}");
        open.push(response);
    }
    for login in [&first, &second] {
        let response = sidecar.post(login, &call()).await;
        assert_busy(response).await;
        let other = sidecar
            .post(login, &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}))
            .await;
        assert_eq!(other.status(), StatusCode::OK);
    }
    assert_eq!(sidecar.post(&bens, &call()).await.status(), StatusCode::OK);
    open.pop();
    assert_eq!(sidecar.post(&first, &call()).await.status(), StatusCode::OK);
}

/// The request of a client that listens for notifications.
fn get(login: &Login) -> Request<Body> {
    Request::get("https://mcp.contoso.example/mcp")
        .header("authorization", format!("Bearer {}", login.access_token))
        .header("accept", "text/event-stream")
        .body(Body::empty())
        .unwrap()
}

/// Maximum number of GET requests of one user in flight, and of other requests that are no tool calls.
const MAX_STREAMS: usize = 64;
const MAX_OTHERS: usize = 64;

/// A user with the token of one session could otherwise take every connection of the port.
#[tokio::test]
async fn each_user_has_a_limit_of_open_streams_and_other_requests() {
    let world = World::start().await;
    let sidecar = world.sidecar_for_client();
    let (first, second) = (sidecar.sign_in(&world).await, sidecar.sign_in(&world).await);
    let bens = sidecar.sign_in_as(&world, BEN).await;
    world.server.answers(|_| endless_stream());
    let mut open = Vec::new();
    for number in 0..MAX_STREAMS {
        let login = if number % 2 == 0 { &first } else { &second };
        let response = sidecar.send(get(login)).await;
        assert_eq!(response.status(), StatusCode::OK, "{number}");
        open.push(response);
    }
    for login in [&first, &second] {
        assert_busy(sidecar.send(get(login)).await).await;
    }
    assert_eq!(sidecar.send(get(&bens)).await.status(), StatusCode::OK);
    // Open streams do not keep a client from sending messages, and both leave tool calls alone.
    let mut lists = Vec::new();
    for number in 0..MAX_OTHERS {
        let response = sidecar.post(&first, &list()).await;
        assert_eq!(response.status(), StatusCode::OK, "{number}");
        lists.push(response);
    }
    assert_busy(sidecar.post(&second, &list()).await).await;
    assert_eq!(sidecar.post(&first, &call()).await.status(), StatusCode::OK);
    open.pop();
    lists.pop();
    assert_eq!(sidecar.send(get(&first)).await.status(), StatusCode::OK);
    assert_eq!(sidecar.post(&second, &list()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn thirty_calls_of_an_agent_at_once_succeed_when_the_server_is_fast() {
    let world = World::start().await;
    let sidecar = world.sidecar_for_client();
    let login = sidecar.sign_in(&world).await;
    world.server.answers(|_| {
        let slowly = stream::once(async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            Ok::<_, Infallible>(Bytes::from("{}"))
        });
        Response::builder()
            .header("content-type", "application/json")
            .body(Body::from_stream(slowly))
            .unwrap()
    });
    let answers = (0..30).map(|_| async {
        let response = sidecar.post(&login, &call()).await;
        let status = response.status();
        body(response).await;
        status
    });
    let answers = future::join_all(answers).await;
    assert_eq!(answers, [StatusCode::OK; 30]);
}
