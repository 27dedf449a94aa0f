//! Files from a server: what comes, what is kept, and what is said when it goes wrong.
#![cfg(feature = "net")]
#![allow(missing_docs)]

mod server;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use scgraft_hub::{Address, Fetched, Hub, HubError, ImportOptions, Progress, import_files};
use server::{Answer, Fault, Server, go, huggingface, noise, settings, sha256, stop_after, token, zenodo};

fn hub(folder: &tempfile::TempDir) -> Hub {
    Hub::new(settings(folder.path())).unwrap()
}

fn at(server: &Server, path: &str) -> Address {
    format!("{}{path}", server.url).parse().unwrap()
}

fn bytes(fetched: &Fetched) -> Vec<u8> {
    std::fs::read(&fetched.path).unwrap()
}

/// A server of one file with an ETag.
fn one(content: Vec<u8>) -> Server {
    let etag = format!("\"{}\"", &sha256(&content)[..16]);
    Server::start(move |seen| match seen.path.as_str() {
        "/a/model.scgraft" => Answer::file(&content).with("etag", &etag),
        "/moved" => Answer::to(302, "/a/model.scgraft"),
        "/circle" => Answer::to(302, "/circle"),
        "/nowhere" => Answer::new(302, ""),
        "/down" => Answer::to(302, "ftp://127.0.0.1/x"),
        _ => Answer::new(404, "<html>not here</html>"),
    })
}

#[test]
fn a_file_comes_once_and_is_asked_for_again() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(300_000, 1));
    let server = one(content.clone());
    let (hub, address) = (hub(&folder), at(&server, "/a/model.scgraft"));
    let (mut last, mut calls) = (0, 0);
    let mut watch = |p: &Progress<'_>| {
        if let Progress::Receiving { name, done, total } = p {
            assert_eq!((*name, *total), ("model.scgraft", Some(300_000)));
            (last, calls) = (*done, calls + 1);
        }
        ControlFlow::Continue(())
    };
    let first = hub.fetch(&address, &mut watch).unwrap();
    assert_eq!(bytes(&first), content);
    assert_eq!((first.name.as_str(), first.bytes, first.from_cache), ("model.scgraft", 300_000, false));
    assert_eq!(first.sha256, sha256(&content));
    assert_eq!(last, 300_000);
    assert!(calls > 2);
    // Asked whether it changed, not fetched.
    let second = hub.fetch(&address, &mut go).unwrap();
    assert!(second.from_cache && second.path == first.path);
    assert!(server.log()[1].header("if-none-match").is_some());
    // Its pinned address needs no question.
    let pinned: Address = first.pinned.parse().unwrap();
    assert!(hub.fetch(&pinned, &mut go).unwrap().from_cache);
    assert_eq!(server.log().len(), 2);
    // By way of a redirect.
    assert_eq!(bytes(&hub.fetch(&at(&server, "/moved"), &mut go).unwrap()), content);
}

#[test]
fn offline_only_the_cache_is_used() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(1000, 2));
    let server = one(content.clone());
    let address = at(&server, "/a/model.scgraft");
    let offline = server::hub(&folder, |s| s.offline = true);
    let error = offline.fetch(&address, &mut go).unwrap_err();
    assert!(
        matches!(error, HubError::Offline { .. }) && error.to_string().contains("run once with the network"),
        "{error}"
    );
    hub(&folder).fetch(&address, &mut go).unwrap();
    let asked = server.log().len();
    let fetched = offline.fetch(&address, &mut go).unwrap();
    assert_eq!(bytes(&fetched), content);
    assert_eq!(server.log().len(), asked);
    assert!(matches!(offline.list(&address, &mut go), Err(HubError::Offline { .. })));
    // What was damaged on the disk is not handed out.
    std::fs::write(&fetched.path, b"other").unwrap();
    assert!(matches!(offline.fetch(&address, &mut go), Err(HubError::Offline { .. })));
    assert_eq!(bytes(&hub(&folder).fetch(&address, &mut go).unwrap()), content);
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(700_000, 3));
    let server = one(content.clone());
    server.fail("GET", Fault::CutAfter(200_000));
    server.fail("GET", Fault::CutAfter(300_000));
    let fetched = hub(&folder).fetch(&at(&server, "/a/model.scgraft"), &mut go).unwrap();
    assert_eq!(bytes(&fetched), content);
    let log = server.log();
    assert_eq!(log.len(), 3);
    assert_eq!(log[1].header("range"), Some("bytes=200000-"));
    assert_eq!(log[2].header("range"), Some("bytes=500000-"));
    assert!(log[2].header("if-range").is_some());
}

