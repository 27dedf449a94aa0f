//! Hugging Face: repositories, and its store on another host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use super::{Answer, Seen, Server, sha256};

/// The token of the only user.
pub const TOKEN: &str = "hf_secret";

/// A file of a commit: its bytes, and whether they are in the store.
type Files = BTreeMap<String, (Vec<u8>, bool)>;

#[derive(Debug, Default)]
pub struct Repository {
    pub private: bool,
    pub commits: Vec<(String, Files)>,
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub struct State {
    pub repositories: BTreeMap<String, Repository>,
    /// The store, by SHA-256.
    pub store: BTreeMap<String, Vec<u8>>,
    /// Parts that came, by SHA-256 and number.
    pub parts: BTreeMap<(String, usize), Vec<u8>>,
    /// Files above this size go in parts of this size.
    pub part: Option<usize>,
}

pub struct Hub {
    pub api: Server,
    pub store: Server,
    pub state: Arc<Mutex<State>>,
}

pub fn start() -> Hub {
    let state: Arc<Mutex<State>> = Arc::default();
    let own = state.clone();
    let store = Server::start(move |seen| stored(seen, &mut own.lock().unwrap()));
    let (own, elsewhere) = (state.clone(), store.url.clone());
    let base: Arc<Mutex<String>> = Arc::default();
    let its = base.clone();
    let api = Server::start(move |seen| answer(seen, &mut own.lock().unwrap(), &elsewhere, &its.lock().unwrap()));
    *base.lock().unwrap() = api.url.clone();
    Hub { api, store, state }
}

fn git(bytes: &[u8]) -> String {
    let mut sum = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    sum.update(bytes);
    sum.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({ "error": message })).with("x-error-code", code).with("x-error-message", message)
}

/// The host that keeps large files. What is sent to it is signed by the address, not by a token.
fn stored(seen: &Seen, state: &mut State) -> Answer {
    if seen.header("authorization").is_some() {
        return Answer::new(400, "Only one auth mechanism allowed");
    }
    let path = seen.path.split('?').next().unwrap().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (seen.method.as_str(), &parts[..]) {
        ("GET", ["get", oid]) => match state.store.get(*oid) {
            Some(bytes) => Answer::file(bytes).with("etag", "\"of-the-store\""),
            None => Answer::new(404, "<Error>NoSuchKey</Error>"),
        },
        ("PUT", ["put", oid]) => {
            if sha256(&seen.body) != **oid {
                return Answer::new(400, "<Error>XAmzContentSHA256Mismatch</Error>");
            }
            state.store.insert((*oid).to_owned(), seen.body.clone());
            Answer::new(200, "")
        }
        ("PUT", ["part", oid, number]) => {
            let number: usize = number.parse().unwrap();
            state.parts.insert(((*oid).to_owned(), number), seen.body.clone());
            Answer::new(200, "").with("etag", &format!("\"{}\"", git(&seen.body)))
        }
        _ => Answer::new(405, ""),
    }
}

