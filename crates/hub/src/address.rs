//! Where a model or an adaptor lies, when that is not a path.
//!
//! | address | what it names |
//! |---|---|
//! | `zenodo:RECORD[/FILE]` | a record of Zenodo; the number of all versions names the newest |
//! | `doi:10.5281/zenodo.RECORD[/FILE]`, `10.5281/zenodo.RECORD`, `https://doi.org/10.5281/zenodo.RECORD` | the same |
//! | `https://zenodo.org/records/RECORD[/files/FILE]` | the same, as a browser shows it |
//! | `hf:ORG/NAME[@REVISION][/FILE]` | a repository of Hugging Face; a revision is a branch, a tag or a commit |
//! | `https://huggingface.co/ORG/NAME[/tree, /blob or /resolve/REVISION[/FILE]]` | the same, as a browser shows it |
//! | `https://…[#sha256=HEX]` | a file; with what it must hash to, where that is known |

use std::fmt;

use crate::HubError;

/// A place on the network that a model or an adaptor can be fetched from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A record of Zenodo.
    Zenodo {
        /// Its number.
        record: String,
        /// The file in it; may be left out where the record holds one of ours.
        file: Option<String>,
    },
    /// A model repository of Hugging Face.
    HuggingFace {
        /// `ORG/NAME`.
        repository: String,
        /// A branch, a tag or a commit; `main` when left out.
        revision: Option<String>,
        /// The file in it; may be left out where the repository holds one of ours.
        file: Option<String>,
    },
    /// A file on a server.
    Web {
        /// Where it lies.
        url: String,
        /// The SHA-256 that it must have, in lower-case hexadecimal digits.
        sha256: Option<String>,
    },
}

/// How addresses are spelt, for messages.
const FORMS: &str = "addresses are `zenodo:RECORD[/FILE]`, `doi:10.5281/zenodo.RECORD`, `hf:ORG/NAME[@REVISION][/FILE]` \
                     and `https://…`; a file of that name is `./NAME`";
const DOI: &str = "10.5281/zenodo.";
/// What Zenodo's place for trying things out puts before its numbers.
const SANDBOX_DOI: &str = "10.5072/zenodo.";

impl Address {
    /// Reads an address; `None` when the text is a path.
    ///
    /// # Errors
    /// When it begins as an address and goes on as none.
    pub fn parse(text: &str) -> Result<Option<Address>, HubError> {
        let wrong = |what: &str| HubError::Address { address: shown(text), what: what.to_owned() };
        if let Some(rest) = text.strip_prefix("zenodo:") {
            return zenodo(rest).map(Some).map_err(wrong);
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            return hugging_face(rest).map(Some).map_err(wrong);
        }
        if let Some(rest) = text.strip_prefix("doi:") {
            return doi(rest).map(Some).map_err(wrong);
        }
        if text.starts_with(DOI) || text.starts_with(SANDBOX_DOI) {
            return doi(text).map(Some).map_err(wrong);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "https" => web(text, rest, true),
                "http" => web(text, rest, false),
                _ => Err(FORMS),
            }
            .map(Some)
            .map_err(wrong);
        }
        Ok(None)
    }

    /// The file that it names.
    pub fn file(&self) -> Option<&str> {
        match self {
            Address::Zenodo { file, .. } | Address::HuggingFace { file, .. } => file.as_deref(),
            Address::Web { url, .. } => {
                let path = url.split(['?', '#']).next().unwrap_or(url);
                path.split_once("://").and_then(|p| p.1.split_once('/')).map(|p| p.1).filter(|p| !p.is_empty())
            }
        }
    }

    /// The same place with another file of it.
    #[must_use]
    pub fn with_file(&self, name: &str) -> Address {
        let mut out = self.clone();
        match &mut out {
            Address::Zenodo { file, .. } | Address::HuggingFace { file, .. } => *file = Some(name.to_owned()),
            Address::Web { url, sha256 } => {
                let end = url.find(['?', '#']).unwrap_or(url.len());
                let start = url[..end].rfind('/').map_or(0, |at| at + 1);
                *url = format!("{}{}{}", &url[..start], encode(name, false), &url[end..]);
                *sha256 = None;
            }
        }
        out
    }
}

