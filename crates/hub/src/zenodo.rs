//! Zenodo: records are read by `api/records`, made by `api/deposit/depositions`.

use serde_json::{Map, Value, json};
use ureq::http::Method;

use crate::address::{encode, is_relative};
use crate::fetch::{Hub, Listed, Listing};
use crate::http::{Ask, Watch};
use crate::push::{CARD, Outgoing, Pushed};
use crate::reply::{Reply, lacking, refused};
use crate::{Address, Card, HubError};

/// What a record holds.
pub(crate) fn list(hub: &Hub, address: &Address, record: &str, watch: &mut Watch<'_>) -> Result<Listing, HubError> {
    let place = address.to_string();
    let service = &hub.zenodo;
    let url = format!("{}/api/records/{record}", service.base);
    let reply = hub.http.ask(&Ask::get(&place, url, Some(service)).header("accept", "application/json"), watch)?;
    if !reply.ok() {
        return Err(refused(&place, Some(service), &reply));
    }
    let json = reply.json(&place)?;
    // Of the number of all versions, the newest.
    let id = number(&json["id"]).ok_or_else(|| lacking(&place, "id"))?;
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let meta = &json["metadata"];
    let mut files = Vec::new();
    for file in json["files"].as_array().into_iter().flatten() {
        let name = file["key"].as_str().ok_or_else(|| lacking(&place, "files.key"))?;
        if !is_relative(name) {
            tracing::warn!("{place}: a file whose name leads elsewhere is left out");
            continue;
        }
        let url = format!("{}/api/records/{id}/files/{}/content", service.base, encode(name, false));
        let (bytes, checksum) = (file["size"].as_u64(), text(&file["checksum"]));
        files.push(Listed { name: name.to_owned(), bytes, checksum, url });
    }
    if files.is_empty() && meta["access_right"].as_str().is_some_and(|a| a != "open") {
        let remedy = "ask its authors for access on its page, and put a token into ZENODO_TOKEN";
        return Err(HubError::refused(place, 403, "its files are not open to everybody", remedy));
    }
    Ok(Listing {
        pinned: format!("zenodo:{id}"),
        page: format!("{}/records/{id}", service.base),
        title: text(&meta["title"]),
        version: text(&meta["version"]),
        date: text(&meta["publication_date"]),
        licence: text(&meta["license"]["id"]),
        doi: text(&json["doi"]).or_else(|| text(&meta["doi"])),
        files,
    })
}

/// A number, also one that is written as text.
fn number(value: &Value) -> Option<String> {
    let text = value.as_u64().map(|n| n.to_string()).or_else(|| value.as_str().map(str::to_owned))?;
    text.bytes().all(|b| b.is_ascii_digit()).then_some(text).filter(|t| !t.is_empty())
}

/// What a record is to become.
pub(crate) struct Plan<'p> {
    /// The record that it is a new version of.
    pub before: Option<&'p str>,
    /// Whether files of that version that are not sent stay in the new one.
    pub keep: bool,
    /// Whether it is published, or left to be looked at.
    pub publish: bool,
    pub version: Option<&'p str>,
    pub card: &'p Card,
}

