//! Requests: redirects, tokens, waiting and trying again.
//!
//! Redirects are followed here and not by the client, so that a token goes to its service's own host and nowhere else,
//! never back from `https` to `http`, and so that what the first host says of a file is not lost.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Request};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, SendBody, Timeout};

use crate::address::{is_loopback, shown};
use crate::aside::{Aside, pieces};
use crate::reply::{Reply, said};
use crate::retry::{self, Tries, now};
use crate::url::{join, origin};
use crate::{HubError, Patience, Settings, Token};

/// What is under way; told many times a second.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Progress<'p> {
    /// A file comes.
    Receiving {
        /// Its name.
        name: &'p str,
        /// Bytes that are here.
        done: u64,
        /// Bytes that it has, where that is known.
        total: Option<u64>,
    },
    /// A file goes.
    Sending {
        /// Its name.
        name: &'p str,
        /// Bytes that are there.
        done: u64,
        /// Bytes that it has.
        total: u64,
    },
    /// A file that is here is read and held against its checksum.
    Checking {
        /// Its name.
        name: &'p str,
        /// Bytes that were read.
        done: u64,
    },
    /// Nothing comes, and what was sent is not answered.
    Silent {
        /// The address.
        place: &'p str,
        /// For how long.
        since: Duration,
    },
    /// Something failed, or the service asked to wait; it is tried again.
    Waiting {
        /// What happened.
        why: &'p str,
        /// How long from now.
        left: Duration,
    },
}

/// Who is told of progress. `Break` stops the work with [`HubError::Stopped`]; what was done is kept.
pub type Watch<'w> = dyn FnMut(&Progress<'_>) -> ControlFlow<()> + 'w;

/// A service, and who the user is there.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub name: &'static str,
    pub base: String,
    pub token: Option<Token>,
    /// The variable that the token is in.
    pub variable: &'static str,
    /// Where tokens are made, and what they must allow.
    pub tokens: &'static str,
}

/// A request.
pub(crate) struct Ask<'a> {
    /// What it is about, for messages.
    pub place: &'a str,
    pub method: Method,
    pub url: String,
    /// Who gets its token.
    pub service: Option<&'a Service>,
    pub headers: Vec<(String, String)>,
    pub body: Body<'a>,
    /// Whether it may be sent again when nobody knows whether it was done.
    pub repeat: bool,
}

/// What a request brings along.
pub(crate) enum Body<'a> {
    None,
    Bytes(&'a [u8], &'static str),
    /// A part of a file.
    File {
        path: &'a Path,
        name: &'a str,
        from: u64,
        bytes: u64,
        /// Size of the whole file.
        total: u64,
    },
}

impl<'a> Ask<'a> {
    pub fn get(place: &'a str, url: impl Into<String>, service: Option<&'a Service>) -> Ask<'a> {
        let (method, headers) = (Method::GET, Vec::new());
        Ask { place, method, url: url.into(), service, headers, body: Body::None, repeat: true }
    }

    pub fn new(method: Method, place: &'a str, url: impl Into<String>, service: &'a Service) -> Ask<'a> {
        Ask { method, repeat: false, ..Ask::get(place, url, Some(service)) }
    }

    pub fn json(self, bytes: &'a [u8]) -> Ask<'a> {
        Ask { body: Body::Bytes(bytes, "application/json"), ..self }
    }

    pub fn repeatable(self) -> Ask<'a> {
        Ask { repeat: true, ..self }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Ask<'a> {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// An answer whose content has not come yet.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: ureq::Body,
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// The connection could not be made or broke.
    Broken { said: String, sent: bool },
    /// No use trying again.
    Final(HubError),
}

/// The most that an answer other than a file may have.
const MOST_TEXT: u64 = 32 << 20;
const MOST_REDIRECTS: usize = 10;
/// How often the watcher is told while waiting.
pub(crate) const TICK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Http {
    straight: Agent,
    by_proxy: Agent,
    /// Whether the user named the certificates to trust.
    own_roots: bool,
    pub patience: Patience,
}