#[test]
fn what_a_user_stopped_goes_on_in_the_next_run() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(2_000_000, 4));
    let server = one(content.clone());
    let address = at(&server, "/a/model.scgraft");
    for share in [600_000, 1_300_000] {
        let error = hub(&folder).fetch(&address, &mut stop_after(share)).unwrap_err();
        assert!(matches!(error, HubError::Stopped { .. }), "{error}");
    }
    let fetched = hub(&folder).fetch(&address, &mut go).unwrap();
    assert_eq!(bytes(&fetched), content);
    let from: Vec<u64> = server
        .log()
        .iter()
        .map(|s| s.header("range").map_or(0, |r| r[6..].trim_end_matches('-').parse().unwrap()))
        .collect();
    assert!(from.len() == 3 && from[1] > 600_000 && from[2] > 1_300_000, "{from:?}");
}

#[test]
fn a_file_that_changed_meanwhile_comes_from_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (noise(500_000, 5), noise(400_000, 6));
    let server = one(old);
    let address = at(&server, "/a/model.scgraft");
    hub(&folder).fetch(&address, &mut stop_after(100_000)).unwrap_err();
    // The same port cannot be had again for sure, so the same server answers with another file.
    for _ in 0..2 {
        server.fail("GET", Fault::Instead(Answer::new(200, new.clone()).with("etag", "\"new\"")));
    }
    let fetched = hub(&folder).fetch(&address, &mut go).unwrap();
    assert_eq!(bytes(&fetched), new);
}

#[test]
fn servers_without_ranges_are_asked_for_all_of_it() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(400_000, 7));
    let own = content.clone();
    let server = Server::start(move |_| Answer::new(200, own.clone()));
    server.fail("GET", Fault::CutAfter(100_000));
    let fetched = hub(&folder).fetch(&at(&server, "/m.scgraft"), &mut go).unwrap();
    assert_eq!(bytes(&fetched), content);
}

#[test]
fn what_comes_must_have_the_hash_of_its_address() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(50_000, 8));
    let server = one(content.clone());
    let right = at(&server, &format!("/a/model.scgraft#sha256={}", sha256(&content)));
    server.fail("GET", Fault::Garbled);
    let error = hub(&folder).fetch(&right, &mut go).unwrap_err();
    assert!(matches!(error, HubError::Checksum { .. }), "{error}");
    assert!(error.to_string().contains("run the same command again"), "{error}");
    // Nothing of it is left over.
    assert_eq!(bytes(&hub(&folder).fetch(&right, &mut go).unwrap()), content);
    assert!(server.log().iter().all(|s| s.header("range").is_none()));
    let wrong = at(&server, &format!("/a/model.scgraft#sha256={}", "0".repeat(64)));
    assert!(matches!(hub(&folder).fetch(&wrong, &mut go), Err(HubError::Checksum { .. })));
}

#[test]
fn a_wrong_beginning_is_thrown_away_once() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(500_000, 9));
    let server = one(content.clone());
    let address = at(&server, &format!("/a/model.scgraft#sha256={}", sha256(&content)));
    server.fail("GET", Fault::Garbled);
    hub(&folder).fetch(&address, &mut stop_after(300_000)).unwrap_err();
    assert_eq!(bytes(&hub(&folder).fetch(&address, &mut go).unwrap()), content);
}

#[test]
fn busy_services_are_waited_for() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(5000, 10));
    let server = one(content.clone());
    server.fail("GET", Fault::Instead(Answer::new(429, "slow down").with("retry-after", "1")));
    server.fail("GET", Fault::Instead(Answer::new(503, "")));
    server.fail("GET", Fault::NoAnswer);
    let (start, mut waits) = (Instant::now(), Vec::new());
    let mut watch = |p: &Progress<'_>| {
        if let Progress::Waiting { why, .. } = p {
            waits.push((*why).to_owned());
        }
        ControlFlow::Continue(())
    };
    let fetched = hub(&folder).fetch(&at(&server, "/a/model.scgraft"), &mut watch).unwrap();
    assert_eq!(bytes(&fetched), content);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert!(waits[0].contains("429"), "{waits:?}");
    // A wait can be broken off.
    server.fail("GET", Fault::Instead(Answer::new(429, "").with("retry-after", "15")));
    let start = Instant::now();
    let mut stop = |p: &Progress<'_>| match p {
        Progress::Waiting { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let error = hub(&folder).fetch(&at(&server, "/moved"), &mut stop).unwrap_err();
    assert!(matches!(error, HubError::Stopped { .. }) && start.elapsed() < Duration::from_secs(10), "{error}");
}