/// Makes a record or a new version of one, or goes on with the draft of an earlier call.
pub(crate) fn push(
    hub: &Hub,
    plan: &Plan<'_>,
    files: &[Outgoing],
    draft: Option<String>,
    begun: &mut dyn FnMut(&str) -> Result<(), HubError>,
    watch: &mut Watch<'_>,
) -> Result<Pushed, HubError> {
    let work = Work { hub, place: place(plan) };
    // A draft that was thrown away by hand is made again.
    let old = draft.map(|id| work.deposition(&id, watch)).transpose()?.flatten();
    let draft = match old {
        Some(draft) => draft,
        None => match plan.before {
            None => work.new_record(watch)?,
            Some(before) => work.new_version(before, watch)?,
        },
    };
    let id = number(&draft["id"]).ok_or_else(|| lacking(&work.place, "id"))?;
    begun(&id)?;
    if draft["submitted"].as_bool() == Some(true) {
        // It was published, and the answer did not come through.
        return work.made(&draft, &id, true);
    }
    let address = Address::Zenodo { record: id.clone(), file: None };
    let mut all = files.to_vec();
    all.push(Outgoing::text(CARD, plan.card.markdown(&address)));
    work.put_files(&draft, &id, plan, &all, watch)?;
    let meta = metadata(plan, &address);
    let body = json!({ "metadata": meta }).to_string();
    let url = format!("{}/{id}", work.depositions());
    let ask = Ask::new(Method::PUT, &work.place, url, &hub.zenodo).json(body.as_bytes()).repeatable();
    let draft = work.json(&ask, watch)?;
    if !plan.publish {
        return work.made(&draft, &id, false);
    }
    let url = format!("{}/{id}/actions/publish", work.depositions());
    match work.json(&Ask::new(Method::POST, &work.place, url, &hub.zenodo), watch) {
        Ok(published) => work.made(&published, &id, true),
        Err(error) => {
            // Perhaps it was done, and only the answer was lost.
            if let Ok(Some(now)) = work.deposition(&id, watch)
                && now["submitted"].as_bool() == Some(true)
            {
                return work.made(&now, &id, true);
            }
            Err(error)
        }
    }
}

fn place(plan: &Plan<'_>) -> String {
    plan.before
        .map_or_else(|| "a new record of Zenodo".to_owned(), |before| format!("a new version of zenodo:{before}"))
}

struct Work<'h> {
    hub: &'h Hub,
    place: String,
}

