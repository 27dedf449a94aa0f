//! Files that were changed, or made to harm: refused before anything is built of them.
#![allow(missing_docs)]

use scgraft_models::{Adaptor, Header, Known, Membership, Model, Newcomers, Program, Segment, Surgery};
use serde_json::{Value, json};

fn model() -> Model {
    let names = |what: &str, n: usize| (0..n).map(|i| format!("{what}{i}")).collect::<Vec<_>>();
    let program = |j: u32| Program { name: format!("program{j}"), members: vec![j, j + 1, j + 4] };
    let programs = (0..4).map(program).collect();
    let header = Header {
        known: Known { genes: names("gene", 12), conditions: names("study", 2), ..Known::default() },
        segments: vec![Segment { origin: None, membership: Membership::Hard, programs }],
        ..Header::default()
    };
    Model::new("expimap", &json!({ "hidden": [6] }), header, 1).unwrap()
}

fn adaptor() -> Adaptor {
    let reference = model();
    let grafted = reference.surgery(&Surgery::adaptor("new"), &Newcomers::of(["site"]), 2).unwrap();
    grafted.adaptors(&reference.reference_hash()).unwrap().remove(0)
}

/// The text of the entry in a file's head, and where it stands.
fn head(bytes: &[u8]) -> (Value, usize) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), 8 + length)
}

/// The file with another entry; `hashed` keeps the hash that it had.
fn edited(bytes: &[u8], hashed: bool, edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let (mut head, data) = head(bytes);
    let text = head["__metadata__"]["scgraft"].as_str().unwrap();
    let (said, hash) = text.rsplit_once(",\"sha256\"").unwrap();
    let mut entry: Value = serde_json::from_str(&format!("{said}}}")).unwrap();
    edit(&mut entry);
    let mut said = serde_json::to_string(&entry).unwrap();
    if hashed {
        said.pop();
        said.push_str(&format!(",\"sha256\"{hash}"));
    }
    head["__metadata__"]["scgraft"] = said.into();
    let head = serde_json::to_vec(&head).unwrap();
    [&(head.len() as u64).to_le_bytes()[..], &head, &bytes[data..]].concat()
}

/// A change of a file's entry.
type Attack = Box<dyn Fn(&mut Value)>;

#[test]
fn every_change_of_meaning_shows() {
    let bytes = model().to_bytes().unwrap();
    let swap = |list: &mut Value| list.as_array_mut().unwrap().swap(0, 1);
    let changes: [&dyn Fn(&mut Value); 6] = [
        &|e| swap(&mut e["header"]["segments"][0]["programs"]),
        &|e| e["header"]["segments"][0]["programs"][0]["name"] = "another".into(),
        &|e| swap(&mut e["header"]["conditions"]),
        &|e| e["config"]["kl_weight"] = 0.25.into(),
        &|e| e["provenance"]["condition_columns"] = json!(["batch"]),
        &|e| e["header"]["segments"][0]["membership"] = "soft".into(),
    ];
    for (i, change) in changes.iter().enumerate() {
        let error = Model::from_bytes(&edited(&bytes, true, change)).unwrap_err().to_string();
        assert!(error.contains("checksum"), "{i}: {error}");
    }
    let (_, data) = head(&bytes);
    for at in (data..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Model::from_bytes(&damaged).is_err(), "byte {at}");
    }

    let bytes = adaptor().to_bytes().unwrap();
    assert_eq!(Adaptor::from_bytes(&bytes).unwrap(), adaptor());
    let (_, data) = head(&bytes);
    for at in (data..bytes.len()).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Adaptor::from_bytes(&damaged).is_err(), "byte {at}");
    }
    let renamed = edited(&bytes, true, |e| e["origin"]["conditions"][0] = "elsewhere".into());
    assert!(Adaptor::from_bytes(&renamed).unwrap_err().to_string().contains("checksum"));
}

#[test]
fn files_from_before_the_checksum_open() {
    let old = edited(&model().to_bytes().unwrap(), false, |_| ());
    let opened = Model::from_bytes(&old).unwrap();
    assert_eq!(opened.header, model().header);
    let old = Adaptor::from_bytes(&edited(&adaptor().to_bytes().unwrap(), false, |_| ())).unwrap();
    assert!(opened.attach(&[old]).is_ok());
}

