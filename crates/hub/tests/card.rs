//! What a card says of a model and of an adaptor.
#![allow(missing_docs)]

use scgraft_cells::Known;
use scgraft_hub::{Address, Card, CardWords, Contents};
use scgraft_models::{Header, Membership, Model, Program, Segment};
use serde_json::json;

fn model() -> Model {
    let names = |stem: &str, n: usize| (0..n).map(|i| format!("{stem}{i}")).collect();
    let program = |name: &str, members: &[u32]| Program { name: name.to_owned(), members: members.to_vec() };
    let programs = vec![program("INTERFERON_SIGNALING", &[0, 1, 2]), program("B_CELL <RECEPTOR>", &[3, 4])];
    let segment = Segment { origin: None, membership: Membership::Hard, programs };
    let header = Header {
        known: Known {
            genes: names("G", 30),
            conditions: vec!["Oetjen 2018".into(), "Freytag".into()],
            ..Known::default()
        },
        segments: vec![segment],
        ..Header::default()
    };
    let mut model = Model::new("expimap", &json!({}), header, 1).unwrap();
    model.provenance.insert("condition_columns".into(), json!(["study"]));
    model.provenance.insert("cells".into(), 32_484.into());
    model
}

fn words() -> CardWords {
    CardWords {
        licence: Some("CC-BY-4.0".into()),
        data: Some("Four studies of bone marrow & blood; see https://x.org/a_b".into()),
        organism: Some("Homo sapiens".into()),
        tissues: vec!["Blood".into()],
        metrics: vec![("label accuracy".into(), "0.71".into())],
        cite: Some("Us, 2026.".into()),
        ..CardWords::default()
    }
}

#[test]
fn a_card_of_a_model() {
    let address: Address = "hf:lab/atlas".parse().unwrap();
    let card = Card::of_model("model.safetensors", &model(), words());
    let text = card.markdown(&address);
    for part in [
        "license: \"cc-by-4.0\"\nlibrary_name: scgraft\n",
        "- \"model_cls_name:expimap\"\n",
        "- \"tissue:blood\"\n",
        "# Reference of single-cell data (expimap)",
        "Conditions (column `study`): Oetjen 2018, Freytag",
        "Latent dimensions: 2 gene programs (INTERFERON_SIGNALING, B_CELL &lt;RECEPTOR>)",
        "Genes: 30 (G0, G1, G2, G3, G4, …)",
        "Trained on 32484 cells",
        "https://x.org/a_b",
        "- label accuracy: 0.71",
        "no cell's counts are in it",
        "scgraft pull hf:lab/atlas/model.safetensors -o model.safetensors\nscgraft map model.safetensors query.h5ad",
        "CC-BY-4.0",
        "- Us, 2026.",
        "doi:10.1038/s41556-022-01072-x",
    ] {
        assert!(text.contains(part), "{part}\n\n{text}");
    }
    let html = card.html(&address);
    assert!(html.contains("B_CELL &lt;RECEPTOR&gt;") && html.contains("marrow &amp; blood"), "{html}");
    assert!(html.contains("(column <code>study</code>)"), "{html}");
    assert_eq!(html.matches("<code>").count(), html.matches("</code>").count());
}

#[test]
fn what_authors_say_stays_text() {
    let hostile = CardWords {
        title: Some("x\n---\nlicense: mit <script>".into()),
        licence: Some("a\"b\nc: d".into()),
        organism: Some("<img src=x>".into()),
        ..CardWords::default()
    };
    let card = Card::of_model("a'b.scgraft", &model(), hostile);
    let address: Address = "hf:lab/atlas".parse().unwrap();
    let text = card.markdown(&address);
    let yaml = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap().0;
    assert!(
        yaml.lines().all(|l| l.starts_with("license: \"")
            || l.starts_with("- \"")
            || l.ends_with(':')
            || l.starts_with("library_name")),
        "{yaml}"
    );
    assert!(text.contains("'hf:lab/atlas/a'\\''b.scgraft'"), "{text}");
    let html = card.html(&address);
    assert!(!html.contains("<img") && !html.contains("<script"), "{html}");
}

#[test]
fn what_a_file_holds_is_told_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let read = |bytes: &[u8]| {
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        Contents::read(&path)
    };
    let bytes = model().to_bytes().unwrap();
    assert!(matches!(read(&bytes).unwrap(), Contents::Model(_)));
    assert!(matches!(read(b"").unwrap(), Contents::Other));
    assert!(matches!(read(b"12345678{").unwrap(), Contents::Other));
    assert!(matches!(read(b"\x89HDF\r\n\x1a\n").unwrap(), Contents::Other));
    assert!(matches!(read(&bytes[..bytes.len() / 2]), Ok(Contents::Other) | Err(_)));
    // Of another package: no entry of ours.
    let values = [0u8; 4];
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &values).unwrap();
    let other = safetensors::serialize([("t", view)], None).unwrap();
    assert!(matches!(read(&other).unwrap(), Contents::Other));
}
