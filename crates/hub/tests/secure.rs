//! TLS and proxies: a server with an authority of its own, and a proxy that tunnels (CONNECT) or reads along.
//!
//! Certificates are in `tests/tls`, made by `make.sh` there: of localhost, zenodo.example and hub.example, until 2120.
#![cfg(feature = "net")]
#![allow(missing_docs)]

mod server;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use scgraft_hub::{Address, Card, CardWords, Hub, HubError, Outgoing, Proxy, Push, Settings, Target};
use scgraft_models::Model;
use server::{Answer, Fault, Server, go, hub, model, noise, settings, token, zenodo};

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// A request or an answer until its end: a head, and as much content as it says.
fn whole(from: &mut impl Read) -> Vec<u8> {
    let (mut out, mut byte) = (Vec::new(), [0]);
    while !out.ends_with(b"\r\n\r\n") {
        if from.read(&mut byte).unwrap_or(0) == 0 {
            return out;
        }
        out.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&out).to_ascii_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    if from.read_exact(&mut body).is_ok() {
        out.extend(body);
    }
    out
}

/// Serves on a port of this machine, one thread a connection.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// The same server behind TLS with a certificate. Connections that break there break here, without TLS's own farewell.
fn behind_tls(server: &Server, certificate: &str) -> SocketAddr {
    let to = server.url.trim_start_matches("http://").to_owned();
    let chain = vec![CertificateDer::from_pem_file(pem(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(pem("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    listen(move |stream| {
        let mut tls = rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), stream);
        let request = whole(&mut tls);
        if request.is_empty() {
            return;
        }
        let mut inner = TcpStream::connect(&to).unwrap();
        inner.write_all(&request).unwrap();
        let mut answer = Vec::new();
        let _ = inner.read_to_end(&mut answer);
        let complete = whole(&mut &answer[..]).len() == answer.len();
        if tls.write_all(&answer).is_ok() && complete {
            tls.conn.send_close_notify();
        }
        let _ = tls.flush();
        let _ = tls.sock.shutdown(Shutdown::Write);
    })
}

/// A proxy that tunnels to these hosts; what it was asked.
fn proxy(hosts: BTreeMap<String, SocketAddr>, login: Option<&'static str>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    let address = listen(move |mut stream| {
        let head = String::from_utf8_lossy(&whole(&mut stream)).into_owned();
        log.lock().unwrap().push(head.clone());
        let refuse = |stream: &mut TcpStream, status: &str| {
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes());
        };
        if login
            .is_some_and(|login| !head.to_ascii_lowercase().contains(&format!("proxy-authorization: basic {login}")))
        {
            return refuse(&mut stream, "407 Proxy Authentication Required");
        }
        let to = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).and_then(|host| hosts.get(host));
        let Some(to) = to else { return refuse(&mut stream, "403 Forbidden") };
        let mut inner = TcpStream::connect(to).unwrap();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let (mut back, mut out) = (inner.try_clone().unwrap(), stream.try_clone().unwrap());
        let answers = std::thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut out);
            let _ = out.shutdown(Shutdown::Both);
        });
        let _ = std::io::copy(&mut stream, &mut inner);
        let _ = inner.shutdown(Shutdown::Write);
        answers.join().unwrap();
    });
    (address, asked)
}

fn trusting(settings: &mut Settings) {
    settings.certificates = Some(pem("ca.pem"));
}

fn at(host: &str, address: SocketAddr) -> Address {
    format!("https://{host}:{}/a/model.scgraft", address.port()).parse().unwrap()
}

/// The error of a fetch, at once and not after trying again and again.
fn error(hub: &Hub, address: &Address, said: &[&str]) {
    let error = hub.fetch(address, &mut go).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error:?}");
    let error = error.to_string();
    said.iter().for_each(|word| assert!(error.contains(word), "`{word}` is not in: {error}"));
    assert!(!error.contains("tried"), "{error}");
}