/// Files without a checksum can say anything: it has to be refused in words, not met with a panic or with all memory.
#[test]
fn what_does_not_fit_together_is_not_built() {
    let bytes = model().to_bytes().unwrap();
    let graft = json!({ "name": "g", "conditions": [], "n_programs": 0 });
    let segment = |origin: &str| json!({ "origin": origin, "membership": "free", "programs": [] });
    let with = |g: Value, key: &str, value: Value| {
        let mut g = g;
        g[key] = value;
        g
    };
    let attacks: Vec<(&str, Attack)> = vec![
        ("member", Box::new(|e| e["header"]["segments"][0]["programs"][0]["members"] = json!([1, 4_000_000_000u32]))),
        ("increasing", Box::new(|e| e["header"]["segments"][0]["programs"][0]["members"] = json!([2, 1]))),
        (
            "two of the segment",
            Box::new(|e| {
                let first = e["header"]["segments"][0].clone();
                let mut second = first.clone();
                second["programs"]
                    .as_array_mut()
                    .unwrap()
                    .iter_mut()
                    .for_each(|p| p["name"] = format!("{}x", p["name"]).into());
                e["header"]["segments"] = json!([first, second]);
            }),
        ),
        ("two of the gene", Box::new(|e| e["header"]["genes"][1] = e["header"]["genes"][0].clone())),
        ("two of the program", Box::new(|e| e["header"]["segments"][0]["programs"][1]["name"] = "program0".into())),
        ("without a name", Box::new(|e| e["header"]["conditions"][0] = "".into())),
        (
            "programs",
            Box::new({
                let graft = with(graft.clone(), "n_programs", json!(1u64 << 60));
                move |e| e["header"]["grafts"] = json!([graft])
            }),
        ),
        (
            "conditions of graft",
            Box::new({
                let graft = with(graft.clone(), "conditions", json!(["a", "b", "c"]));
                move |e| e["header"]["grafts"] = json!([graft])
            }),
        ),
        (
            "none is left for the reference",
            Box::new({
                let graft = with(graft.clone(), "conditions", json!(["study0", "study1"]));
                move |e| e["header"]["grafts"] = json!([graft])
            }),
        ),
        (
            "no graft of that name",
            Box::new({
                let segment = segment("stray");
                move |e| e["header"]["segments"].as_array_mut().unwrap().push(segment.clone())
            }),
        ),
        ("call for about", Box::new(|e| e["config"]["hidden"] = json!([1u64 << 40]))),
        ("call for about", Box::new(|e| e["config"]["hidden"] = json!([u64::MAX / 2]))),
        ("call for about", Box::new(|e| e["config"]["hidden"] = json!([100_000, 100_000]))),
        ("shape", Box::new(|e| e["config"]["hidden"] = json!([7]))),
        ("none of a", Box::new(|e| e["config"]["likelihood"] = "mse".into())),
    ];
    for (word, attack) in &attacks {
        let error = Model::from_bytes(&edited(&bytes, false, attack)).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }

    let bytes = adaptor().to_bytes().unwrap();
    let attacks: Vec<(&str, Attack)> = vec![
        ("programs", Box::new(|e| e["origin"]["n_programs"] = json!(1u64 << 62))),
        (
            "programs of",
            Box::new({
                let segment = segment("other");
                move |e| e["segments"] = json!([segment])
            }),
        ),
        ("two of the condition", Box::new(|e| e["origin"]["conditions"] = json!(["site", "site"]))),
    ];
    for (word, attack) in &attacks {
        let error = Adaptor::from_bytes(&edited(&bytes, false, attack)).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
    let far = edited(&bytes, false, |e| {
        e["origin"]["n_programs"] = 1.into();
        let program = json!({ "name": "p", "members": [4_000_000_000u32] });
        e["segments"] = json!([{ "origin": "new", "membership": "hard", "programs": [program] }]);
    });
    let far = Adaptor::from_bytes(&far).unwrap();
    assert!(model().attach(&[far]).unwrap_err().to_string().contains("member"));
}

#[test]
fn what_is_no_number_is_refused() {
    let mut model = model();
    model.params.iter_mut().next().unwrap().write()[0] = f32::NAN;
    let error = Model::from_bytes(&model.to_bytes().unwrap()).unwrap_err().to_string();
    assert!(error.contains("NaN"), "{error}");
}

/// Files written before dropout was a flag of the pass: their graft says dropout 0, its reference 0.05.
#[test]
fn grafts_from_before_dropout_was_of_the_pass_mean_the_same() {
    let old = |name: &str| format!("{}/tests/golden/old/{name}", env!("CARGO_MANIFEST_DIR"));
    let [reference, graft] = ["reference.scgraft", "graft.scgraft"].map(|name| Model::load(old(name)).unwrap());
    let adaptor = Adaptor::load(old("graft.adaptor")).unwrap();
    let rate = |model: &Model| model.network.config()["dropout"].as_f64().unwrap();
    assert!(rate(&graft) == 0.0 && rate(&reference) > 0.0);
    assert_eq!(reference.reference_hash(), graft.reference_hash());
    let attached = reference.attach(&[adaptor]).unwrap();
    let again = graft.duplicate().unwrap();
    for p in graft.params.iter() {
        for other in [&attached, &again] {
            assert_eq!(other.params.values(other.params.id(&p.name).unwrap()), p.values(), "{}", p.name);
        }
    }
    // A graft of today keeps the rate of its reference, and drops nothing.
    let today = reference.surgery(&Surgery::adaptor("today"), &Newcomers::of(["elsewhere"]), 1).unwrap();
    assert_eq!(rate(&today), rate(&reference));
    assert_eq!(Model::from_bytes(&today.to_bytes().unwrap()).unwrap().reference_hash(), reference.reference_hash());
}
