//! An answer of the sidecar, and the checks that many tests make of it.

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::Url;

use crate::fixture::parameter;

/// An answer whose body has been read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns the names and values of `Set-Cookie`, without attributes.
    pub(crate) fn cookies(&self) -> Vec<(String, String)> {
        let cookie = |value: &axum::http::HeaderValue| {
            let text = value.to_str().unwrap().split(';').next().unwrap().to_owned();
            let (name, value) = text.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        self.headers.get_all("set-cookie").iter().map(cookie).collect()
    }

    /// Returns the first cookie as a browser sends it.
    pub(crate) fn cookie(&self) -> String {
        let (name, value) = self.cookies().remove(0);
        format!("{name}={value}")
    }

    pub(crate) fn location(&self) -> Url {
        Url::parse(
            self.header("location")
                .unwrap_or_else(|| panic!("no redirect: {self:?}")),
        )
        .unwrap()
    }

    /// Returns a parameter of the redirect.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.location(), name)
    }

    pub(crate) fn tokens(&self) -> Tokens {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        Tokens {
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }

    /// Asserts that the answer is an OAuth error that must not be cached. One that passes says when to try again.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, error: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.json()["error"], error, "{}", self.body);
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let description = self.json()["error_description"].as_str().unwrap().to_owned();
        assert!(!description.is_empty() && description.is_ascii(), "{description}");
        if status == 503 {
            let seconds = self.header("retry-after").map(str::parse::<u64>);
            assert!(matches!(seconds, Some(Ok(1..))), "{:?}", self.headers);
        }
    }

    /// Asserts that the answer is a page of the sidecar, without redirect and cookie.
    #[track_caller]
    pub(crate) fn assert_page(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert!(
            self.header("content-type").unwrap().starts_with("text/html"),
            "{:?}",
            self.headers
        );
        assert_eq!(self.header("location"), None);
        assert_eq!(self.header("set-cookie"), None);
        assert_eq!(self.header("cache-control"), Some("no-store"));
    }

    /// Returns the hidden fields of the consent form: request and CSRF token.
    pub(crate) fn form(&self) -> (String, String) {
        let field = |name: &str| {
            let start = self.body.find(&format!("name=\"{name}\" value=\"")).unwrap();
            let rest = &self.body[start..];
            rest.split('"').nth(3).unwrap().to_owned()
        };
        (field("request"), field("csrf"))
    }
}
