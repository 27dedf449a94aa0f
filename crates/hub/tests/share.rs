//! What is sent and fetched again: the same bytes, whatever breaks in between, and a card beside them.
#![cfg(feature = "net")]
#![allow(missing_docs)]

mod server;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use scgraft_hub::{Address, Card, CardWords, HubError, Outgoing, Progress, Push, Settings, Target};
use scgraft_models::{Adaptor, Model, Newcomers, Surgery};
use server::{Answer, Fault, Server, go, hub, huggingface, model, stop_after, token, zenodo};

fn words() -> CardWords {
    CardWords {
        title: Some("A tiny atlas".to_owned()),
        authors: vec!["Curie, Marie".to_owned()],
        licence: Some("CC-BY-4.0".to_owned()),
        ..CardWords::default()
    }
}

/// A model on the disk.
fn saved(folder: &Path) -> (PathBuf, Model, Vec<u8>) {
    let (path, model) = (folder.join("atlas.scgraft"), model());
    let bytes = model.to_bytes().unwrap();
    std::fs::write(&path, &bytes).unwrap();
    (path, model, bytes)
}

fn push(target: &str, name: &str, path: &Path, model: &Model) -> Push {
    Push {
        target: Target::parse(target).unwrap(),
        files: vec![Outgoing::new(name, path)],
        card: Card::of_model(name, model, words()),
        version: Some("1.0".to_owned()),
    }
}

/// Settings of somebody with a token for the service.
fn of_zenodo(zenodo: &Server) -> impl Fn(&mut Settings) + Copy {
    |s| (s.zenodo, s.zenodo_token) = (zenodo.url.clone(), token(zenodo::TOKEN))
}

fn of_huggingface(hf: &huggingface::Hub) -> impl Fn(&mut Settings) + Copy {
    |s| (s.huggingface, s.huggingface_token) = (hf.api.url.clone(), token(huggingface::TOKEN))
}

/// What somebody else gets, with an empty cache and no token.
fn pulled(address: &Address, change: impl FnOnce(&mut Settings)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let fetched = hub(&folder, change).fetch(address, &mut go).unwrap();
    Model::load(&fetched.path).unwrap();
    std::fs::read(&fetched.path).unwrap()
}

#[test]
fn zenodo_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (zenodo, records) = zenodo::start();
    let (path, model, bytes) = saved(folder.path());
    let sender = hub(&folder, of_zenodo(&zenodo));
    let mut sent = 0;
    let mut watch = |p: &Progress<'_>| {
        if let Progress::Sending { name, done, total } = p {
            assert_eq!((*name, *total), ("atlas.scgraft", bytes.len() as u64));
            sent = *done;
        }
        ControlFlow::Continue(())
    };
    let first = sender.push(&push("zenodo", "atlas.scgraft", &path, &model), &mut watch).unwrap();
    assert_eq!(sent, bytes.len() as u64);
    assert!(first.published && first.doi.as_deref() == Some("10.5281/zenodo.1001"), "{first:?}");
    assert_eq!(first.address.to_string(), "zenodo:1001");
    let record = records.lock().unwrap()[&1001].clone();
    let meta = &record.metadata;
    assert_eq!(meta["license"], "cc-by-4.0");
    assert_eq!(meta["creators"][0]["name"], "Curie, Marie");
    assert!(meta["description"].as_str().unwrap().contains("scgraft pull zenodo:1001/atlas.scgraft"));
    assert!(String::from_utf8_lossy(&record.files["README.md"]).contains("# A tiny atlas"));
    assert_eq!(pulled(&first.address, |s| s.zenodo = zenodo.url.clone()), bytes);

    // A new version; the number of all versions leads to it, and the old one stays.
    let mut second = push("zenodo:1001", "atlas.scgraft", &path, &model);
    second.version = Some("1.1".to_owned());
    std::fs::write(folder.path().join("notes.txt"), "more").unwrap();
    second.files.push(Outgoing::new("notes.txt", folder.path().join("notes.txt")));
    let second = sender.push(&second, &mut go).unwrap();
    assert_eq!(second.address.to_string(), "zenodo:1003");
    let listing =
        hub(&folder, |s| s.zenodo = zenodo.url.clone()).list(&"zenodo:1000".parse().unwrap(), &mut go).unwrap();
    assert_eq!((listing.pinned.as_str(), listing.version.as_deref()), ("zenodo:1003", Some("1.1")));
    let names: Vec<&str> = listing.files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["README.md", "atlas.scgraft", "notes.txt"]);
    assert_eq!(listing.licence.as_deref(), Some("cc-by-4.0"));
    // What is there already was not sent again.
    assert_eq!(zenodo.count("PUT /api/files/bucket-1003/atlas.scgraft"), 0);
    assert_eq!(pulled(&"doi:10.5281/zenodo.1000".parse().unwrap(), |s| s.zenodo = zenodo.url.clone()), bytes);

    // The next version without the notes: they go, unless they are kept.
    let third = push("zenodo:1000", "atlas.scgraft", &path, &model);
    assert_eq!(sender.push(&third, &mut go).unwrap().address.to_string(), "zenodo:1005");
    assert_eq!(records.lock().unwrap()[&1005].files.keys().collect::<Vec<_>>(), ["README.md", "atlas.scgraft"]);
    assert_eq!(records.lock().unwrap()[&1003].files.len(), 3);
}