#[test]
fn a_service_that_asks_for_too_much_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let server = one(noise(10, 11));
    server.fail("GET", Fault::Instead(Answer::new(429, "").with("retry-after", "3600")));
    let error = hub(&folder).fetch(&at(&server, "/a/model.scgraft"), &mut go).unwrap_err();
    assert!(matches!(error, HubError::Refused { status: 429, .. }), "{error:?}");
    assert!(error.to_string().contains("come back in 60 minutes"), "{error}");
}

#[test]
fn every_failure_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = one(noise(10, 12));
    let fail = |path: &str| hub(&folder).fetch(&at(&server, path), &mut go).unwrap_err().to_string();
    assert!(
        fail("/gone.scgraft").contains("404 Not Found; there is nothing of that name"),
        "{}",
        fail("/gone.scgraft")
    );
    assert!(fail("/circle").contains("redirects in a circle"));
    assert!(fail("/nowhere").contains("redirects to no address"));
    assert!(fail("/down").contains("nothing was fetched from there"));
    for (status, says) in
        [(401, "wants a login"), (403, "wants a login"), (410, "withdrawn"), (451, "check the address")]
    {
        server.fail("GET", Fault::Instead(Answer::new(status, "")));
        let error = fail("/a/model.scgraft");
        assert!(error.contains(says) && error.contains(&status.to_string()), "{error}");
    }
    for _ in 0..4 {
        server.fail("GET", Fault::Instead(Answer::new(500, "")));
    }
    let error = fail("/a/model.scgraft");
    assert!(error.contains("500 Internal Server Error; tried 4 times"), "{error}");
    // Nobody listens.
    let error = hub(&folder).fetch(&"http://127.0.0.1:9/a".parse().unwrap(), &mut go).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }) && error.to_string().contains("HTTPS_PROXY"), "{error}");
}

#[test]
fn a_silent_connection_is_left() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(100_000, 13));
    let server = one(content.clone());
    server.fail("GET", Fault::Silent(60_000, Duration::from_secs(8)));
    let hub = server::hub(&folder, |s| s.patience.silence = Duration::from_millis(1500));
    let start = Instant::now();
    let fetched = hub.fetch(&at(&server, "/a/model.scgraft"), &mut go).unwrap();
    assert_eq!(bytes(&fetched), content);
    assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    assert_eq!(server.log()[1].header("range"), Some("bytes=60000-"));
}

#[test]
fn silence_is_told_and_can_be_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = one(noise(100_000, 13));
    // Before the first word of an answer, and in the middle of a file.
    for (bytes, least) in [(0, 0), (60_000, 60_000)] {
        server.fail("GET", Fault::Silent(bytes, Duration::from_secs(8)));
        let (start, mut longest, mut here) = (Instant::now(), Duration::ZERO, 0);
        let mut watch = |p: &Progress<'_>| match p {
            Progress::Silent { since, .. } => {
                longest = longest.max(*since);
                if *since > Duration::from_millis(600) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            Progress::Receiving { done, .. } => {
                here = *done;
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        };
        let error = hub(&folder).fetch(&at(&server, "/a/model.scgraft"), &mut watch).unwrap_err();
        assert!(matches!(error, HubError::Stopped { .. }), "{error}");
        assert!(longest > Duration::from_millis(600) && here >= least, "{longest:?} {here}");
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    }
}

#[test]
fn a_slow_server_is_let_be_slow() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(40_000, 14));
    let server = one(content.clone());
    server.fail("GET", Fault::Slow(2000, Duration::from_millis(100)));
    let hub = server::hub(&folder, |s| s.patience.silence = Duration::from_millis(1500));
    // Twenty pauses are more than a silence may be, and no silence.
    assert_eq!(bytes(&hub.fetch(&at(&server, "/a/model.scgraft"), &mut go).unwrap()), content);
    assert_eq!(server.log().len(), 1);
}