impl Work<'_> {
    fn depositions(&self) -> String {
        format!("{}/api/deposit/depositions", self.hub.zenodo.base)
    }

    /// Asks; any answer but a good one is an error.
    fn json(&self, ask: &Ask<'_>, watch: &mut Watch<'_>) -> Result<Value, HubError> {
        self.reply(ask, watch)?.json(&self.place)
    }

    fn reply(&self, ask: &Ask<'_>, watch: &mut Watch<'_>) -> Result<Reply, HubError> {
        let reply = self.hub.http.ask(ask, watch)?;
        if reply.ok() { Ok(reply) } else { Err(refused(&self.place, Some(&self.hub.zenodo), &reply)) }
    }

    /// A deposition, if there is one of that number.
    fn deposition(&self, id: &str, watch: &mut Watch<'_>) -> Result<Option<Value>, HubError> {
        let url = format!("{}/{id}", self.depositions());
        let reply = self.hub.http.ask(&Ask::get(&self.place, url, Some(&self.hub.zenodo)), watch)?;
        match reply.status {
            404 | 410 => Ok(None),
            _ if reply.ok() => reply.json(&self.place).map(Some),
            _ => Err(refused(&self.place, Some(&self.hub.zenodo), &reply)),
        }
    }

    fn new_record(&self, watch: &mut Watch<'_>) -> Result<Value, HubError> {
        self.json(&Ask::new(Method::POST, &self.place, self.depositions(), &self.hub.zenodo).json(b"{}"), watch)
    }

    /// A draft of the next version, with the files of this one.
    fn new_version(&self, before: &str, watch: &mut Watch<'_>) -> Result<Value, HubError> {
        // The number of all versions is not that of a deposition: the newest is asked for first.
        let address = Address::Zenodo { record: before.to_owned(), file: None };
        let newest = list(self.hub, &address, before, watch)?;
        let id = newest.pinned.trim_start_matches("zenodo:").to_owned();
        let url = format!("{}/{id}/actions/newversion", self.depositions());
        let made = self.json(&Ask::new(Method::POST, &self.place, url, &self.hub.zenodo), watch)?;
        let link = made["links"]["latest_draft"].as_str().ok_or_else(|| lacking(&self.place, "links.latest_draft"))?;
        let draft = link.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let draft = number(&draft.into()).ok_or_else(|| lacking(&self.place, "links.latest_draft"))?;
        self.deposition(&draft, watch)?.ok_or_else(|| lacking(&self.place, "draft"))
    }

    /// Sends what is not there yet; what is there and not wanted goes.
    fn put_files(
        &self,
        draft: &Value,
        id: &str,
        plan: &Plan<'_>,
        files: &[Outgoing],
        watch: &mut Watch<'_>,
    ) -> Result<(), HubError> {
        let bucket = draft["links"]["bucket"].as_str().ok_or_else(|| lacking(&self.place, "links.bucket"))?;
        let there = draft["files"].as_array().map_or(&[][..], Vec::as_slice);
        let sums = files.iter().map(|f| f.md5(watch)).collect::<Result<Vec<_>, _>>()?;
        for old in there {
            let name = old["filename"].as_str().unwrap_or_default();
            if files.iter().any(|f| f.name == name) || plan.keep {
                continue;
            }
            let file = old["id"].as_str().ok_or_else(|| lacking(&self.place, "files.id"))?;
            let url = format!("{}/{id}/files/{}", self.depositions(), encode(file, false));
            let ask = Ask::new(Method::DELETE, &self.place, url, &self.hub.zenodo).repeatable();
            let reply = self.hub.http.ask(&ask, watch)?;
            if !reply.ok() && reply.status != 404 {
                return Err(refused(&self.place, Some(&self.hub.zenodo), &reply));
            }
        }
        for (file, md5) in files.iter().zip(&sums) {
            let bare = |v: &Value| v.as_str().map(|c| c.trim_start_matches("md5:").to_owned());
            let same = |f: &Value| f["filename"] == file.name.as_str() && bare(&f["checksum"]).as_ref() == Some(md5);
            if there.iter().any(same) {
                tracing::debug!("{}: `{}` is there already", self.place, file.name);
                continue;
            }
            self.put_file(bucket, file, md5, watch)?;
        }
        Ok(())
    }

    fn put_file(&self, bucket: &str, file: &Outgoing, md5: &str, watch: &mut Watch<'_>) -> Result<(), HubError> {
        let url = format!("{}/{}", bucket.trim_end_matches('/'), encode(&file.name, false));
        let bytes = file.bytes()?;
        let body = file.body(0, bytes, bytes);
        let ask = Ask { body, ..Ask::new(Method::PUT, &self.place, url, &self.hub.zenodo) }.repeatable();
        let stored = self.json(&ask, watch)?;
        let found = stored["checksum"].as_str().unwrap_or_default().trim_start_matches("md5:").to_owned();
        if found != md5 {
            return Err(HubError::Checksum {
                place: format!("{}, {}", self.place, file.name),
                expected: format!("md5:{md5}"),
                found: format!("md5:{found}"),
                remedy: "it was damaged on its way, or changed meanwhile; nothing was published: run the same command \
                         again"
                    .to_owned(),
            });
        }
        Ok(())
    }

    fn made(&self, deposition: &Value, id: &str, published: bool) -> Result<Pushed, HubError> {
        let reserved = &deposition["metadata"]["prereserve_doi"]["doi"];
        let doi = deposition["doi"].as_str().filter(|d| !d.is_empty()).or_else(|| reserved.as_str());
        let page = if published { "records" } else { "uploads" };
        Ok(Pushed {
            address: Address::Zenodo { record: id.to_owned(), file: None },
            page: format!("{}/{page}/{id}", self.hub.zenodo.base),
            doi: doi.map(str::to_owned),
            published,
        })
    }
}

/// What Zenodo is told of a record.
fn metadata(plan: &Plan<'_>, address: &Address) -> Value {
    let (card, words) = (plan.card, &plan.card.words);
    let mut out = Map::new();
    out.insert("title".into(), card.title().into());
    out.insert("upload_type".into(), "dataset".into());
    out.insert("description".into(), card.html(address).into());
    let creators = words.authors.iter().map(|name| json!({ "name": name })).collect();
    out.insert("creators".into(), Value::Array(creators));
    out.insert("access_right".into(), "open".into());
    if let Some(licence) = &words.licence {
        out.insert("license".into(), licence.to_lowercase().into());
    }
    if let Some(version) = plan.version {
        out.insert("version".into(), version.into());
    }
    out.insert("keywords".into(), card.tags().into());
    let related: Vec<Value> = words
        .related
        .iter()
        .map(|doi| json!({ "identifier": doi, "relation": "isSupplementTo" }))
        .chain(card.cited_dois().into_iter().map(|doi| json!({ "identifier": doi, "relation": "cites" })))
        .collect();
    out.insert("related_identifiers".into(), Value::Array(related));
    Value::Object(out)
}