impl fmt::Display for Address {
    /// The shortest spelling; it parses to the same address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = match self {
            Address::Zenodo { record, file } => {
                write!(f, "zenodo:{record}")?;
                file
            }
            Address::HuggingFace { repository, revision, file } => {
                write!(f, "hf:{repository}")?;
                if let Some(revision) = revision {
                    write!(f, "@{}", encode(revision, false))?;
                }
                file
            }
            Address::Web { url, sha256: Some(hash) } => return write!(f, "{url}#sha256={hash}"),
            Address::Web { url, sha256: None } => return f.write_str(url),
        };
        file.as_ref().map_or(Ok(()), |file| write!(f, "/{file}"))
    }
}

impl std::str::FromStr for Address {
    type Err = HubError;

    /// As [`Address::parse`]; a path is an error.
    fn from_str(text: &str) -> Result<Address, HubError> {
        Address::parse(text)?.ok_or_else(|| HubError::Address { address: shown(text), what: FORMS.to_owned() })
    }
}

/// What a user gave, for a message: without a name and password that may stand in it, and not without end.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 300;
    let clean: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MOST).collect();
    match clean.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            match rest[..host].rfind('@') {
                Some(at) => format!("{scheme}://…@{}", &rest[at + 1..]),
                None => clean,
            }
        }
        None => clean,
    }
}

type Parsed = Result<Address, &'static str>;

fn zenodo(rest: &str) -> Parsed {
    let (record, file) = cut(rest);
    if record.is_empty() || record.len() > 18 || !record.bytes().all(|b| b.is_ascii_digit()) {
        return Err(
            "after `zenodo:` stands the number of a record, as in `zenodo:1234567` or `zenodo:1234567/atlas.scgraft`",
        );
    }
    Ok(Address::Zenodo { record: record.to_owned(), file: file_name(file)? })
}

fn doi(rest: &str) -> Parsed {
    let rest = rest.trim_start_matches('/');
    match strip_ignoring_case(rest, DOI) {
        Some(rest) => zenodo(rest),
        None if strip_ignoring_case(rest, SANDBOX_DOI).is_some() => Err("10.5072 is Zenodo's sandbox: set \
             SCGRAFT_ZENODO_URL=https://sandbox.zenodo.org and name the record as `zenodo:RECORD`"),
        None => Err("only DOIs of Zenodo (10.5281/zenodo.…) can be resolved; give the address of the file itself"),
    }
}

fn hugging_face(rest: &str) -> Parsed {
    const FORM: &str = "after `hf:` stand an organisation and a name, as in `hf:lab/atlas`, `hf:lab/atlas@v1.0` or \
                        `hf:lab/atlas/model.safetensors`; a slash in a revision is written %2F";
    let (organisation, rest) = rest.split_once('/').ok_or(FORM)?;
    let (name, file) = cut(rest);
    let (name, revision) = name.split_once('@').map_or((name, None), |(n, r)| (n, Some(r)));
    if !is_name(organisation) || !is_name(name) {
        return Err(FORM);
    }
    let revision = revision.map(|r| decode(r).filter(|r| is_revision(r)).ok_or(FORM)).transpose()?;
    Ok(Address::HuggingFace { repository: format!("{organisation}/{name}"), revision, file: file_name(file)? })
}