#[test]
fn a_token_stays_with_its_service() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = Server::start(|_| Answer::file(b"content"));
    let to = elsewhere.url.clone();
    let zenodo = Server::start(move |seen| match seen.path.as_str() {
        "/api/records/1" => Answer::json(
            200,
            &serde_json::json!({ "id": 1, "metadata": {}, "files": [{ "key": "m.scgraft", "size": 7 }] }),
        ),
        _ => Answer::to(302, &format!("{to}/m.scgraft")),
    });
    let hub = server::hub(&folder, |s| {
        s.zenodo = zenodo.url.clone();
        s.zenodo_token = token("zt_secret");
    });
    let fetched = hub.fetch(&"zenodo:1".parse().unwrap(), &mut go).unwrap();
    assert_eq!(bytes(&fetched), b"content");
    assert!(zenodo.log().iter().all(|s| s.header("authorization") == Some("Bearer zt_secret")));
    assert_eq!(elsewhere.log().len(), 1);
    assert!(elsewhere.log().iter().all(|s| s.headers.iter().all(|h| !h.1.contains("secret"))));
    // A plain address gets none, even of the same host.
    hub.fetch(&at(&zenodo, "/x"), &mut go).unwrap();
    assert_eq!(zenodo.log().last().unwrap().header("authorization"), None);
    // Nothing of it is on the disk.
    for entry in walk(folder.path()) {
        assert!(!String::from_utf8_lossy(&std::fs::read(&entry).unwrap()).contains("secret"), "{}", entry.display());
    }
    // A service that repeats it does not get it shown.
    zenodo.fail("records", Fault::Instead(Answer::json(403, &serde_json::json!({ "message": "bad token zt_secret" }))));
    let error = hub.fetch(&"zenodo:1".parse().unwrap(), &mut go).unwrap_err().to_string();
    assert!(error.contains("bad token") && !error.contains("zt_secret"), "{error}");
    assert!(!format!("{hub:?}").contains("secret"));
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { out.extend(walk(&path)) } else { out.push(path) }
    }
    out
}

#[test]
fn two_at_a_time_do_not_spoil_each_other() {
    let (folder, content) = (tempfile::tempdir().unwrap(), noise(600_000, 15));
    let server = one(content.clone());
    let address = at(&server, "/a/model.scgraft");
    std::thread::scope(|scope| {
        let fetch = || bytes(&hub(&folder).fetch(&address, &mut go).unwrap());
        let all: Vec<_> = (0..4).map(|_| scope.spawn(fetch)).collect();
        all.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), content));
    });
}

#[test]
fn a_model_of_another_package_comes_with_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| match seen.path.as_str() {
        "/x/my_model_params.pt?v=1" => Answer::file(b"tensors"),
        "/x/my_attr.pkl?v=1" => Answer::file(b"settings"),
        "/x/my_var_names.csv?v=1" => Answer::file(b"genes"),
        _ => Answer::new(404, ""),
    });
    let files = hub(&folder).fetch_published(&at(&server, "/x/my_model_params.pt?v=1"), &mut go).unwrap();
    assert_eq!(files.model, b"tensors");
    assert_eq!((files.attributes.unwrap(), files.genes.unwrap()), (b"settings".to_vec(), b"genes".to_vec()));
}

