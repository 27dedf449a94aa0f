//! A server on this machine that behaves as the services do, and as they do on bad days.
#![allow(dead_code)]

pub mod huggingface;
pub mod zenodo;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scgraft_hub::{Hub, Patience, Progress, Settings, Token};

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With what follows `?`.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|h| h.0 == name).map(|h| h.1.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether parts of it may be asked for.
    pub ranges: bool,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, body: body.into(), ..Answer::default() }
    }

    pub fn json(status: u16, json: &serde_json::Value) -> Answer {
        Answer::new(status, json.to_string()).with("content-type", "application/json")
    }

    pub fn file(bytes: &[u8]) -> Answer {
        Answer { ranges: true, ..Answer::new(200, bytes) }
    }

    pub fn to(status: u16, url: &str) -> Answer {
        Answer::new(status, "moved").with("location", url)
    }

    pub fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Another answer.
    Instead(Answer),
    /// The connection breaks after so many bytes of the content.
    CutAfter(usize),
    /// The connection breaks after so many bytes of what is sent have come.
    CutUpload(usize),
    /// The request is done, and the answer does not come through.
    NoAnswer,
    /// The answer stops after so many bytes, and the connection stays open so long.
    Silent(usize, Duration),
    /// The content comes in pieces with a pause before each.
    Slow(usize, Duration),
    /// A byte of the content is another.
    Garbled,
}

struct Shared {
    log: Mutex<Vec<Seen>>,
    /// Part of `METHOD PATH`, and what goes wrong the next time.
    faults: Mutex<Vec<(String, Fault)>>,
    over: AtomicBool,
}

pub struct Server {
    pub url: String,
    shared: Arc<Shared>,
    address: std::net::SocketAddr,
}

type Handler = dyn Fn(&Seen) -> Answer + Send + Sync;

impl Server {
    pub fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { log: Mutex::default(), faults: Mutex::default(), over: AtomicBool::new(false) });
        let (handler, own): (Arc<Handler>, _) = (Arc::new(handler), shared.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.over.load(Ordering::SeqCst) {
                    return;
                }
                let (handler, own) = (handler.clone(), own.clone());
                if let Ok(stream) = stream {
                    std::thread::spawn(move || drop(serve(stream, &*handler, &own)));
                }
            }
        });
        Server { url: format!("http://{address}"), shared, address }
    }

    /// The next requests of which `METHOD PATH` contains `part` go wrong, one after the other.
    pub fn fail(&self, part: &str, fault: Fault) {
        self.shared.faults.lock().unwrap().push((part.to_owned(), fault));
    }

    pub fn log(&self) -> Vec<Seen> {
        self.shared.log.lock().unwrap().clone()
    }

    pub fn clear(&self) {
        self.shared.log.lock().unwrap().clear();
    }

    /// How many requests there were of which `METHOD PATH` contains `part`.
    pub fn count(&self, part: &str) -> usize {
        self.log().iter().filter(|s| format!("{} {}", s.method, s.path).contains(part)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, handler: &Handler, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        text.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_owned()))
        .collect();
    let mut seen = Seen { method, path, headers, body: Vec::new() };
    let what = format!("{} {}", seen.method, seen.path);
    let fault = {
        let mut faults = shared.faults.lock().unwrap();
        let at = faults.iter().position(|f| what.contains(&f.0));
        at.map(|at| faults.remove(at).1)
    };
    assert!(seen.header("transfer-encoding").is_none(), "{what}: sent in chunks, which no store of files takes");
    let length: usize = seen.header("content-length").map_or(0, |l| l.parse().unwrap());
    if let Some(Fault::CutUpload(after)) = fault {
        let mut part = vec![0; after.min(length)];
        stream.read_exact(&mut part)?;
        shared.log.lock().unwrap().push(seen);
        return stream.shutdown(Shutdown::Both);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    seen.body = body;
    shared.log.lock().unwrap().push(seen.clone());
    let mut answer = match &fault {
        Some(Fault::Instead(answer)) => answer.clone(),
        _ => handler(&seen),
    };
    if let Some(Fault::NoAnswer) = fault {
        return stream.shutdown(Shutdown::Both);
    }
    if answer.ranges && answer.status == 200 {
        in_part(&seen, &mut answer);
    }
    if let Some(Fault::Garbled) = fault {
        let middle = answer.body.len() / 2;
        answer.body[middle] ^= 1;
    }
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", answer.status);
    if answer.status != 304 {
        head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    }
    answer.headers.iter().for_each(|(n, v)| head.push_str(&format!("{n}: {v}\r\n")));
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if seen.method == "HEAD" {
        return Ok(());
    }
    match fault {
        Some(Fault::CutAfter(after)) => {
            stream.write_all(&answer.body[..after.min(answer.body.len())])?;
            stream.flush()?;
        }
        Some(Fault::Silent(after, pause)) => {
            stream.write_all(&answer.body[..after.min(answer.body.len())])?;
            stream.flush()?;
            std::thread::sleep(pause);
        }
        Some(Fault::Slow(piece, pause)) => {
            for bytes in answer.body.chunks(piece) {
                std::thread::sleep(pause);
                stream.write_all(bytes)?;
                stream.flush()?;
            }
        }
        _ => stream.write_all(&answer.body)?,
    }
    stream.shutdown(Shutdown::Both)
}

