//! `api-version`: in the query or in `Accept` (azure-devops.md, section 1).

use http::{Method, header, request::Parts};

use super::{error::ServiceError, query::Query};

/// Paths that exist as preview only, or only from some version on.
const PREVIEWS: [(&str, &str); 2] = [
    ("/build/latest/", "7.1-preview.1"),
    ("/_apis/pipelines/environments", "7.2-preview.1"),
];

/// Refuses a version that the route does not have.
pub(super) fn check(parts: &Parts) -> Result<(), ServiceError> {
    let accept = parts
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let query = Query::parse(parts.uri.query());
    let in_accept = accept
        .split(';')
        .find_map(|part| part.trim().strip_prefix("api-version="));
    let Some(version) = query.get("api-version").or(in_accept) else {
        if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        return Err(ServiceError::version(
            "VssVersionNotSpecifiedException",
            format!(
                "No api-version was supplied for the \"{}\" request. The version must be supplied either as part of the Accept header or as a query parameter.",
                parts.method
            ),
        ));
    };
    let (number, preview) = match version.split_once("-preview") {
        Some((number, _)) => (number, true),
        None => (version, false),
    };
    let Some((major, minor)) = number
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)))
    else {
        return Err(ServiceError::version(
            "VssInvalidApiResourceVersionException",
            format!("The api-version \"{version}\" is not valid."),
        ));
    };
    if (major, minor) > (7, 2) || major < 5 {
        return Err(ServiceError::version(
            "VssVersionOutOfRangeException",
            format!("The requested REST API version of {version} is out of range for this server."),
        ));
    }
    let needed = PREVIEWS.iter().find(|(path, _)| parts.uri.path().contains(path));
    let is_preview = (major, minor) == (7, 2) || needed.is_some();
    if is_preview && !preview {
        let example = needed.map_or("7.2-preview.1", |(_, example)| *example);
        return Err(ServiceError::version(
            "VssInvalidPreviewVersionException",
            format!(
                "The requested version \"{version}\" of the resource is under preview. The -preview flag must be supplied in the api-version for such requests. For example: \"{example}\""
            ),
        ));
    }
    if let Some((path, example)) = needed
        && example.starts_with("7.2")
        && (major, minor) < (7, 2)
    {
        return Err(ServiceError::version(
            "VssVersionOutOfRangeException",
            format!("The resource {path} begins with version {example}."),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn checked(method: Method, uri: &str) -> Result<(), String> {
        let (parts, ()) = Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .unwrap()
            .into_parts();
        check(&parts).map_err(|error| error.type_key)
    }

    #[test]
    fn wants_a_version_for_a_change_and_a_preview_where_there_is_nothing_else() {
        let refused = |type_key: &str| Err(type_key.to_owned());
        assert_eq!(checked(Method::GET, "/o/p/_apis/build/builds"), Ok(()));
        assert_eq!(
            checked(Method::POST, "/o/p/_apis/x"),
            refused("VssVersionNotSpecifiedException")
        );
        assert_eq!(checked(Method::POST, "/o/p/_apis/x?api-version=7.1"), Ok(()));
        assert_eq!(
            checked(Method::GET, "/o/p/_apis/build/latest/178?api-version=7.1"),
            refused("VssInvalidPreviewVersionException")
        );
        assert_eq!(
            checked(
                Method::GET,
                "/o/p/_apis/build/latest/178?api-version=7.1-preview.1"
            ),
            Ok(())
        );
        assert_eq!(
            checked(Method::GET, "/o/_apis/x?api-version=99.0"),
            refused("VssVersionOutOfRangeException")
        );
        assert_eq!(
            checked(Method::GET, "/o/_apis/x?api-version=latest"),
            refused("VssInvalidApiResourceVersionException")
        );
    }
}