fn web(text: &str, rest: &str, secure: bool) -> Parsed {
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
        return Err("it has spaces or other characters that addresses do not have; write them as %20 and so on");
    }
    let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if host.contains('@') {
        return Err("a name or password in an address would be written down in logs and files; use an address without");
    }
    if host.is_empty() || host.starts_with(':') {
        return Err("it has no host");
    }
    if !secure && !is_loopback(host) {
        return Err("what comes by `http` can be changed on the way; use `https`");
    }
    let path = &rest[host.len()..];
    let segments: Vec<&str> = path.split(['?', '#']).next().unwrap_or(path).split('/').skip(1).collect();
    match (secure, host.to_ascii_lowercase().trim_start_matches("www."), &segments[..]) {
        (true, "doi.org" | "dx.doi.org", [_, _, ..]) => return doi(&segments.join("/")),
        (true, "zenodo.org", ["records" | "record", record]) => return zenodo(record),
        (true, "zenodo.org", ["records" | "record", record, "files", file]) => {
            let file = decode(file).ok_or("it has a % that is not followed by two digits")?;
            return zenodo(&format!("{record}/{file}"));
        }
        (true, "huggingface.co" | "hf.co", [org, name, more @ ..])
            if !matches!(*org, "api" | "datasets" | "spaces" | "docs") =>
        {
            match more {
                [] | [""] => return hugging_face(&format!("{org}/{name}")),
                ["tree" | "blob" | "resolve", revision, file @ ..] => {
                    let file = decode(&file.join("/")).ok_or("it has a % that is not followed by two digits")?;
                    let file = if file.is_empty() { file } else { format!("/{file}") };
                    return hugging_face(&format!("{org}/{name}@{revision}{file}"));
                }
                _ => {}
            }
        }
        _ => {}
    }
    let (url, fragment) = text.split_once('#').map_or((text, None), |(u, f)| (u, Some(f)));
    let sha256 = match fragment {
        None | Some("") => None,
        Some(fragment) => {
            let hash = fragment.strip_prefix("sha256=").map(str::to_ascii_lowercase);
            let whole = |h: &String| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit());
            Some(hash.filter(whole).ok_or("after `#` only `sha256=` and 64 hexadecimal digits can stand")?)
        }
    };
    Ok(Address::Web { url: url.to_owned(), sha256 })
}

/// Up to the first slash, and what follows it.
fn cut(text: &str) -> (&str, Option<&str>) {
    text.split_once('/').map_or((text, None), |(head, rest)| (head, Some(rest).filter(|r| !r.is_empty())))
}

fn file_name(file: Option<&str>) -> Result<Option<String>, &'static str> {
    match file {
        Some(file) if !is_relative(file) => Err("the name of a file in it has empty parts, `..` or control characters"),
        file => Ok(file.map(str::to_owned)),
    }
}

/// Whether a name stays in the folder that it is put in.
pub(crate) fn is_relative(file: &str) -> bool {
    let part = |p: &str| !matches!(p, "" | "." | "..");
    file.split('/').all(part) && !file.chars().any(|c| c.is_control() || matches!(c, '\\' | ':'))
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 96 && text.bytes().all(plain) && !text.starts_with('.') && !text.contains("..")
}

fn is_revision(text: &str) -> bool {
    text.split('/').all(is_name)
}

