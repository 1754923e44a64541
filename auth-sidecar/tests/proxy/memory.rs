//! What bodies on their way in may take together.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, future, stream};
use tokio::sync::mpsc;

use crate::world::{World, body, call, post};

/// The largest message, but for a byte.
const LARGE: usize = 4 * 1024 * 1024 - 1;

/// As many of them as fit.
const FIT: usize = 14;

#[tokio::test]
async fn messages_that_would_take_more_memory_than_there_is_for_them_are_told_to_come_again() {
    let world = World::start().await;
    let sidecar = world.sidecar_for_client();
    let login = sidecar.sign_in(&world).await;
    let large = Bytes::from(vec![b' '; LARGE]);
    let (taken, mut arrivals) = mpsc::unbounded_channel();
    let mut under_way: FuturesUnordered<_> = (0..FIT)
        .map(|_| {
            let (begin, taken) = (Ok::<_, Infallible>(large.clone()), taken.clone());
            // Asked for more, so it has what came before; and more never comes.
            let rest = stream::once(async move {
                taken.send(()).unwrap();
                future::pending().await
            });
            let request =
                post(&login).body(Body::from_stream(stream::once(future::ready(begin)).chain(rest)));
            sidecar.send(request.unwrap())
        })
        .collect();
    for _ in 0..FIT {
        tokio::select! {
            Some(answer) = under_way.next() => panic!("{answer:?}"),
            Some(()) = arrivals.recv() => {}
        }
    }
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let answer = body(response).await;
    assert_eq!(
        (&answer["jsonrpc"], &answer["error"]["code"]),
        (&"2.0".into(), &503.into())
    );
    assert!(world.server.received().is_empty());

    // What anybody may send has a share of its own.
    let form = sidecar.post_form("/token", &[("grant_type", "other")]).await;
    assert_eq!(form.status(), StatusCode::BAD_REQUEST);

    drop(under_way);
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::OK, "and all of it comes back");
}
