//! Parts of addresses: what decides where a request and its token go.

/// Scheme and host (with the port where it is not the usual one) of an address.
pub(crate) fn origin(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let host = rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())].to_ascii_lowercase();
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(usual).unwrap_or(&host).to_owned();
    (!host.is_empty() && !host.contains('@')).then_some((scheme, host))
}

/// Where a redirect from an address leads.
pub(crate) fn join(url: &str, to: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = &rest[..host_end];
    let is_whole = to.split_once("://").is_some_and(|(s, _)| s.bytes().all(|b| b.is_ascii_alphanumeric()));
    let joined = if is_whole {
        to.to_owned()
    } else if let Some(rest) = to.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if to.starts_with('/') {
        format!("{scheme}://{host}{to}")
    } else {
        let path = rest[host_end..].split(['?', '#']).next().unwrap_or("");
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        format!("{scheme}://{host}{folder}{to}")
    };
    let end = joined.find('#').unwrap_or(joined.len());
    Some(joined[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart() {
        let same = |a: &str, b: &str| origin(a).is_some() && origin(a) == origin(b);
        assert!(same("https://zenodo.org/api", "HTTPS://Zenodo.org:443/x"));
        assert!(!same("https://zenodo.org/api", "http://zenodo.org/api"));
        assert!(!same("https://zenodo.org/api", "https://zenodo.org:8443/api"));
        assert!(!same("https://zenodo.org/api", "https://zenodo.org.evil.com/api"));
        assert!(!same("https://zenodo.org/api", "https://evil.com/zenodo.org"));
        assert_eq!(origin("https://zenodo.org@evil.com/"), None);
        assert_eq!(origin("https://evil.com\\@zenodo.org/").unwrap().1, "evil.com");
    }

    #[test]
    fn redirects_lead_where_they_say() {
        let from = |to: &str| join("https://a.org/x/y?q=1", to).unwrap();
        assert_eq!(from("https://b.org/z#f"), "https://b.org/z");
        assert_eq!(from("//b.org/z"), "https://b.org/z");
        assert_eq!(from("/z"), "https://a.org/z");
        assert_eq!(from("z?to=https://c"), "https://a.org/x/z?to=https://c");
        assert_eq!(from("z"), "https://a.org/x/z");
        assert_eq!(join("https://a.org", "z").unwrap(), "https://a.org/z");
    }
}
