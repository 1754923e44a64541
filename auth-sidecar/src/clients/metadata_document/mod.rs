//! Client ID Metadata Documents: the id of a client is the https address of a document that describes it
//! (draft-ietf-oauth-client-id-metadata-document-00).
//!
//! The sidecar reads a document only when a user begins a login. Anybody can name any address there, so the fetch
//! reaches public hosts alone, and its result is small, cached and limited. While the host of a known client does not answer,
//! or the limits are used up, the last good document serves. `docs/adr/0024-*` has the reasons.

mod content;
mod freshness;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzzing;
mod public_addresses;
mod source;
mod tunnel;

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::StatusCode;
use behalf_contract::{DocumentUrl, EgressProxy, MetadataDocumentsConfig, MetadataDocumentsPolicy};
use behalf_entra::{Clock, TrustError, TrustRoots};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use moka::future::Cache;
use reqwest::dns::Resolve;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(super) use content::Document;
use content::{DocumentError, MAX_DOCUMENT_BYTES, is_json};
use freshness::{MIN_FRESHNESS, freshness};
pub use public_addresses::{PublicAddresses, SystemResolver};
use source::{LIMITS, Source};

use super::error::ClientError;
use crate::limits::address_budget::AddressBudgets;
use crate::limits::token_bucket::Rate;
use crate::telemetry::metrics::Metrics;

/// The metadata documents that one address causes to be fetched. All users of a company together have a few clients, and a
/// document is fetched once a minute at most.
const DOCUMENTS_OF_ONE: Rate = Rate {
    burst: 30.0,
    per_second: 0.5,
};

/// The metadata documents that all addresses together cause to be fetched. Everybody can name any address; no host gets
/// more than ten requests a second from one replica.
const DOCUMENTS: Rate = Rate {
    burst: 100.0,
    per_second: 10.0,
};

/// Maximum number of cached documents. The least used ones are dropped, so that a stranger with many documents drops none of a
/// client that many users have. A document of many short texts takes 20 KiB, so that all take at most 5 MiB.
const MAX_DOCUMENTS: u64 = 256;

/// Maximum number of fetches in flight. The burst of one address (30) leaves places for others, also if its hosts never
/// answer.
const MAX_FETCHES: usize = 40;

/// A stale document serves for at most this long while its host cannot be asked, so that an outage of a vendor does not
/// keep its users from signing in.
const MAX_STALE: SignedDuration = SignedDuration::from_hours(24);

/// The metadata documents of clients, and how they are read.
pub(crate) struct MetadataDocuments {
    allowed_hosts: Vec<String>,
    source: Source,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    fetches: AddressBudgets,
    running: Semaphore,
    cache: Cache<DocumentUrl, Cached>,
}

/// The result of a fetch. Logins that wait for the same document share it. A failure is never fresh, so that the next
/// login fetches the document again.
#[derive(Clone)]
struct Cached {
    document: Result<Arc<Document>, ClientError>,
    fresh_until: Timestamp,

    /// Until this time the document serves while its host cannot be asked.
    usable_until: Timestamp,
}

impl Cached {
    fn failed(error: ClientError) -> Self {
        Self {
            document: Err(error),
            fresh_until: Timestamp::MIN,
            usable_until: Timestamp::MIN,
        }
    }

    /// A document that its host has just sent.
    fn good(document: Document, freshness: SignedDuration, now: Timestamp) -> Self {
        let fresh_until = now.checked_add(freshness).unwrap_or(Timestamp::MAX);
        Self {
            document: Ok(Arc::new(document)),
            fresh_until,
            usable_until: fresh_until.checked_add(MAX_STALE).unwrap_or(Timestamp::MAX),
        }
    }

    /// The document once more, after its host could not be asked. Logins of the next minute do not try again.
    fn stale(self, now: Timestamp) -> Self {
        let pause = now.checked_add(MIN_FRESHNESS).unwrap_or(Timestamp::MAX);
        Self {
            fresh_until: pause.min(self.usable_until),
            ..self
        }
    }
}

