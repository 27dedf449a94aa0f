//! Where services are, who the user is there, and how patient to be: from the environment.
//!
//! | variable | what it says | else |
//! |---|---|---|
//! | `SCGRAFT_ZENODO_URL` | Zenodo, its sandbox or a mirror | `https://zenodo.org` |
//! | `SCGRAFT_HF_URL`, `HF_ENDPOINT` | Hugging Face or a mirror | `https://huggingface.co` |
//! | `ZENODO_TOKEN`, `HF_TOKEN` | the user, to the services above and to nobody else | nobody |
//! | `SCGRAFT_CACHE` | the folder of the cache | `scgraft` in the user's cache folder |
//! | `SCGRAFT_OFFLINE` | anything but `0`: use the cache only | |
//! | `SSL_CERT_FILE` | certificates (PEM) to trust instead of the usual ones | those of Mozilla |
//! | `HTTPS_PROXY`, `ALL_PROXY`, `HTTP_PROXY`, `NO_PROXY` | the way out | straight |

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::HubError;
use crate::address::is_loopback;

/// What tells a service who the user is. It is never shown, written or sent to any other host.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token; `None` when the text is empty.
    ///
    /// # Errors
    /// When it has characters that no token has, such as a line break in the middle.
    pub fn new(text: &str) -> Result<Option<Token>, HubError> {
        let text = text.trim();
        if text.bytes().any(|b| !b.is_ascii_graphic()) {
            let what = "a token in the environment has spaces or other characters that no token has; copy it again";
            return Err(HubError::Push { what: what.to_owned() });
        }
        Ok((!text.is_empty()).then(|| Token(text.to_owned())))
    }

    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A text in which the token, should a service repeat it, is not to be read.
    pub(crate) fn hide(&self, text: &str) -> String {
        text.replace(&self.0, "…")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How long to wait and how often to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often in a row something may fail; bytes that arrive start the count again.
    pub attempts: u32,
    /// The wait after the first failure; it doubles with each.
    pub first_wait: Duration,
    /// The longest wait that a service may ask for. When it asks for more, that is an error that says how long.
    pub longest_wait: Duration,
    /// How long to wait for a connection.
    pub connect: Duration,
    /// How long a connection may be silent.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
            connect: Duration::from_secs(30),
            silence: Duration::from_secs(60),
        }
    }
}

/// A proxy on the way out (HTTP CONNECT), and what is reached without it. Its password is never shown.
#[derive(Clone, Debug)]
pub struct Proxy(pub(crate) ureq::Proxy);

impl Proxy {
    /// By its address, `http://[NAME:PASSWORD@]HOST[:PORT]` or `https://…`, and the hosts that are reached without it, between
    /// commas: `zenodo.org`, `.lab.org` for all below it, or `*`.
    ///
    /// # Errors
    /// When that is no address of such a proxy.
    pub fn new(address: &str, without: &str) -> Result<Proxy, HubError> {
        let wrong = |what: &str| HubError::Address { address: "HTTPS_PROXY".to_owned(), what: what.to_owned() };
        let form =
            "expected the address of a proxy as `http://HOST:PORT`, with `NAME:PASSWORD@` before the host if need be";
        let given = ureq::Proxy::new(address).map_err(|_| wrong(form))?;
        if !matches!(given.protocol(), ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https) {
            return Err(wrong(
                "it names a SOCKS proxy, which is not spoken here; name one of HTTP, as `http://HOST:PORT`",
            ));
        }
        let mut builder = ureq::Proxy::builder(given.protocol()).host(given.host()).port(given.port());
        builder = given.username().into_iter().fold(builder, |b, name| b.username(name));
        builder = given.password().into_iter().fold(builder, |b, password| b.password(password));
        builder = without.split(',').map(str::trim).filter(|h| !h.is_empty()).fold(builder, |b, host| b.no_proxy(host));
        builder.build().map(Proxy).map_err(|_| wrong(form))
    }
}

/// Where services are, who the user is there, and what may be used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Zenodo: scheme and host, and a path before all others if need be.
    pub zenodo: String,
    /// Who the user is there.
    pub zenodo_token: Option<Token>,
    /// Hugging Face.
    pub huggingface: String,
    /// Who the user is there.
    pub huggingface_token: Option<Token>,
    /// The folder of the cache.
    pub cache: PathBuf,
    /// Whether the cache is all that may be used.
    pub offline: bool,
    /// Certificates to trust (PEM) instead of those of Mozilla.
    pub certificates: Option<PathBuf>,
    /// The way out; `None`: straight. What lies on this machine is always reached straight.
    pub proxy: Option<Proxy>,
    /// How patient to be.
    pub patience: Patience,
}

const ZENODO: &str = "https://zenodo.org";
const HUGGING_FACE: &str = "https://huggingface.co";

impl Settings {
    /// What the environment says.
    ///
    /// # Errors
    /// When an address, a proxy or a token in it is none, or there is no folder for a cache.
    pub fn from_env() -> Result<Settings, HubError> {
        let said = |name: &str| std::env::var(name).ok().map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        Settings::from_words(&said)
    }