#[test]
fn zenodo_by_many_interruptions() {
    let folder = tempfile::tempdir().unwrap();
    let (zenodo, records) = zenodo::start();
    let (path, model, bytes) = saved(folder.path());
    let mine = of_zenodo(&zenodo);
    let what = push("zenodo", "atlas.scgraft", &path, &model);
    // Stopped by the user while the file goes.
    let error = hub(&folder, mine).push(&what, &mut stop_after(20_000)).unwrap_err();
    assert!(matches!(error, HubError::Stopped { .. }), "{error}");
    // Another run: the connection breaks once while the file goes, then the metadata are refused for good.
    zenodo.fail("PUT /api/files", Fault::CutUpload(30_000));
    zenodo.fail("PUT /api/deposit", Fault::Instead(Answer::new(403, "")));
    let error = hub(&folder, mine).push(&what, &mut go).unwrap_err();
    assert!(error.to_string().contains("ZENODO_TOKEN does not allow"), "{error}");
    let sent = zenodo.count("PUT /api/files/bucket-1001/atlas.scgraft");
    // A third run: the file is not sent again; the answer to publishing is lost, but it was done.
    zenodo.fail("actions/publish", Fault::NoAnswer);
    let made = hub(&folder, mine).push(&what, &mut go).unwrap();
    assert!(made.published);
    assert_eq!(zenodo.count("PUT /api/files/bucket-1001/atlas.scgraft"), sent);
    assert_eq!(records.lock().unwrap().len(), 1);
    // Fetched with two breaks on an empty cache.
    zenodo.fail("/content", Fault::CutAfter(10_000));
    zenodo.fail("/content", Fault::CutAfter(20_000));
    assert_eq!(pulled(&made.address, |s| s.zenodo = zenodo.url.clone()), bytes);
    // A wrong checksum is noticed.
    zenodo.fail("/content", Fault::Garbled);
    let other = tempfile::tempdir().unwrap();
    let error = hub(&other, |s| s.zenodo = zenodo.url.clone()).fetch(&made.address, &mut go).unwrap_err();
    assert!(matches!(&error, HubError::Checksum { expected, .. } if expected.starts_with("md5:")), "{error}");
    // Sent again, it is another record.
    assert_eq!(hub(&folder, mine).push(&what, &mut go).unwrap().address.to_string(), "zenodo:1003");
}

#[test]
fn a_draft_stays_one_until_it_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let (zenodo, records) = zenodo::start();
    let (path, model, _) = saved(folder.path());
    let hub = hub(&folder, of_zenodo(&zenodo));
    let mut what = push("zenodo", "atlas.scgraft", &path, &model);
    what.target = Target::Zenodo { before: None, keep: false, publish: false };
    let draft = hub.push(&what, &mut go).unwrap();
    assert!(!draft.published && draft.page.ends_with("/uploads/1001"), "{draft:?}");
    assert!(!records.lock().unwrap()[&1001].submitted);
    what.target = Target::parse("zenodo").unwrap();
    assert_eq!(hub.push(&what, &mut go).unwrap().address.to_string(), "zenodo:1001");
    assert!(records.lock().unwrap()[&1001].submitted);
}