#[test]
fn certificates_are_held_against_those_trusted() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(300_000, 1));
    let own = content.clone();
    let server = Server::start(move |_| Answer::file(&own).with("etag", "\"1\""));
    let tls = behind_tls(&server, "server.pem");
    let nobody = hub(&folder, |_| {});
    error(&nobody, &at("localhost", tls), &["nobody who is trusted", "SSL_CERT_FILE"]);
    let other = hub(&folder, |s| s.certificates = Some(pem("expired.pem")));
    error(&other, &at("localhost", tls), &["nobody whom SSL_CERT_FILE names", "add the one"]);
    let hub = hub(&folder, trusting);
    error(&hub, &at("127.0.0.1", tls), &["of another host", "check the address"]);
    let expired = behind_tls(&server, "expired.pem");
    error(&hub, &at("localhost", expired), &["not valid today", "clock"]);
    let plain = listen(|mut stream| {
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    });
    error(&hub, &at("localhost", plain), &["does it speak https"]);
    assert!(server.log().iter().all(|s| s.method != "GET"), "nothing was asked of servers that are not trusted");

    // The right one; a connection that breaks in it is taken up where it broke.
    server.fail("GET", Fault::CutAfter(100_000));
    let fetched = hub.fetch(&at("localhost", tls), &mut go).unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), content);
    assert_eq!(server.log().last().unwrap().header("range"), Some("bytes=100000-"));

    // Nothing leads from there to where nobody is known.
    let to = format!("{}/a/model.scgraft", server.url);
    server.fail("GET /b", Fault::Instead(Answer::to(302, &to)));
    let address = format!("https://localhost:{}/b", tls.port()).parse().unwrap();
    let refused = hub.fetch(&address, &mut go).unwrap_err().to_string();
    assert!(refused.contains("redirects to") && refused.contains("nothing was fetched"), "{refused}");

    std::fs::write(folder.path().join("none.pem"), "none").unwrap();
    let mut wrong = settings(folder.path());
    wrong.certificates = Some(folder.path().join("none.pem"));
    let said = Hub::new(wrong).unwrap_err().to_string();
    assert!(said.contains("none.pem") && said.contains("SSL_CERT_FILE"), "{said}");
}

/// There and back through a proxy that wants a login, to a service with TLS that only the proxy can find.
#[test]
fn a_proxy_tunnels_and_learns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (zenodo, _) = zenodo::start_as(Some("https://zenodo.example"));
    let hosts = BTreeMap::from([("zenodo.example:443".to_owned(), behind_tls(&zenodo, "server.pem"))]);
    // me:p@ss
    let (proxy, asked) = proxy(hosts, Some("bwu6cebzcw=="));
    let by = |login: &str, without: &str| Some(Proxy::new(&format!("http://{login}{proxy}"), without).unwrap());
    let with = |proxy: Option<Proxy>| {
        move |s: &mut Settings| {
            trusting(s);
            s.proxy = proxy;
            s.zenodo = "https://zenodo.example".to_owned();
            s.zenodo_token = token(zenodo::TOKEN);
        }
    };
    let (path, model) = (folder.path().join("atlas.scgraft"), model());
    std::fs::write(&path, model.to_bytes().unwrap()).unwrap();
    let words = CardWords {
        title: Some("Tiny".to_owned()),
        authors: vec!["Curie, Marie".to_owned()],
        licence: Some("CC-BY-4.0".to_owned()),
        ..CardWords::default()
    };
    let push = || Push {
        target: Target::parse("zenodo").unwrap(),
        files: vec![Outgoing::new("atlas.scgraft", &path)],
        card: Card::of_model("atlas.scgraft", &model, words.clone()),
        version: None,
    };
    let sender = hub(&folder, with(by("me:p%40ss@", "")));
    let sent = sender.push(&push(), &mut go).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let fetched = hub(&elsewhere, with(by("me:p%40ss@", "other.example"))).fetch(&sent.address, &mut go).unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), std::fs::read(&path).unwrap());
    Model::load(&fetched.path).unwrap();
    assert!(zenodo.count("PUT /api/files") > 0);
    let log = asked.lock().unwrap().clone();
    assert!(log.iter().all(|head| head.starts_with("CONNECT zenodo.example:443")), "{log:?}");
    assert!(log.iter().all(|head| !head.contains(zenodo::TOKEN)), "{log:?}");

    // What goes wrong with a proxy says so, without its password, and a push has not begun.
    for (login, address, words) in [
        ("me:wrong@", "zenodo:1", &["407", "NAME:PASSWORD@"][..]),
        ("me:p%40ss@", "https://hub.example/x", &["403", "HTTPS_PROXY"]),
    ] {
        let hub = hub(&elsewhere, with(by(login, "")));
        error(&hub, &address.parse().unwrap(), words);
        if login == "me:wrong@" {
            let said = hub.push(&push(), &mut go).unwrap_err().to_string();
            assert!(said.contains("407") && !said.contains("wrong") && !said.contains("after the request"), "{said}");
        }
    }
    // Straight, there is no such host.
    let seen = asked.lock().unwrap().len();
    let error = hub(&elsewhere, with(by("", ".example"))).list(&sent.address, &mut go).unwrap_err().to_string();
    assert!(error.contains("its host is not known to the network"), "{error}");
    assert_eq!(asked.lock().unwrap().len(), seen);
}