    /// What an environment says that is asked by name.
    ///
    /// # Errors
    /// As [`Settings::from_env`].
    pub fn from_words(said: &dyn Fn(&str) -> Option<String>) -> Result<Settings, HubError> {
        let either = |names: [&str; 4]| names.into_iter().find_map(said);
        let without = said("NO_PROXY").or_else(|| said("no_proxy")).unwrap_or_default();
        let proxy = either(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
        let token = |name: &str| said(name).map_or(Ok(None), |t| Token::new(&t));
        Ok(Settings {
            zenodo: base("SCGRAFT_ZENODO_URL", said("SCGRAFT_ZENODO_URL"), ZENODO)?,
            zenodo_token: token("ZENODO_TOKEN")?,
            huggingface: base("SCGRAFT_HF_URL", said("SCGRAFT_HF_URL").or_else(|| said("HF_ENDPOINT")), HUGGING_FACE)?,
            huggingface_token: token("HF_TOKEN")?,
            cache: cache(said)?,
            offline: said("SCGRAFT_OFFLINE").is_some_and(|v| v != "0"),
            certificates: said("SSL_CERT_FILE").map(PathBuf::from),
            proxy: proxy.map(|address| Proxy::new(&address, &without)).transpose()?,
            patience: Patience::default(),
        })
    }
}

/// The address of a service.
fn base(name: &str, given: Option<String>, usual: &str) -> Result<String, HubError> {
    let text = given.unwrap_or_else(|| usual.to_owned());
    let text = text.trim_end_matches('/').to_owned();
    let wrong = |what: &str| HubError::Address { address: name.to_owned(), what: what.to_owned() };
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("expected an address as `https://HOST`"))?;
    let host = rest.split('/').next().unwrap_or(rest);
    if host.is_empty() || host.contains('@') || text.contains(['?', '#']) || !text.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err(wrong("expected an address as `https://HOST`, without names, passwords and questions"));
    }
    match scheme {
        "https" => Ok(text),
        "http" if is_loopback(host) => Ok(text),
        _ => Err(wrong("what comes by anything but `https` can be changed on the way; use `https`")),
    }
}

/// The user's folder for what can be fetched again.
fn cache(said: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, HubError> {
    if let Some(folder) = said("SCGRAFT_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    let home = || said("HOME").map(PathBuf::from);
    let usual = if cfg!(windows) {
        said("LOCALAPPDATA").map(|l| PathBuf::from(l).join("scgraft").join("cache"))
    } else if cfg!(target_os = "macos") {
        home().map(|h| h.join("Library").join("Caches").join("scgraft"))
    } else {
        let caches = said("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        caches.or_else(|| home().map(|h| h.join(".cache"))).map(|c| c.join("scgraft"))
    };
    usual.ok_or_else(|| HubError::Address {
        address: "SCGRAFT_CACHE".to_owned(),
        what: "no folder of the user's is known in which a cache could be; name one in this variable".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(words: &[(&str, &str)]) -> Result<Settings, HubError> {
        let found = |name: &str| words.iter().find(|w| w.0 == name).map(|w| w.1.to_owned());
        Settings::from_words(&found)
    }

    #[test]
    fn the_environment_says_where_and_who() {
        let usual = from(&[("SCGRAFT_CACHE", "/c")]).unwrap();
        assert_eq!((usual.zenodo.as_str(), usual.huggingface.as_str()), (ZENODO, HUGGING_FACE));
        assert!(usual.zenodo_token.is_none() && !usual.offline);
        let words = [
            ("SCGRAFT_CACHE", "/c"),
            ("SCGRAFT_ZENODO_URL", "https://sandbox.zenodo.org/"),
            ("HF_ENDPOINT", "http://localhost:8080/hf"),
            ("HF_TOKEN", "hf_secret\n"),
            ("SCGRAFT_OFFLINE", "1"),
        ];
        let set = from(&words).unwrap();
        assert_eq!(set.zenodo, "https://sandbox.zenodo.org");
        assert_eq!(set.huggingface, "http://localhost:8080/hf");
        assert!(set.offline);
        assert!(!format!("{set:?}").contains("secret"));
        assert_eq!(set.huggingface_token.as_ref().unwrap().bearer(), "Bearer hf_secret");
        let proxy = ("https_proxy", "http://me:p%40ss@proxy.lab:3128");
        let set = from(&[("SCGRAFT_CACHE", "/c"), proxy, ("ALL_PROXY", "socks5://other"), ("NO_PROXY", "a.org, .lab")])
            .unwrap();
        let used = set.proxy.as_ref().unwrap();
        assert_eq!((used.0.host(), used.0.port(), used.0.password()), ("proxy.lab", 3128, Some("p@ss")));
        assert!(!format!("{set:?}").contains("p@ss") && !format!("{set:?}").contains("p%40ss"));
        let passes = |uri: &str| used.0.is_no_proxy(&uri.parse().unwrap());
        assert!(passes("https://a.org/x") && passes("https://in.lab/x") && !passes("https://zenodo.org/x"));
    }

    #[test]
    fn what_is_no_address_or_token_is_refused() {
        for wrong in ["zenodo.org", "ftp://zenodo.org", "http://zenodo.org", "https://", "https://me:secret@zenodo.org"]
        {
            let error = from(&[("SCGRAFT_CACHE", "/c"), ("SCGRAFT_ZENODO_URL", wrong)]).unwrap_err().to_string();
            assert!(error.contains("SCGRAFT_ZENODO_URL") && !error.contains("secret"), "{error}");
        }
        for wrong in ["socks5://secret@proxy:1", "ftp://secret@proxy", "http://", "http://secret@pro xy"] {
            let error = from(&[("SCGRAFT_CACHE", "/c"), ("HTTPS_PROXY", wrong)]).unwrap_err().to_string();
            assert!(error.contains("HTTPS_PROXY") && error.contains("http://HOST:PORT"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let error = from(&[("SCGRAFT_CACHE", "/c"), ("HF_TOKEN", "hf_sec ret")]).unwrap_err().to_string();
        assert!(!error.contains("ret;") && !error.contains("hf_sec"), "{error}");
    }
}