#[test]
fn hugging_face_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let hf = huggingface::start();
    let (path, model, bytes) = saved(folder.path());
    let mine = of_huggingface(&hf);
    let what = push("hf:lab/atlas", "model.safetensors", &path, &model);
    // Interrupted while the file goes, then before the commit.
    hf.store.fail("PUT /put", Fault::CutUpload(10_000));
    for _ in 0..4 {
        hf.api.fail("commit/main", Fault::Instead(Answer::new(503, "")));
    }
    let error = hub(&folder, mine).push(&what, &mut go).unwrap_err();
    assert!(matches!(error, HubError::Refused { status: 503, .. }), "{error}");
    let made = hub(&folder, mine).push(&what, &mut go).unwrap();
    assert_eq!(made.address.to_string(), "hf:lab/atlas@1.0");
    assert_eq!(hf.store.count("PUT /put"), 2, "what is in the store is not sent again");
    assert!(hf.store.log().iter().all(|s| s.header("authorization").is_none()));

    let theirs = |s: &mut Settings| s.huggingface = hf.api.url.clone();
    hf.store.fail("GET", Fault::CutAfter(5_000));
    hf.store.fail("GET", Fault::CutAfter(9_000));
    assert_eq!(pulled(&made.address, theirs), bytes);
    assert_eq!(pulled(&"hf:lab/atlas".parse().unwrap(), theirs), bytes);
    let other = tempfile::tempdir().unwrap();
    let listing = hub(&other, theirs).list(&"hf:lab/atlas".parse().unwrap(), &mut go).unwrap();
    let names: Vec<&str> = listing.files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["README.md", "model.safetensors"]);
    // The card: small, so it is in the commit and known by git's name of it.
    let card = hub(&other, theirs).fetch(&"hf:lab/atlas/README.md".parse().unwrap(), &mut go).unwrap();
    let text = std::fs::read_to_string(&card.path).unwrap();
    assert!(text.starts_with("---\nlicense: \"cc-by-4.0\"\nlibrary_name: scgraft\ntags:\n- \"scgraft\"\n"), "{text}");
    assert!(text.contains("scgraft pull hf:lab/atlas@1.0/model.safetensors"), "{text}");
    assert!(card.pinned.starts_with("hf:lab/atlas@") && card.pinned.len() > 50, "{}", card.pinned);
    // The same files again come from the cache, by whatever address.
    let before = hf.store.log().len();
    let first = hub(&other, theirs).fetch(&"hf:lab/atlas".parse().unwrap(), &mut go).unwrap();
    let again = hub(&other, theirs).fetch(&made.address, &mut go).unwrap();
    assert!(!first.from_cache && again.from_cache);
    assert_eq!(hf.store.log().len(), before + 1);
    let offline = hub(&other, |s| {
        theirs(s);
        s.offline = true;
    });
    assert!(offline.fetch(&first.pinned.parse().unwrap(), &mut go).unwrap().from_cache);
    hf.api.fail("/resolve/", Fault::Garbled);
    let other = tempfile::tempdir().unwrap();
    let error = hub(&other, theirs).fetch(&"hf:lab/atlas/README.md".parse().unwrap(), &mut go).unwrap_err();
    assert!(matches!(&error, HubError::Checksum { expected, .. } if expected.starts_with("git:")), "{error}");

    // A version is a version: the same name for other files is refused.
    let error = hub(&folder, mine).push(&what, &mut go).unwrap_err();
    assert!(error.to_string().contains("give this one a new name"), "{error}");
    let mut next = push("hf:lab/atlas", "model.safetensors", &path, &model);
    next.version = Some("1.1".to_owned());
    assert_eq!(hub(&folder, mine).push(&next, &mut go).unwrap().address.to_string(), "hf:lab/atlas@1.1");
}

#[test]
fn hugging_face_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let hf = huggingface::start();
    hf.state.lock().unwrap().part = Some(30_000);
    let (path, model, bytes) = saved(folder.path());
    let sender = hub(&folder, of_huggingface(&hf));
    hf.store.fail("PUT /part", Fault::CutUpload(100));
    let made = sender.push(&push("hf:lab/atlas", "model.safetensors", &path, &model), &mut go).unwrap();
    assert!(hf.store.count("PUT /part") > 2);
    assert!(hf.store.log().iter().all(|s| s.header("authorization").is_none()));
    assert_eq!(pulled(&made.address, |s| s.huggingface = hf.api.url.clone()), bytes);
}

#[test]
fn repositories_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let hf = huggingface::start();
    let (path, model, bytes) = saved(folder.path());
    let mine = of_huggingface(&hf);
    let theirs = |s: &mut Settings| s.huggingface = hf.api.url.clone();
    let mut what = push("hf:lab/secret", "model.safetensors", &path, &model);
    what.target = Target::HuggingFace { repository: "lab/secret".to_owned(), private: true };
    let made = hub(&folder, mine).push(&what, &mut go).unwrap();
    assert_eq!(pulled(&made.address, mine), bytes);
    let other = tempfile::tempdir().unwrap();
    let fail = |address: &str, change: &dyn Fn(&mut Settings)| {
        hub(&other, |s| change(s)).fetch(&address.parse().unwrap(), &mut go).unwrap_err().to_string()
    };
    assert!(fail("hf:lab/secret", &theirs).contains("or it is private"), "{}", fail("hf:lab/secret", &theirs));
    assert!(fail("hf:lab/none", &mine).contains("no such repository"), "{}", fail("hf:lab/none", &mine));
    assert!(fail("hf:lab/secret@v9", &mine).contains("no such branch, tag or commit"));
    assert!(fail("hf:lab/secret/x", &mine).contains("there is no `x`; there are `README.md`, `model.safetensors`"));
    // Nobody may make a repository in another's name.
    let others = push("hf:others/atlas", "model.safetensors", &path, &model);
    let error = hub(&folder, mine).push(&others, &mut go).unwrap_err().to_string();
    assert!(error.contains("403") && error.contains("namespace"), "{error}");
}