/// Whether a host, with or without a port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn strip_ignoring_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// A name as part of an address: everything but unreserved characters as `%XX`; slashes too, unless they part folders.
pub(crate) fn encode(text: &str, folders: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'/' if folders => out.push('/'),
            b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// The opposite; `None` where a `%` is not followed by two digits, or the bytes are no text.
pub(crate) fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'%' {
            let digits = text.get(i + 1..i + 3).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelt(text: &str) -> String {
        Address::parse(text).unwrap().unwrap().to_string()
    }

    #[test]
    fn every_spelling_of_a_place_is_the_same_address() {
        for text in [
            "zenodo:123",
            "doi:10.5281/zenodo.123",
            "10.5281/zenodo.123",
            "doi:10.5281/ZENODO.123",
            "https://doi.org/10.5281/zenodo.123",
            "https://zenodo.org/records/123",
            "https://zenodo.org/record/123?preview=1",
        ] {
            assert_eq!(spelt(text), "zenodo:123", "{text}");
        }
        for text in ["zenodo:123/a b.scgraft", "https://zenodo.org/records/123/files/a%20b.scgraft?download=1"] {
            assert_eq!(spelt(text), "zenodo:123/a b.scgraft", "{text}");
        }
        for text in ["hf:lab/atlas@v1", "https://huggingface.co/lab/atlas/tree/v1", "https://hf.co/lab/atlas/tree/v1"] {
            assert_eq!(spelt(text), "hf:lab/atlas@v1", "{text}");
        }
        for text in [
            "hf:lab/atlas@main/sub/model.safetensors",
            "https://huggingface.co/lab/atlas/blob/main/sub/model.safetensors",
            "https://huggingface.co/lab/atlas/resolve/main/sub/model.safetensors?download=true",
        ] {
            assert_eq!(spelt(text), "hf:lab/atlas@main/sub/model.safetensors", "{text}");
        }
        assert_eq!(spelt("https://huggingface.co/lab/atlas"), "hf:lab/atlas");
        assert_eq!(spelt("hf:lab/atlas@refs%2Fpr%2F1"), "hf:lab/atlas@refs%2Fpr%2F1");
        let hash = "0123456789abcdef".repeat(4);
        for text in ["https://x.org/a/m.scgraft".to_owned(), format!("https://x.org/m?dl=1#sha256={hash}")] {
            assert_eq!(spelt(&text), text);
        }
    }

    #[test]
    fn paths_are_no_addresses() {
        for text in ["atlas.scgraft", "./zenodo:1", "/data/hf:x/y", "C:\\data\\a.scgraft", "10.5281/other", "hf", ""] {
            assert_eq!(Address::parse(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn what_begins_as_an_address_has_to_be_one() {
        for text in [
            "zenodo:",
            "zenodo:12a",
            "zenodo:1/../x",
            "zenodo:1/a//b",
            "zenodo:99999999999999999999",
            "hf:atlas",
            "hf:/x",
            "hf:lab/",
            "hf:lab/..",
            "hf:lab/a@",
            "hf:lab/a@%zz",
            "hf:lab/a@../x",
            "hf:lab/a b",
            "hf:lab/a/../../etc",
            "doi:10.1038/x",
            "10.5072/zenodo.5",
            "ftp://x.org/a",
            "s3://bucket/a",
            "https://",
            "https:///a",
            "https://me:secret@x.org/a",
            "https://x.org/a b",
            "https://x.org/a#top",
            "https://x.org/a#sha256=12",
            "http://x.org/a",
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(Address::parse("http://127.0.0.1:8000/a").unwrap().is_some());
        assert!(Address::parse("http://[::1]:8000/a").unwrap().is_some());
        assert!(Address::parse("http://127.0.0.1.evil.org/a").is_err());
    }

    #[test]
    fn a_file_beside_another() {
        let at = |text: &str| Address::parse(text).unwrap().unwrap().with_file("attr.pkl").to_string();
        assert_eq!(at("https://x.org/a/model_params.pt?dl=1"), "https://x.org/a/attr.pkl?dl=1");
        assert_eq!(at("hf:lab/a@v1/x"), "hf:lab/a@v1/attr.pkl");
        assert_eq!(at("zenodo:1"), "zenodo:1/attr.pkl");
    }

    #[test]
    fn hostile_addresses_never_panic() {
        let bits = [
            "zenodo:", "hf:", "doi:", "https://", "http://", "a", "/", "@", "%", "%2", "é", "#sha256=", "..", "1", "?",
            "\0", "[",
        ];
        let mut state = 1u64;
        for _ in 0..50_000 {
            let mut text = String::new();
            for _ in 0..6 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text.push_str(bits[(state >> 33) as usize % bits.len()]);
            }
            if let Ok(Some(address)) = Address::parse(&text) {
                assert_eq!(Address::parse(&address.to_string()).unwrap(), Some(address), "{text}");
            }
        }
    }
}
