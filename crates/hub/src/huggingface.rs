//! Hugging Face: model repositories. Large files go to its store by the protocol of Git LFS, then one commit names all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::address::{encode, is_relative};
use crate::fetch::{Hub, Listed, Listing};
use crate::http::{Ask, Body, Watch};
use crate::push::{Outgoing, Pushed};
use crate::reply::{Reply, lacking, refused};
use crate::{Address, HubError};

/// What a repository holds at a revision.
pub(crate) fn list(
    hub: &Hub,
    address: &Address,
    repository: &str,
    revision: &str,
    watch: &mut Watch<'_>,
) -> Result<Listing, HubError> {
    let place = address.to_string();
    let service = &hub.huggingface;
    let url = format!("{}/api/models/{repository}/revision/{}?blobs=true", service.base, encode(revision, false));
    let reply = hub.http.ask(&Ask::get(&place, url, Some(service)), watch)?;
    if !reply.ok() {
        return Err(missing(hub, &place, &reply));
    }
    let json = reply.json(&place)?;
    let commit = json["sha"].as_str().filter(|s| is_commit(s)).ok_or_else(|| lacking(&place, "sha"))?;
    let mut files = Vec::new();
    for file in json["siblings"].as_array().into_iter().flatten() {
        let name = file["rfilename"].as_str().ok_or_else(|| lacking(&place, "siblings.rfilename"))?;
        if !is_relative(name) {
            tracing::warn!("{place}: a file whose name leads elsewhere is left out");
            continue;
        }
        let lfs = file["lfs"]["sha256"].as_str().or_else(|| file["lfs"]["oid"].as_str());
        let checksum = match lfs {
            Some(hash) => Some(format!("sha256:{}", hash.trim_start_matches("sha256:"))),
            None => file["blobId"].as_str().map(|id| format!("git:{id}")),
        };
        let bytes = file["lfs"]["size"].as_u64().or_else(|| file["size"].as_u64());
        let url = format!("{}/{repository}/resolve/{commit}/{}", service.base, encode(name, true));
        // Git's name of a file can be told only with its length.
        let checksum = checksum.filter(|c| bytes.is_some() || c.starts_with("sha256:"));
        files.push(Listed { name: name.to_owned(), bytes, checksum, url });
    }
    let text = |v: &Value| v.as_str().map(str::to_owned);
    Ok(Listing {
        pinned: format!("hf:{repository}@{commit}"),
        page: format!("{}/{repository}/tree/{commit}", service.base),
        title: Some(repository.to_owned()),
        version: Some(revision.to_owned()),
        date: text(&json["lastModified"]).map(|d| d.chars().take(10).collect()),
        licence: text(&json["cardData"]["license"]),
        doi: None,
        files,
    })
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Why a repository cannot be read: one that does not exist looks like one that is not shown.
fn missing(hub: &Hub, place: &str, reply: &Reply) -> HubError {
    let code = reply.headers.get("x-error-code").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let token = hub.huggingface.token.is_some();
    let remedy = match (reply.status, code) {
        (_, "GatedRepo") | (403, _) => {
            "its authors ask for a request on its page; make one, and put a token into HF_TOKEN".to_owned()
        }
        (_, "RevisionNotFound") => "it has no such branch, tag or commit; check what stands after `@`".to_owned(),
        (401, _) | (_, "RepoNotFound") if !token => {
            "there is no such repository, or it is private: check its name, or put a token into HF_TOKEN".to_owned()
        }
        (401, _) | (_, "RepoNotFound") => {
            "there is no such repository, or the token in HF_TOKEN may not see it: check its name".to_owned()
        }
        _ => return refused(place, Some(&hub.huggingface), reply),
    };
    let said = crate::reply::said(reply, Some(&hub.huggingface));
    HubError::refused(place, reply.status, said, remedy)
}

/// Makes a repository if there is none, and adds one commit with the files.
pub(crate) fn push(
    hub: &Hub,
    repository: &str,
    private: bool,
    version: Option<&str>,
    files: &[Outgoing],
    watch: &mut Watch<'_>,
) -> Result<Pushed, HubError> {
    let work = Work { hub, repository, place: format!("hf:{repository}") };
    work.create(private, watch)?;
    let ways = work.ways(files, watch)?;
    let mut lines = vec![json!({
        "key": "header",
        "value": { "summary": version.map_or_else(|| "Upload by scgraft".to_owned(), |v| format!("Version {v}")), "description": "" },
    })];
    for (file, way) in files.iter().zip(&ways) {
        lines.push(match way {
            Way::Store => {
                let (oid, size) = (file.sha256(watch)?, file.bytes()?);
                work.store(file, &oid, size, watch)?;
                json!({ "key": "lfsFile", "value": { "path": file.name, "algo": "sha256", "oid": oid, "size": size } })
            }
            Way::Commit => {
                let content = STANDARD.encode(file.beginning(u64::MAX)?);
                json!({ "key": "file", "value": { "path": file.name, "content": content, "encoding": "base64" } })
            }
        });
    }
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.to_string());
        text.push('\n');
    }
    let url = format!("{}/api/models/{repository}/commit/main", hub.huggingface.base);
    let ask = Ask::new(Method::POST, &work.place, url, &hub.huggingface);
    // A second time the same files would be there.
    let ask = Ask { body: Body::Bytes(text.as_bytes(), "application/x-ndjson"), ..ask }.repeatable();
    let made = work.json(&ask, watch)?;
    let commit =
        made["commitOid"].as_str().filter(|s| is_commit(s)).ok_or_else(|| lacking(&work.place, "commitOid"))?;
    if let Some(version) = version {
        work.tag(version, commit, watch)?;
    }
    let revision = Some(version.unwrap_or(commit).to_owned());
    Ok(Pushed {
        address: Address::HuggingFace { repository: repository.to_owned(), revision, file: None },
        page: format!("{}/{repository}", hub.huggingface.base),
        doi: None,
        published: true,
    })
}