#[test]
fn a_minified_model_comes_with_its_cells_and_others_without() {
    let folder = tempfile::tempdir().unwrap();
    let golden = |name: &str| std::fs::read(format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (minified, cells) = (golden("scvi_minified/model.pt"), golden("scvi_minified/adata.h5ad"));
    let whole = golden("scvi_default/model.pt");
    let server = Server::start(move |seen| match seen.path.as_str() {
        "/x/my_model.pt" | "/alone/model.pt" => Answer::file(&minified),
        "/x/my_adata.h5ad" => Answer::file(&cells),
        "/whole/model.pt" => Answer::file(&whole),
        // Nobody may ask for cells with counts.
        "/whole/adata.h5ad" => Answer::new(500, ""),
        _ => Answer::new(404, ""),
    });
    let fetch = |path: &str| hub(&folder).fetch_published(&at(&server, path), &mut go).unwrap();
    let files = fetch("/x/my_model.pt");
    assert_eq!(std::fs::read(files.cells.as_ref().unwrap()).unwrap(), golden("scvi_minified/adata.h5ad"));
    let imported = import_files(&files, &ImportOptions::default()).unwrap();
    assert_eq!(imported.model.cells.unwrap().n_cells(), 24);
    let alone = fetch("/alone/model.pt");
    assert!(alone.cells.is_none());
    let imported = import_files(&alone, &ImportOptions::default()).unwrap();
    assert!(imported.model.cells.is_none() && imported.notes.iter().any(|n| n.0.contains("adata.h5ad")));
    assert!(fetch("/whole/model.pt").cells.is_none());
}

/// From Zenodo and from Hugging Face, there out of a folder and by way of the store's host: both files come, each held against
/// the service's checksum, once; cells of a whole model are not asked for.
#[test]
fn minified_models_of_the_services_come_with_their_cells() {
    let golden = |name: &str| std::fs::read(format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (minified, cells) = (golden("scvi_minified/model.pt"), golden("scvi_minified/adata.h5ad"));
    let whole = golden("scvi_default/model.pt");
    let (zenodo, records) = zenodo::start();
    let record = |model: &[u8]| zenodo::Record {
        submitted: true,
        metadata: serde_json::json!({ "title": "t" }),
        files: [("model.pt".to_owned(), model.to_vec()), ("adata.h5ad".to_owned(), cells.clone())].into(),
        ..zenodo::Record::default()
    };
    records.lock().unwrap().extend([(7, record(&minified)), (8, record(&whole))]);
    let huggingface = huggingface::start();
    let files = [
        ("scvi/model.pt", &minified, true),
        ("scvi/adata.h5ad", &cells, true),
        ("whole/model.pt", &whole, false),
        ("whole/adata.h5ad", &cells, true),
    ];
    let repository = huggingface::Repository {
        commits: vec![(
            "c0".repeat(20),
            files.iter().map(|(n, b, large)| ((*n).to_owned(), ((*b).clone(), *large))).collect(),
        )],
        ..huggingface::Repository::default()
    };
    {
        let mut state = huggingface.state.lock().unwrap();
        state.repositories.insert("lab/atlas".to_owned(), repository);
        state.store.extend(files.iter().map(|(_, b, _)| (sha256(b), (*b).clone())));
    }
    for (whole, address) in
        [(false, "zenodo:7"), (false, "hf:lab/atlas/scvi"), (true, "zenodo:8"), (true, "hf:lab/atlas/whole")]
    {
        let folder = tempfile::tempdir().unwrap();
        let hub = |offline| {
            server::hub(&folder, |s| {
                s.zenodo = zenodo.url.clone();
                s.huggingface = huggingface.api.url.clone();
                s.offline = offline;
            })
        };
        let asked = || zenodo.log().len() + huggingface.api.log().len() + huggingface.store.log().len();
        let of_cells = || [&zenodo, &huggingface.api].iter().map(|s| s.count("adata.h5ad")).sum::<usize>();
        [&zenodo, &huggingface.api, &huggingface.store].iter().for_each(|s| s.clear());
        let address: scgraft_hub::Address = address.parse().unwrap();
        if !whole {
            // What comes is not what the service says it is.
            let server = if address.to_string().starts_with("zenodo") { &zenodo } else { &huggingface.store };
            let part = if server.url == zenodo.url { "files/adata.h5ad".to_owned() } else { sha256(&cells) };
            server.fail(&part, Fault::Garbled);
            let error = hub(false).fetch_published(&address, &mut go).unwrap_err();
            assert!(matches!(error, HubError::Checksum { .. }) && error.to_string().contains("adata.h5ad"), "{error}");
        }
        let files = hub(false).fetch_published(&address, &mut go).unwrap();
        let imported = import_files(&files, &ImportOptions::default()).unwrap();
        if whole {
            assert!(files.cells.is_none() && of_cells() == 0 && imported.model.cells.is_none());
            continue;
        }
        assert_eq!(std::fs::read(files.cells.unwrap()).unwrap(), cells);
        assert_eq!(imported.model.cells.unwrap().n_cells(), 24);
        assert!(imported.notes.is_empty(), "{:?}", imported.notes);
        // Neither is fetched again, and offline both are there.
        let before = of_cells();
        hub(false).fetch_published(&address, &mut go).unwrap();
        assert_eq!(of_cells(), before);
        let (before, model) =
            (asked(), address.with_file(if address.file().is_some() { "scvi/model.pt" } else { "model.pt" }));
        assert!(hub(true).fetch_published(&model, &mut go).unwrap().cells.is_some());
        assert_eq!(asked(), before);
    }
}