impl MetadataDocuments {
    /// Returns `None` if the configuration disables documents. `resolver` decides which addresses a fetch may connect
    /// to: [`PublicAddresses`], except in tests. `outgoing` has the trusted certificates and the installation's proxy.
    pub(crate) fn new(
        config: &MetadataDocumentsConfig,
        outgoing: (&TrustRoots, Option<&EgressProxy>),
        resolver: Arc<dyn Resolve>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>, TrustError> {
        if config.policy == MetadataDocumentsPolicy::Disabled {
            return Ok(None);
        }
        Ok(Some(Self {
            allowed_hosts: config.allowed_hosts.clone(),
            source: Source::new(outgoing, resolver, &config.hosts_by_name)?,
            fetches: AddressBudgets::new(DOCUMENTS_OF_ONE, DOCUMENTS, clock.now()),
            clock,
            metrics,
            running: Semaphore::new(MAX_FETCHES),
            cache: Cache::new(MAX_DOCUMENTS),
        }))
    }

    /// Checks that this address may be the id of a client. Reads nothing.
    pub(super) fn check(&self, url: &DocumentUrl) -> Result<(), ClientError> {
        let allows =
            self.allowed_hosts.is_empty() || self.allowed_hosts.iter().any(|host| host == url.host());
        if allows { Ok(()) } else { Err(ClientError::Refused) }
    }

    /// Returns the document at this address, from the cache if it is fresh. `caller` is the address of the browser,
    /// whose budget a fetch is charged to. At most one fetch of a document is in flight.
    pub(super) async fn load(
        &self,
        url: &DocumentUrl,
        caller: Option<IpAddr>,
    ) -> Result<Arc<Document>, ClientError> {
        let now = self.clock.now();
        let is_stale = |cached: &Cached| cached.fresh_until <= now;
        let last_good = self.cache.get(url).await.filter(|last| last.usable_until > now);
        let entry = self.cache.entry_by_ref(url);
        let cached = entry
            .or_insert_with_if(self.fetch(url, caller, last_good, now), is_stale)
            .await
            .into_value();
        if cached.document.is_err() {
            self.cache.invalidate(url).await;
        }
        cached.document
    }

    async fn fetch(
        &self,
        url: &DocumentUrl,
        caller: Option<IpAddr>,
        last_good: Option<Cached>,
        now: Timestamp,
    ) -> Cached {
        let error = match self.read_within_limits(url, caller, now).await {
            Ok((document, freshness)) => return Cached::good(document, freshness, now),
            Err(error) => error,
        };
        let last_good = last_good.filter(|_| error.says_nothing_about_the_document());
        // Only the log names the cause. An answer that depended on it would let anybody probe networks.
        tracing::info!(
            error = &error as &dyn std::error::Error,
            client.document = url.as_str(),
            client.document_is_stale = last_good.is_some(),
            "Unable to use the metadata document of a client: {error}"
        );
        match (last_good, error) {
            // This sender may not ask the host. The next one still may, so that a withdrawal is found.
            (Some(last_good), DocumentError::Limited) => last_good,
            (Some(last_good), _) => last_good.stale(now),
            (None, DocumentError::Limited) => Cached::failed(ClientError::Busy),
            (None, _) => Cached::failed(ClientError::Document),
        }
    }

    async fn read_within_limits(
        &self,
        url: &DocumentUrl,
        caller: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(Document, SignedDuration), DocumentError> {
        let _permit = self.running.try_acquire().map_err(|_| DocumentError::Limited)?;
        if !self.fetches.try_charge(caller, now) {
            return Err(DocumentError::Limited);
        }
        let began = Instant::now();
        let read = tokio::time::timeout(LIMITS.request, self.read(url)).await;
        let read = read.unwrap_or_else(|late| Err(DocumentError::Fetch(late.into())));
        let seconds = began.elapsed().as_secs_f64();
        self.metrics.metadata_document(read.is_ok(), seconds);
        read
    }

    async fn read(&self, url: &DocumentUrl) -> Result<(Document, SignedDuration), DocumentError> {
        let response = self.source.get(url).await.map_err(DocumentError::Fetch)?;
        // The client follows no redirect: its target would be another address than the one that the client proved.
        if response.status() != StatusCode::OK {
            return Err(DocumentError::Status(response.status()));
        }
        if !is_json(response.headers()) {
            return Err(DocumentError::MediaType);
        }
        let freshness = freshness(response.headers());
        let mut parts = response.into_body().into_data_stream();
        let mut bytes = Vec::new();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| DocumentError::Fetch(error.into()))?;
            if bytes.len() + part.len() > MAX_DOCUMENT_BYTES {
                return Err(DocumentError::TooLarge);
            }
            bytes.extend_from_slice(&part);
        }
        Ok((Document::parse(&bytes, url.as_str())?, freshness))
    }
}