/// How a file goes.
enum Way {
    /// To the store of large files.
    Store,
    /// In the commit itself.
    Commit,
}

/// The most that goes in a commit itself.
const MOST_IN_COMMIT: u64 = 10 << 20;
const LFS: &str = "application/vnd.git-lfs+json";

struct Work<'h> {
    hub: &'h Hub,
    repository: &'h str,
    place: String,
}

impl Work<'_> {
    fn api(&self, rest: &str) -> String {
        format!("{}/api/{rest}", self.hub.huggingface.base)
    }

    fn json(&self, ask: &Ask<'_>, watch: &mut Watch<'_>) -> Result<Value, HubError> {
        let reply = self.hub.http.ask(ask, watch)?;
        if reply.ok() {
            reply.json(&self.place)
        } else {
            Err(refused(&self.place, Some(&self.hub.huggingface), &reply))
        }
    }

    /// Makes the repository; that it is there already is as good.
    fn create(&self, private: bool, watch: &mut Watch<'_>) -> Result<(), HubError> {
        let (organisation, name) = self.repository.split_once('/').unwrap_or(("", self.repository));
        let body =
            json!({ "type": "model", "name": name, "organization": organisation, "private": private }).to_string();
        let ask = Ask::new(Method::POST, &self.place, self.api("repos/create"), &self.hub.huggingface);
        let reply = self.hub.http.ask(&ask.json(body.as_bytes()).repeatable(), watch)?;
        match reply.status {
            409 => Ok(()),
            _ if reply.ok() => Ok(()),
            // Who may write to a repository need not be allowed to make one there.
            403 if self.exists(watch)? => Ok(()),
            _ => Err(refused(&self.place, Some(&self.hub.huggingface), &reply)),
        }
    }

    fn exists(&self, watch: &mut Watch<'_>) -> Result<bool, HubError> {
        let url = self.api(&format!("models/{}", self.repository));
        Ok(self.hub.http.ask(&Ask::get(&self.place, url, Some(&self.hub.huggingface)), watch)?.ok())
    }

    /// How each file is to go; the service decides by its beginning.
    fn ways(&self, files: &[Outgoing], watch: &mut Watch<'_>) -> Result<Vec<Way>, HubError> {
        const SAMPLE: u64 = 512;
        let mut asked = Vec::new();
        for file in files {
            let sample = STANDARD.encode(file.beginning(SAMPLE)?);
            asked.push(json!({ "path": file.name, "size": file.bytes()?, "sample": sample }));
        }
        let body = json!({ "files": asked }).to_string();
        let url = self.api(&format!("models/{}/preupload/main", self.repository));
        let ask = Ask::new(Method::POST, &self.place, url, &self.hub.huggingface).json(body.as_bytes()).repeatable();
        let told = self.json(&ask, watch)?;
        let way = |file: &Outgoing| -> Result<Way, HubError> {
            let of = |f: &&Value| f["path"] == file.name.as_str();
            let found = told["files"].as_array().into_iter().flatten().find(of);
            let found = found.ok_or_else(|| lacking(&self.place, "files"))?;
            if found["shouldIgnore"].as_bool() == Some(true) {
                let what = format!("{}: `{}` is among the names that the repository ignores", self.place, file.name);
                return Err(HubError::Push { what });
            }
            Ok(match found["uploadMode"].as_str() {
                Some("regular") if file.bytes()? <= MOST_IN_COMMIT => Way::Commit,
                _ => Way::Store,
            })
        };
        files.iter().map(way).collect()
    }

    /// Brings a file to the store, unless it is there.
    fn store(&self, file: &Outgoing, oid: &str, size: u64, watch: &mut Watch<'_>) -> Result<(), HubError> {
        let body = json!({
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "hash_algo": "sha256",
            "ref": { "name": "refs/heads/main" },
            "objects": [{ "oid": oid, "size": size }],
        })
        .to_string();
        let url = format!("{}/{}.git/info/lfs/objects/batch", self.hub.huggingface.base, self.repository);
        let ask = Ask::new(Method::POST, &self.place, url, &self.hub.huggingface).header("accept", LFS);
        let ask = Ask { body: Body::Bytes(body.as_bytes(), LFS), ..ask }.repeatable();
        let told = self.json(&ask, watch)?;
        let object = &told["objects"][0];
        if let Some(error) = object["error"]["message"].as_str() {
            let status = object["error"]["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(0);
            let said: String = error.chars().filter(|c| !c.is_control()).take(400).collect();
            let remedy = "the store did not take it; run the same command again";
            return Err(HubError::refused(format!("{}, {}", self.place, file.name), status, said, remedy));
        }
        let upload = &object["actions"]["upload"];
        if upload.is_null() {
            tracing::debug!("{}: `{}` is there already", self.place, file.name);
            return Ok(());
        }
        let href = upload["href"].as_str().ok_or_else(|| lacking(&self.place, "actions.upload.href"))?;
        let header = &upload["header"];
        match chunk_size(header) {
            Some(chunk) => self.parts(file, oid, size, href, header, chunk, watch)?,
            None => {
                let body = file.body(0, size, size);
                let headers = pairs(header);
                self.put(Ask { body, headers, method: Method::PUT, ..self.elsewhere(href) }.repeatable(), watch)?;
            }
        }
        let verify = &object["actions"]["verify"];
        if let Some(href) = verify["href"].as_str() {
            let body = json!({ "oid": oid, "size": size }).to_string();
            let ask = Ask { method: Method::POST, ..self.elsewhere(href) }.repeatable();
            let ask = Ask { headers: pairs(&verify["header"]), body: Body::Bytes(body.as_bytes(), LFS), ..ask };
            self.put(ask, watch)?;
        }
        Ok(())
    }

    /// A file in parts of a size that the store names, each to an address of its own.
    #[expect(clippy::too_many_arguments, reason = "what the store said, as it said it")]
    fn parts(
        &self,
        file: &Outgoing,
        oid: &str,
        size: u64,
        href: &str,
        header: &Value,
        chunk: u64,
        watch: &mut Watch<'_>,
    ) -> Result<(), HubError> {
        let n_parts = size.div_ceil(chunk);
        let mut parts = Vec::new();
        for part in 0..n_parts {
            // Parts are named 1, 2, …, or 00001, 00002, ….
            let of_part = |k: &&String| k.parse() == Ok(part + 1);
            let key = header.as_object().and_then(|h| h.keys().find(of_part));
            let url =
                key.and_then(|k| header[k].as_str()).ok_or_else(|| lacking(&self.place, "an address of a part"))?;
            let from = part * chunk;
            let body = file.body(from, chunk.min(size - from), size);
            let reply = self.put(Ask { body, method: Method::PUT, ..self.elsewhere(url) }.repeatable(), watch)?;
            let etag = reply.headers.get("etag").and_then(|v| v.to_str().ok());
            let etag = etag.ok_or_else(|| lacking(&self.place, "etag"))?;
            parts.push(json!({ "partNumber": part + 1, "etag": etag }));
        }
        let body = json!({ "oid": oid, "parts": parts }).to_string();
        let ask = Ask { method: Method::POST, ..self.elsewhere(href) }.repeatable().header("accept", LFS);
        self.put(Ask { body: Body::Bytes(body.as_bytes(), LFS), ..ask }, watch)?;
        Ok(())
    }

    /// A request to an address that the service named; the token goes along only if it is the service's own.
    fn elsewhere<'a>(&'a self, url: &str) -> Ask<'a> {
        let place = &self.place;
        let whole = if url.starts_with('/') { format!("{}{url}", self.hub.huggingface.base) } else { url.to_owned() };
        Ask::get(place, whole, Some(&self.hub.huggingface))
    }

    fn put(&self, ask: Ask<'_>, watch: &mut Watch<'_>) -> Result<Reply, HubError> {
        let reply = self.hub.http.ask(&ask, watch)?;
        if reply.ok() { Ok(reply) } else { Err(refused(&self.place, None, &reply)) }
    }

    /// Gives a commit the name of a version.
    fn tag(&self, version: &str, commit: &str, watch: &mut Watch<'_>) -> Result<(), HubError> {
        let url = self.api(&format!("models/{}/tag/{commit}", self.repository));
        let body = json!({ "tag": version }).to_string();
        let ask = Ask::new(Method::POST, &self.place, url, &self.hub.huggingface).json(body.as_bytes());
        let reply = self.hub.http.ask(&ask.repeatable(), watch)?;
        if reply.ok() || (reply.status == 409 && self.has_tag(version, commit, watch)?) {
            return Ok(());
        }
        if reply.status == 409 {
            let what = format!(
                "{}: the files are there, as commit {commit}, but version `{version}` is another commit already; versions \
                 do not change: give this one a new name",
                self.place
            );
            return Err(HubError::Push { what });
        }
        Err(refused(&self.place, Some(&self.hub.huggingface), &reply))
    }

    /// Whether a version is this commit already, as after an answer that was lost.
    fn has_tag(&self, version: &str, commit: &str, watch: &mut Watch<'_>) -> Result<bool, HubError> {
        let url = self.api(&format!("models/{}/revision/{}", self.repository, encode(version, false)));
        let reply = self.hub.http.ask(&Ask::get(&self.place, url, Some(&self.hub.huggingface)), watch)?;
        Ok(reply.ok() && reply.json(&self.place)?["sha"].as_str() == Some(commit))
    }
}

/// The size of parts, where a file has to go in parts.
fn chunk_size(header: &Value) -> Option<u64> {
    let size = &header["chunk_size"];
    size.as_u64().or_else(|| size.as_str().and_then(|s| s.parse().ok())).filter(|c| *c > 0)
}

/// Headers that a request has to have, as the service named them; never its token.
fn pairs(header: &Value) -> Vec<(String, String)> {
    let all = header.as_object().into_iter().flatten();
    all.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}
