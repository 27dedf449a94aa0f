//! What a service answered, and what its saying no means.

use serde_json::Value;
use ureq::http::HeaderMap;

use crate::HubError;
use crate::http::Service;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The content as JSON.
    pub fn json(&self, place: &str) -> Result<Value, HubError> {
        let remedy = "is a login page or a proxy in between? check the address of the service in the environment";
        let refuse = |e| HubError::refused(place, self.status, format!("its answer is not JSON ({e})"), remedy);
        serde_json::from_str(&self.text).map_err(refuse)
    }
}

/// What a service said when it said no, in its own words where it has some.
pub(crate) fn said(reply: &Reply, service: Option<&Service>) -> String {
    const MOST: usize = 400;
    let json: Value = serde_json::from_str(&reply.text).unwrap_or(Value::Null);
    let mut words = ["message", "error"].iter().find_map(|k| json[k].as_str()).unwrap_or_default().to_owned();
    if words.is_empty() {
        words = reply.headers.get("x-error-message").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    }
    for error in json["errors"].as_array().into_iter().flatten().take(5) {
        let message = error["message"].as_str().or_else(|| error["messages"][0].as_str()).or_else(|| error.as_str());
        if let Some(message) = message {
            let field = error["field"].as_str().map_or_else(String::new, |f| format!("{f}: "));
            words.push_str(&format!("{}{field}{message}", if words.is_empty() { "" } else { "; " }));
        }
    }
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
    let words = match service.and_then(|s| s.token.as_ref()) {
        Some(token) => token.hide(&words),
        None => words,
    };
    let name = status_name(reply.status);
    match words.trim() {
        "" => format!("{} {name}", reply.status),
        words => format!("{} {name} ({words})", reply.status),
    }
}

fn status_name(status: u16) -> &'static str {
    ureq::http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("without a reason")
}

/// An answer that is not what was hoped for, with what to do.
pub(crate) fn refused(place: &str, service: Option<&Service>, reply: &Reply) -> HubError {
    let remedy = match (reply.status, service) {
        (401 | 403, Some(s)) => match &s.token {
            Some(_) => format!("the token in {} does not allow this: is it valid? {}", s.variable, s.tokens),
            None => format!("put a token into {}: {}", s.variable, s.tokens),
        },
        (401 | 403, None) => "it wants a login; fetch it by hand, or give an address that everybody may use".to_owned(),
        (404, _) => "there is nothing of that name; check the address".to_owned(),
        (409 | 412, _) => "somebody changed it meanwhile; run the same command again".to_owned(),
        (410, _) => "it was withdrawn".to_owned(),
        (413, _) => "it is larger than the service takes".to_owned(),
        (400 | 422, _) => "correct what it names".to_owned(),
        (429 | 500.., _) => "try again later".to_owned(),
        _ => "check the address".to_owned(),
    };
    HubError::refused(place, reply.status, said(reply, service), remedy)
}

/// An answer without something that it has to have.
pub(crate) fn lacking(place: &str, what: &str) -> HubError {
    let remedy = "the service may have changed; update scgraft";
    HubError::refused(place, 0, format!("its answer has no `{what}`"), remedy)
}