/// Ranges and conditions, as a server of files knows them.
fn in_part(seen: &Seen, answer: &mut Answer) {
    let own = |name: &str| answer.headers.iter().find(|h| h.0 == name).map(|h| h.1.as_str());
    let (etag, date) = (own("etag"), own("last-modified"));
    let unchanged = seen.header("if-none-match").is_some_and(|e| Some(e) == etag)
        || seen.header("if-modified-since").is_some_and(|d| Some(d) == date);
    if unchanged {
        (answer.status, answer.body) = (304, Vec::new());
        return;
    }
    if seen.header("if-range").is_some_and(|r| Some(r) != etag && Some(r) != date) {
        return;
    }
    let from = seen.header("range").and_then(|r| r.strip_prefix("bytes=")).and_then(|r| r.strip_suffix('-'));
    let Some(from) = from.and_then(|f| f.parse::<usize>().ok()) else { return };
    let n = answer.body.len();
    if from >= n {
        (answer.status, answer.body) = (416, Vec::new());
        answer.headers.push(("content-range".into(), format!("bytes */{n}")));
        return;
    }
    answer.status = 206;
    answer.headers.push(("content-range".into(), format!("bytes {from}-{}/{n}", n - 1)));
    answer.body.drain(..from);
}

/// Settings with which nothing outside this machine is asked.
pub fn settings(folder: &Path) -> Settings {
    let nowhere = "http://127.0.0.1:9".to_owned();
    Settings {
        zenodo: nowhere.clone(),
        zenodo_token: None,
        huggingface: nowhere,
        huggingface_token: None,
        cache: folder.join("cache"),
        offline: false,
        certificates: None,
        proxy: None,
        patience: Patience {
            attempts: 4,
            first_wait: Duration::from_millis(2),
            longest_wait: Duration::from_secs(20),
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(20),
        },
    }
}

pub fn token(text: &str) -> Option<Token> {
    Token::new(text).unwrap()
}

/// A hub with a cache in this folder.
pub fn hub(folder: impl AsRef<Path>, change: impl FnOnce(&mut Settings)) -> Hub {
    let mut settings = settings(folder.as_ref());
    change(&mut settings);
    Hub::new(settings).unwrap()
}

pub fn go(_: &Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A user who stops once more bytes than so many have come or gone.
pub fn stop_after(n: u64) -> impl FnMut(&Progress<'_>) -> ControlFlow<()> {
    move |p| match p {
        Progress::Receiving { done, .. } | Progress::Sending { done, .. } if *done > n => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

/// Bytes without a pattern.
pub fn noise(n: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..n).map(|_| next()).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A small model.
pub fn model() -> scgraft_models::Model {
    let names = |stem: &str, n: usize| (0..n).map(|i| format!("{stem}{i}")).collect();
    let known = scgraft_cells::Known { genes: names("G", 30), conditions: names("study_", 3), ..Default::default() };
    let header = scgraft_models::Header { known, ..Default::default() };
    scgraft_models::Model::new("scvi", &serde_json::json!({}), header, 7).unwrap()
}