impl Http {
    pub fn new(settings: &Settings) -> Result<Http, HubError> {
        let roots = match &settings.certificates {
            None => RootCerts::WebPki,
            Some(path) => certificates(path)?,
        };
        let patience = settings.patience.clone();
        let config = || {
            Agent::config_builder()
                .tls_config(TlsConfig::builder().root_certs(roots.clone()).build())
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(concat!("scgraft/", env!("CARGO_PKG_VERSION")))
                .accept_encoding("identity")
                .timeout_connect(Some(patience.connect))
                .timeout_per_read(Some(patience.silence))
                .timeout_per_write(Some(patience.silence))
                // A connection that the other side has closed meanwhile would look as if a request had failed.
                .max_idle_connections(0)
        };
        // What lies on this machine is not reached through a proxy.
        let proxy = settings.proxy.as_ref().map(|p| p.0.clone());
        let own_roots = settings.certificates.is_some();
        let (straight, by_proxy) = (config().proxy(None).build().into(), config().proxy(proxy).build().into());
        Ok(Http { straight, by_proxy, own_roots, patience })
    }

    /// Asks until there is an answer that trying again would not change, and reads it.
    pub fn ask(&self, ask: &Ask<'_>, watch: &mut Watch<'_>) -> Result<Reply, HubError> {
        let mut tries = Tries::new(&self.patience);
        loop {
            let read = |answer: Answer, watch: &mut Watch<'_>| {
                let (status, headers) = (answer.status, answer.headers.clone());
                let text = self.read_text(answer, ask.place, watch)?;
                Ok(Reply { status, headers, text })
            };
            match self.once(ask, watch).and_then(|answer| read(answer, watch)) {
                Ok(reply) => {
                    let again =
                        if ask.repeat { retry::is_passing(reply.status) } else { retry::did_nothing(reply.status) };
                    if !again {
                        return Ok(reply);
                    }
                    let said = said(&reply, ask.service);
                    tries.wait(ask, &said, retry::asked(&reply.headers, now()), Some(reply.status), watch)?;
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Broken { said, sent }) if sent && !ask.repeat => {
                    return Err(HubError::Unreachable {
                        place: ask.place.to_owned(),
                        said: format!("{said}, after the request was sent"),
                        remedy: "it may have been done or not; run the same command again, which looks first"
                            .to_owned(),
                    });
                }
                Err(Failure::Broken { said, .. }) => tries.wait(ask, &said, None, None, watch)?,
            }
        }
    }

    /// Asks once; follows redirects.
    pub fn once(&self, ask: &Ask<'_>, watch: &mut Watch<'_>) -> Result<Answer, Failure> {
        let refuse = |said: &str, remedy: &str| Failure::Final(HubError::refused(ask.place, 0, said, remedy));
        let mut url = ask.url.clone();
        let mut token = ask.service.and_then(|s| s.token.as_ref().map(|t| (s, t)));
        let mut first = HeaderMap::new();
        for _ in 0..MOST_REDIRECTS {
            let Some((scheme, host)) = origin(&url) else {
                return Err(refuse(&format!("{} is no address", shown(&url)), "tell who runs the service"));
            };
            // Once a redirect has led away from the service, nothing behind it gets the token.
            token = token.filter(|(s, _)| origin(&s.base) == Some((scheme.clone(), host.clone())));
            let agent = if is_loopback(&host) { &self.straight } else { &self.by_proxy };
            let answer = self.send(agent, ask, &url, token.map(|t| t.1), watch)?;
            let (parts, body) = answer.into_parts();
            let status = parts.status.as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                // What the service itself said of a file counts, not what the host it sent us to says.
                let mut headers = parts.headers;
                first.into_iter().for_each(|(name, value)| {
                    if let Some(name) = name {
                        headers.insert(name, value);
                    }
                });
                return Ok(Answer { status, headers, body });
            }
            if !matches!(ask.method, Method::GET | Method::HEAD) {
                let to = parts.headers.get("location").and_then(|v| v.to_str().ok()).unwrap_or("another place");
                let said = format!("it answers that it has moved to {}", shown(to));
                return Err(refuse(&said, "what is sent does not follow redirects; use the new name"));
            }
            let to = parts.headers.get("location").and_then(|v| v.to_str().ok()).and_then(|to| join(&url, to));
            let Some(to) = to else {
                return Err(refuse("it redirects to no address", "try later, or tell who runs the service"));
            };
            let to_scheme = origin(&to).map(|o| o.0);
            if to_scheme.as_deref() != Some("https") && (scheme == "https" || to_scheme.as_deref() != Some("http")) {
                let said = format!("it redirects to {}, where what comes can be changed on the way", shown(&to));
                return Err(refuse(&said, "nothing was fetched from there"));
            }
            for (name, value) in &parts.headers {
                if matches!(name.as_str(), "x-repo-commit" | "x-linked-etag" | "x-linked-size") {
                    first.insert(name.clone(), value.clone());
                }
            }
            url = to;
        }
        Err(refuse("it redirects in a circle", "try later, or tell who runs the service"))
    }

    /// Sends one request to one host.
    fn send(
        &self,
        agent: &Agent,
        ask: &Ask<'_>,
        url: &str,
        token: Option<&Token>,
        watch: &mut Watch<'_>,
    ) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let mut request = Request::builder().method(ask.method.clone()).uri(url);
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        // A service may name another way in for an address; then ours is not wanted.
        let has_own = ask.headers.iter().any(|h| h.0.eq_ignore_ascii_case("authorization"));
        if let Some(token) = token.filter(|_| !has_own) {
            request = request.header("authorization", token.bearer());
        }
        let bad = |e: ureq::http::Error| {
            Failure::Final(HubError::Address { address: shown(url), what: format!("it cannot be asked for: {e}") })
        };
        let agent = agent.clone();
        let (mut name, mut total) = ("", 0);
        let mut aside = match &ask.body {
            Body::None if matches!(ask.method, Method::GET | Method::HEAD | Method::DELETE) => {
                let request = request.body(()).map_err(bad)?;
                Aside::start(move |to| answered(to, agent.run(request)))
            }
            Body::None => {
                let request = request.body(Vec::new()).map_err(bad)?;
                Aside::start(move |to| answered(to, agent.run(request)))
            }
            Body::Bytes(bytes, kind) => {
                let request = request.header("content-type", *kind).body(bytes.to_vec()).map_err(bad)?;
                Aside::start(move |to| answered(to, agent.run(request)))
            }
            Body::File { path, name: own, from, bytes, total: all } => {
                (name, total) = (own, *all);
                let unreadable = |source| Failure::Final(HubError::Io { path: path.to_path_buf(), source });
                let mut file = File::open(path).map_err(unreadable)?;
                file.seek(SeekFrom::Start(*from)).map_err(unreadable)?;
                let (file, done) = (file.take(*bytes), *from);
                let request = request.header("content-length", bytes.to_string());
                let request = request.header("content-type", "application/octet-stream").body(()).map_err(bad)?;
                Aside::start(move |to| {
                    let mut told = Told { file, done, to };
                    let outcome = agent.run(request.map(|()| SendBody::from_reader(&mut told)));
                    answered(to, outcome);
                })
            }
        };
        loop {
            match aside.next(ask.place, watch).map_err(Failure::Final)? {
                Some(Word::Sent(done)) => {
                    if watch(&Progress::Sending { name, done, total }).is_break() {
                        return Err(Failure::Final(HubError::Stopped { place: ask.place.to_owned() }));
                    }
                }
                Some(Word::Answered(outcome)) => return outcome.map_err(|error| self.failure(ask.place, error)),
                None => {
                    return Err(Failure::Broken {
                        said: "this machine has no thread left to ask".to_owned(),
                        sent: false,
                    });
                }
            }
        }
    }

    /// What a failure of the client means.
    pub(crate) fn failure(&self, place: &str, error: ureq::Error) -> Failure {
        let broken = |said: String, sent: bool| Failure::Broken { said, sent };
        match error {
            ureq::Error::HostNotFound => broken("its host is not known to the network".to_owned(), false),
            ureq::Error::ConnectionFailed => broken("no connection could be made".to_owned(), false),
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                broken("no connection could be made in time".to_owned(), false)
            }
            ureq::Error::Timeout(_) => broken("the connection went silent".to_owned(), true),
            ureq::Error::ConnectProxyFailed(said) => Failure::Final(HubError::Unreachable {
                place: place.to_owned(),
                said: format!("the proxy does not let it through ({})", said.trim()),
                remedy:
                    "check HTTPS_PROXY, with `NAME:PASSWORD@` before its host where it wants a login; NO_PROXY names \
                         hosts that are reached without it"
                        .to_owned(),
            }),
            ureq::Error::Rustls(error) => self.untrusted(place, &error),
            ureq::Error::Io(e) => match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => self.untrusted(place, error),
                None if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                    broken("the connection went silent".to_owned(), true)
                }
                // What the standard library says of a name that nobody knows has no kind of its own.
                None if e.to_string().contains("failed to lookup address") || e.raw_os_error() == Some(11001) => {
                    broken("its host is not known to the network".to_owned(), false)
                }
                None => {
                    let refused =
                        matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NetworkUnreachable);
                    broken(format!("the connection broke: {e}"), !refused)
                }
            },
            other => broken(format!("the connection broke: {other}"), true),
        }
    }

    /// A connection that is not secure, or not with whom it should be. Trying again would not change that.
    fn untrusted(&self, place: &str, error: &rustls::Error) -> Failure {
        use rustls::CertificateError as Wrong;
        let (said, remedy) = match error {
            rustls::Error::InvalidCertificate(Wrong::UnknownIssuer) if self.own_roots => (
                "its certificate is by nobody whom SSL_CERT_FILE names".to_owned(),
                "that file's certificates are the only ones trusted: add the one that signs for this host, or unset the variable",
            ),
            rustls::Error::InvalidCertificate(Wrong::UnknownIssuer) => (
                "its certificate is by nobody who is trusted here".to_owned(),
                "behind a proxy that reads along, or for a server of your own, name the certificates to trust (PEM) in \
                 SSL_CERT_FILE",
            ),
            rustls::Error::InvalidCertificate(Wrong::NotValidForName | Wrong::NotValidForNameContext { .. }) => (
                "its certificate is of another host".to_owned(),
                "check the address; if it is right, something answers in its place",
            ),
            rustls::Error::InvalidCertificate(
                Wrong::Expired | Wrong::ExpiredContext { .. } | Wrong::NotValidYet | Wrong::NotValidYetContext { .. },
            ) => (
                "its certificate is not valid today".to_owned(),
                "is the clock of this machine right? If it is, tell who runs the server",
            ),
            rustls::Error::InvalidMessage(_)
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(_)
            | rustls::Error::InvalidCertificate(_) => (
                format!("no secure connection could be made ({error})"),
                "does it speak https at all? Check the address and its port",
            ),
            // What was changed or lost on the way.
            other => return Failure::Broken { said: format!("the connection broke: {other}"), sent: true },
        };
        Failure::Final(HubError::Unreachable { place: place.to_owned(), said, remedy: remedy.to_owned() })
    }

    /// The content of an answer that is no file.
    pub fn read_text(&self, answer: Answer, place: &str, watch: &mut Watch<'_>) -> Result<String, Failure> {
        let mut pieces = pieces(answer.body);
        let mut text = Vec::new();
        while let Some(piece) = pieces.next(place, watch).map_err(Failure::Final)? {
            text.extend_from_slice(&piece.map_err(|e| self.failure(place, ureq::Error::from(e)))?);
            if text.len() as u64 > MOST_TEXT {
                let said = format!("its answer has more than {} MB", MOST_TEXT >> 20);
                let remedy = "that is no answer of such a service; check the address";
                return Err(Failure::Final(HubError::refused(place, answer.status, said, remedy)));
            }
            let progress = Progress::Receiving { name: place, done: text.len() as u64, total: None };
            if watch(&progress).is_break() {
                return Err(Failure::Final(HubError::Stopped { place: place.to_owned() }));
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// What is said of a request on its way.
enum Word {
    /// So many bytes of the file are sent.
    Sent(u64),
    Answered(Result<ureq::http::Response<ureq::Body>, ureq::Error>),
}

fn answered(to: &SyncSender<Word>, outcome: Result<ureq::http::Response<ureq::Body>, ureq::Error>) {
    // Nobody listens any more where the work was stopped.
    let _ = to.send(Word::Answered(outcome));
}

/// A file on its way out; tells how far it is.
struct Told<'t> {
    file: io::Take<File>,
    done: u64,
    to: &'t SyncSender<Word>,
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.done += n as u64;
        self.to.send(Word::Sent(self.done)).map_err(|_| io::Error::other("stopped"))?;
        Ok(n)
    }
}

/// The certificates of a file.
fn certificates(path: &Path) -> Result<RootCerts, HubError> {
    let bytes = std::fs::read(path).map_err(|source| HubError::Io { path: path.to_owned(), source })?;
    let mut found = Vec::new();
    for item in parse_pem(&bytes) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(e) => return Err(HubError::format(path.display().to_string(), format!("SSL_CERT_FILE: {e}"))),
        }
    }
    if found.is_empty() {
        let what = "SSL_CERT_FILE names it, and it holds no certificate in PEM";
        return Err(HubError::format(path.display().to_string(), what));
    }
    Ok(RootCerts::new_with_certs(&found))
}