fn answer(seen: &Seen, state: &mut State, store: &str, base: &str) -> Answer {
    let path = seen.path.split('?').next().unwrap().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let signed = seen.header("authorization").is_some_and(|a| a == format!("Bearer {TOKEN}"));
    let unsigned = || error(401, "", "Invalid username or password.");
    match (seen.method.as_str(), &parts[..]) {
        ("GET", ["api", "models", org, name, "revision", revision]) => {
            let repository = state.repositories.get(&format!("{org}/{name}"));
            let Some(repository) = repository.filter(|r| !r.private || signed) else {
                return if signed { error(404, "RepoNotFound", "Repository not found") } else { unsigned() };
            };
            match find(repository, revision) {
                Some((sha, files)) => Answer::json(200, &shown(sha, files)),
                None => error(404, "RevisionNotFound", &format!("Invalid rev id: {revision}")),
            }
        }
        ("GET", ["api", "models", org, name]) => {
            Answer::new(if state.repositories.contains_key(&format!("{org}/{name}")) { 200 } else { 404 }, "{}")
        }
        ("GET", [org, name, "resolve", revision, file @ ..]) => {
            let repository = &state.repositories[&format!("{org}/{name}")];
            if repository.private && !signed {
                return unsigned();
            }
            let Some((sha, files)) = find(repository, revision) else {
                return error(404, "RevisionNotFound", "Invalid rev id");
            };
            match files.get(&file.join("/")) {
                Some((bytes, true)) => Answer::to(302, &format!("{store}/get/{}?signature=1", sha256(bytes)))
                    .with("x-repo-commit", sha)
                    .with("x-linked-etag", &format!("\"{}\"", sha256(bytes)))
                    .with("x-linked-size", &bytes.len().to_string()),
                Some((bytes, false)) => Answer::file(bytes).with("etag", &format!("\"{}\"", git(bytes))),
                None => error(404, "EntryNotFound", "Entry not found"),
            }
        }
        _ if !signed => unsigned(),
        ("POST", ["api", "repos", "create"]) => {
            let asked = seen.json();
            let name = format!("{}/{}", asked["organization"].as_str().unwrap(), asked["name"].as_str().unwrap());
            if name.starts_with("others/") {
                return error(403, "", "You don't have the rights to create a model under the namespace \"others\"");
            }
            if state.repositories.contains_key(&name) {
                return error(409, "", "You already created this model repo");
            }
            let private = asked["private"].as_bool().unwrap();
            let first = vec![(git(name.as_bytes()), Files::new())];
            state.repositories.insert(name, Repository { private, commits: first, tags: BTreeMap::new() });
            Answer::json(200, &json!({ "url": base }))
        }
        ("POST", ["api", "models", _, _, "preupload", "main"]) => {
            let files: Vec<Value> = seen.json()["files"]
                .as_array()
                .unwrap()
                .iter()
                .map(|f| {
                    let sample = STANDARD.decode(f["sample"].as_str().unwrap()).unwrap();
                    assert!(sample.len() <= 512);
                    let mode = if sample.contains(&0) { "lfs" } else { "regular" };
                    json!({ "path": f["path"], "uploadMode": mode, "shouldIgnore": false })
                })
                .collect();
            Answer::json(200, &json!({ "files": files }))
        }
        ("POST", [_, name, "info", "lfs", "objects", "batch"]) => {
            assert!(name.ends_with(".git"));
            let asked = seen.json();
            let oid = asked["objects"][0]["oid"].as_str().unwrap().to_owned();
            let size = asked["objects"][0]["size"].as_u64().unwrap() as usize;
            let mut object = json!({ "oid": oid, "size": size });
            if !state.store.contains_key(&oid) {
                let mut header = json!({});
                let mut href = format!("{store}/put/{oid}?signature=1");
                if let Some(part) = state.part.filter(|p| size > *p) {
                    header["chunk_size"] = part.to_string().into();
                    for n in 1..=size.div_ceil(part) {
                        header[format!("{n:05}")] = format!("{store}/part/{oid}/{n}?signature=1").into();
                    }
                    href = format!("{base}/complete/{oid}");
                }
                object["actions"] = json!({
                    "upload": { "href": href, "header": header },
                    "verify": { "href": format!("{base}/verify/{oid}"), "header": {} },
                });
            }
            Answer::json(200, &json!({ "transfer": "basic", "objects": [object] }))
        }
        ("POST", ["complete", oid]) => {
            let mut bytes = Vec::new();
            for part in seen.json()["parts"].as_array().unwrap() {
                let number = part["partNumber"].as_u64().unwrap() as usize;
                let piece = &state.parts[&((*oid).to_owned(), number)];
                assert_eq!(part["etag"], format!("\"{}\"", git(piece)));
                bytes.extend_from_slice(piece);
            }
            assert_eq!(sha256(&bytes), **oid);
            state.store.insert((*oid).to_owned(), bytes);
            Answer::json(200, &json!({}))
        }
        ("POST", ["verify", oid]) => match state.store.contains_key(*oid) {
            true => Answer::json(200, &json!({})),
            false => error(404, "", "not in the store"),
        },
        ("POST", ["api", "models", org, name, "commit", "main"]) => {
            let repository = state.repositories.get_mut(&format!("{org}/{name}")).unwrap();
            let mut files = repository.commits.last().unwrap().1.clone();
            for line in seen.body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                let line: Value = serde_json::from_slice(line).unwrap();
                let value = &line["value"];
                let path = value["path"].as_str().unwrap_or_default().to_owned();
                match line["key"].as_str().unwrap() {
                    "header" => assert!(!value["summary"].as_str().unwrap().is_empty()),
                    "file" => {
                        let bytes = STANDARD.decode(value["content"].as_str().unwrap()).unwrap();
                        files.insert(path, (bytes, false));
                    }
                    "lfsFile" => match state.store.get(value["oid"].as_str().unwrap()) {
                        Some(bytes) => drop(files.insert(path, (bytes.clone(), true))),
                        None => return error(400, "", "a file is not in the store"),
                    },
                    other => panic!("{other}"),
                }
            }
            let sha = git(format!("{} {name}", repository.commits.len()).as_bytes());
            repository.commits.push((sha.clone(), files));
            Answer::json(200, &json!({ "success": true, "commitOid": sha, "commitUrl": base }))
        }
        ("POST", ["api", "models", org, name, "tag", commit]) => {
            let repository = state.repositories.get_mut(&format!("{org}/{name}")).unwrap();
            let tag = seen.json()["tag"].as_str().unwrap().to_owned();
            if repository.tags.contains_key(&tag) {
                return error(409, "", "Tag reference exists already");
            }
            repository.tags.insert(tag, (*commit).to_owned());
            Answer::new(200, "")
        }
        _ => error(404, "", "no such page"),
    }
}

fn find<'r>(repository: &'r Repository, revision: &str) -> Option<(&'r str, &'r Files)> {
    let revision = repository.tags.get(revision).map_or(revision, String::as_str);
    let commit = match revision {
        "main" => repository.commits.last(),
        _ => repository.commits.iter().find(|c| c.0 == revision),
    };
    commit.map(|(sha, files)| (sha.as_str(), files))
}

fn shown(sha: &str, files: &Files) -> Value {
    let siblings: Vec<Value> = files
        .iter()
        .map(|(name, (bytes, large))| match large {
            true => json!({
                "rfilename": name, "size": bytes.len(), "blobId": git(b"pointer"),
                "lfs": { "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134 },
            }),
            false => json!({ "rfilename": name, "size": bytes.len(), "blobId": git(bytes) }),
        })
        .collect();
    json!({ "sha": sha, "siblings": siblings, "lastModified": "2026-11-20T10:00:00.000Z", "cardData": { "license": "cc-by-4.0" } })
}