#[test]
fn what_is_to_be_shared_has_to_be_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (zenodo, records) = zenodo::start();
    let (path, model, bytes) = saved(folder.path());
    let hub = hub(&folder, |s| s.zenodo = zenodo.url.clone());
    let fail = |what: &Push| hub.push(what, &mut go).unwrap_err().to_string();
    let good = || push("zenodo", "atlas.scgraft", &path, &model);
    assert!(fail(&good()).contains("put a token into ZENODO_TOKEN"));
    let mut what = good();
    what.card.words.licence = None;
    assert!(fail(&what).contains("under which licence"));
    let mut what = good();
    what.card.words.authors.clear();
    assert!(fail(&what).contains("name the authors"));
    let mut what = good();
    what.files.push(Outgoing::new("atlas.scgraft", &path));
    assert!(fail(&what).contains("two files would have the name"));
    let mut what = good();
    what.files[0].name = "../atlas.scgraft".to_owned();
    assert!(fail(&what).contains("cannot be the name"));
    let mut what = good();
    what.files[0].name = "atlas.bin".to_owned();
    assert!(fail(&what).contains("`.scgraft`"));
    let mut what = good();
    what.version = Some("1.0 final".to_owned());
    assert!(fail(&what).contains("cannot name a version"));
    // A model that was damaged on the disk.
    let mut damaged = bytes;
    let middle = damaged.len() - 100;
    damaged[middle] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    assert!(fail(&good()).contains("checksum"), "{}", fail(&good()));
    assert!(records.lock().unwrap().is_empty());
    assert!(zenodo.log().is_empty(), "nothing is asked before all is there");
    for wrong in ["zenodo:x", "hf:lab", "https://x.org/a", "atlas", "hf:lab/a@v1", "zenodo:1/file"] {
        assert!(Target::parse(wrong).is_err(), "{wrong}");
    }
}

/// A query's lab shares what the reference learned of its cells; a third one attaches it to the same reference and has the lab's
/// model, to the bit, and no other reference takes it.
#[test]
fn an_adaptor_is_shared_on() {
    let folder = tempfile::tempdir().unwrap();
    let hf = huggingface::start();
    let (path, model, _) = saved(folder.path());
    let mine = of_huggingface(&hf);
    let sender = hub(&folder, mine);
    let reference = sender.push(&push("hf:lab/atlas", "model.safetensors", &path, &model), &mut go).unwrap();
    let lab = model.surgery(&Surgery::adaptor("patients"), &Newcomers::of(["patients"]), 3).unwrap();
    let adaptor = lab.adaptors(&model.reference_hash()).unwrap().remove(0);
    let file = folder.path().join("patients.adaptor");
    std::fs::write(&file, adaptor.to_bytes().unwrap()).unwrap();
    let words = CardWords { reference: Some(reference.address.to_string()), ..words() };
    let what = Push {
        target: Target::parse("hf:lab/patients").unwrap(),
        files: vec![Outgoing::new("patients.adaptor", &file)],
        card: Card::of_adaptor("patients.adaptor", &adaptor, words),
        version: None,
    };
    let sent = sender.push(&what, &mut go).unwrap();
    let card = hf.state.lock().unwrap().repositories["lab/patients"].commits.last().unwrap().1["README.md"].0.clone();
    let card = String::from_utf8(card).unwrap();
    assert!(card.contains("hf:lab/atlas") && card.contains(&model.reference_hash()), "{card}");

    let elsewhere = tempfile::tempdir().unwrap();
    let reader = hub(&elsewhere, |s| s.huggingface = hf.api.url.clone());
    let fetch = |address: &Address| reader.fetch(address, &mut go).unwrap().path;
    let (base, theirs) =
        (Model::load(fetch(&reference.address)).unwrap(), Adaptor::load(fetch(&sent.address)).unwrap());
    let both = base.attach(std::slice::from_ref(&theirs)).unwrap();
    assert_eq!(both.header.conditions, lab.header.conditions);
    for p in lab.params.iter() {
        assert!(p.values() == both.params.get(both.params.id(&p.name).unwrap()).values(), "{}", p.name);
    }
    let other = Model::new("scvi", &serde_json::json!({}), base.header.clone(), 8).unwrap();
    let error = other.attach(&[theirs]).unwrap_err().to_string();
    assert!(error.contains("another reference") || error.contains("reference"), "{error}");
}
