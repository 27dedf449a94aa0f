//! Zenodo: records and depositions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::{Answer, Seen, Server};

/// The token of the only user.
pub const TOKEN: &str = "zt_secret";

#[derive(Clone, Debug, Default)]
pub struct Record {
    pub concept: u64,
    pub submitted: bool,
    pub metadata: Value,
    pub files: BTreeMap<String, Vec<u8>>,
}

pub type Records = Arc<Mutex<BTreeMap<u64, Record>>>;

/// A Zenodo with these records.
pub fn start() -> (Server, Records) {
    start_as(None)
}

/// The same, which calls itself by another address in its answers.
pub fn start_as(called: Option<&str>) -> (Server, Records) {
    let records = Records::default();
    let own = records.clone();
    let base: Arc<Mutex<String>> = Arc::default();
    let its = base.clone();
    let server = Server::start(move |seen| answer(seen, &mut own.lock().unwrap(), &its.lock().unwrap()));
    *base.lock().unwrap() = called.unwrap_or(&server.url).to_owned();
    (server, records)
}

pub fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn error(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "status": status, "message": message }))
}

fn answer(seen: &Seen, records: &mut BTreeMap<u64, Record>, base: &str) -> Answer {
    let path = seen.path.split('?').next().unwrap().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let signed = seen.header("authorization").is_some_and(|a| a == format!("Bearer {TOKEN}"));
    match (seen.method.as_str(), &parts[..]) {
        ("GET", ["api", "records", id]) => {
            let id: u64 = id.parse().unwrap();
            if let Some((newest, _)) = records.iter().rev().find(|r| r.1.concept == id && r.1.submitted) {
                return Answer::to(301, &format!("/api/records/{newest}"));
            }
            match records.get(&id).filter(|r| r.submitted) {
                Some(record) => Answer::json(200, &shown(id, record, base)),
                None => error(404, "The persistent identifier does not exist."),
            }
        }
        ("GET", ["api", "records", id, "files", name, "content"]) => {
            let record = &records[&id.parse::<u64>().unwrap()];
            match record.files.get(&name.replace("%20", " ")) {
                Some(bytes) => Answer::file(bytes),
                None => error(404, "No such file."),
            }
        }
        (_, ["api", "deposit" | "files", ..]) if !signed => {
            error(401, "The server could not verify that you are authorized to access the URL requested.")
        }
        ("POST", ["api", "deposit", "depositions"]) => {
            let id = next(records);
            records.insert(id, Record { concept: id - 1, ..Record::default() });
            Answer::json(201, &deposition(id, &records[&id], base))
        }
        ("GET", ["api", "deposit", "depositions", id]) => match records.get(&id.parse().unwrap()) {
            Some(record) => Answer::json(200, &deposition(id.parse().unwrap(), record, base)),
            None => error(404, "No such deposition."),
        },
        ("PUT", ["api", "files", bucket, name]) => {
            let record = records.get_mut(&bucket.trim_start_matches("bucket-").parse().unwrap()).unwrap();
            if record.submitted {
                return error(403, "The record is published.");
            }
            record.files.insert(name.replace("%20", " "), seen.body.clone());
            let sum = format!("md5:{}", md5(&seen.body));
            Answer::json(201, &json!({ "key": name, "checksum": sum, "size": seen.body.len() }))
        }
        ("DELETE", ["api", "deposit", "depositions", id, "files", file]) => {
            let record = records.get_mut(&id.parse().unwrap()).unwrap();
            record.files.retain(|name, _| format!("file-{}", md5(name.as_bytes())) != **file);
            Answer::new(204, "")
        }
        ("PUT", ["api", "deposit", "depositions", id]) => {
            let record = records.get_mut(&id.parse().unwrap()).unwrap();
            let meta = seen.json()["metadata"].clone();
            let lacks = ["title", "description", "upload_type"].into_iter().find(|k| !meta[*k].is_string());
            if lacks.is_some() || meta["creators"].as_array().is_none_or(Vec::is_empty) {
                return Answer::json(
                    400,
                    &json!({ "message": "Validation error.", "errors": [{ "field": "metadata.creators", "message": "Missing." }] }),
                );
            }
            record.metadata = meta;
            Answer::json(200, &deposition(id.parse().unwrap(), record, base))
        }
        ("POST", ["api", "deposit", "depositions", id, "actions", "publish"]) => {
            let id: u64 = id.parse().unwrap();
            let record = records.get_mut(&id).unwrap();
            if record.submitted {
                return error(404, "There is no draft.");
            }
            if record.files.is_empty() || record.metadata.is_null() {
                return error(400, "Minimum one file must be provided.");
            }
            record.submitted = true;
            Answer::json(202, &deposition(id, record, base))
        }
        ("POST", ["api", "deposit", "depositions", id, "actions", "newversion"]) => {
            let id: u64 = id.parse().unwrap();
            let Some(old) = records.get(&id).filter(|r| r.submitted).cloned() else {
                return error(404, "No such record.");
            };
            let draft = next(records);
            records.insert(draft, Record { submitted: false, ..old.clone() });
            let mut told = deposition(id, &old, base);
            told["links"]["latest_draft"] = format!("{base}/api/deposit/depositions/{draft}").into();
            Answer::json(201, &told)
        }
        _ => error(405, "The method is not allowed for the requested URL."),
    }
}

fn next(records: &BTreeMap<u64, Record>) -> u64 {
    records.keys().last().map_or(1001, |id| id + 2)
}

fn shown(id: u64, record: &Record, base: &str) -> Value {
    let files: Vec<Value> = record
        .files
        .iter()
        .map(|(name, bytes)| {
            json!({
                "key": name, "size": bytes.len(), "checksum": format!("md5:{}", md5(bytes)),
                "links": { "self": format!("{base}/api/records/{id}/files/{name}/content") },
            })
        })
        .collect();
    let mut meta = record.metadata.clone();
    if let Some(licence) = meta["license"].as_str().map(str::to_owned) {
        meta["license"] = json!({ "id": licence });
    }
    json!({
        "id": id, "conceptrecid": record.concept.to_string(), "doi": format!("10.5281/zenodo.{id}"),
        "metadata": meta, "files": files,
    })
}

fn deposition(id: u64, record: &Record, base: &str) -> Value {
    let files: Vec<Value> = record
        .files
        .iter()
        .map(|(name, bytes)| {
            let file = format!("file-{}", md5(name.as_bytes()));
            json!({ "id": file, "filename": name, "filesize": bytes.len(), "checksum": md5(bytes) })
        })
        .collect();
    let mut meta = if record.metadata.is_null() { json!({}) } else { record.metadata.clone() };
    meta["prereserve_doi"] = json!({ "doi": format!("10.5281/zenodo.{id}"), "recid": id });
    json!({
        "id": id, "submitted": record.submitted, "metadata": meta, "files": files,
        "links": { "bucket": format!("{base}/api/files/bucket-{id}"), "self": format!("{base}/api/deposit/depositions/{id}") },
    })
}
