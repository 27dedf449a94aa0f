//! docs/sharing.md as it is typed, against services on this machine.

use std::path::Path;

use super::server::{Answer, Fault, huggingface, zenodo};
use super::{Run, command, folder_with};

/// A reference's lab, a query's lab and a reader of either, each with a folder and a cache of its own.
struct Lab<'s> {
    folder: tempfile::TempDir,
    zenodo: &'s str,
    hub: &'s str,
    tokens: bool,
}

impl Lab<'_> {
    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn types(&self, arguments: &str) -> Run {
        let words = split(arguments);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = command(self.folder.path(), &words);
        for name in ["SCGRAFT_OFFLINE", "HF_ENDPOINT", "SSL_CERT_FILE", "ZENODO_TOKEN", "HF_TOKEN"] {
            command.env_remove(name);
        }
        if self.tokens {
            command.env("ZENODO_TOKEN", zenodo::TOKEN).env("HF_TOKEN", huggingface::TOKEN);
        }
        command.env("SCGRAFT_CACHE", self.at("cache"));
        Run::of(command.env("SCGRAFT_ZENODO_URL", self.zenodo).env("SCGRAFT_HF_URL", self.hub))
    }
}

/// Words as a shell has them: every other part stands in quotes.
fn split(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    parts
        .flat_map(|(i, p)| if i % 2 == 1 { vec![p.to_owned()] } else { p.split_whitespace().map(Into::into).collect() })
        .collect()
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_reference_goes_round_as_the_page_says() {
    let (zenodo, records) = zenodo::start();
    let services = huggingface::start();
    let lab = |files: &[&str], tokens| Lab {
        folder: folder_with(files),
        zenodo: &zenodo.url,
        hub: &services.api.url,
        tokens,
    };
    let makers = lab(&["reference.h5ad", "programs.gmt"], true);
    let patients = lab(&["query.h5ad"], true);
    let reader = lab(&[], false);

    // Make one.
    assert!(makers.types("inspect reference.h5ad").good().stdout.contains("batch"));
    makers
        .types(
            "train reference.h5ad --programs programs.gmt --condition batch --with-cells cell_type -o atlas.scgraft \
         --embed atlas_out.h5ad --epochs 4 --hidden 32,32",
        )
        .good();
    makers.types("evaluate atlas_out.h5ad --batch batch --labels cell_type").good();
    makers.types("umap atlas_out.h5ad").good();
    makers.types("plot umap atlas_out.h5ad --color cell_type,batch -o atlas.svg").good();
    makers.types("programs atlas.scgraft").good();
    makers.types("bundle atlas.scgraft atlas_out.h5ad --columns cell_type -o shared.scgraft").good();
    let told = makers.types("inspect shared.scgraft").good().stdout;
    assert!(told.contains("cell_type") && told.contains("cells: 240"), "{told}");

    // Publish it: the card, then a push that is interrupted twice, as a draft and for good.
    let words = "--title \"Bone marrow, four studies\" --author \"Curie, Marie\" --licence CC-BY-4.0";
    let card = makers
        .types(&format!("card shared.scgraft {words} --organism \"Homo sapiens\" --metric \"accuracy=0.71\""))
        .good();
    assert!(
        card.stdout.contains("# Bone marrow, four studies") && card.stdout.contains("Curie, Marie"),
        "{}",
        card.stdout
    );
    let push = format!("push shared.scgraft --to zenodo --version 1.0 {words}");
    zenodo.fail("PUT /api/files", Fault::CutUpload(30_000));
    zenodo.fail("PUT /api/deposit", Fault::Instead(Answer::new(403, "")));
    makers.types(&push).says(&["ZENODO_TOKEN", "does not allow"]);
    let draft = makers.types(&format!("{push} --draft")).good().stdout;
    assert!(draft.contains("a draft, not published"), "{draft}");
    assert!(reader.types("list zenodo:1001").code == 1, "a draft is its owner's");
    zenodo.fail("actions/publish", Fault::NoAnswer);
    let made = makers.types(&push).good().stdout;
    assert!(made.contains("published") && made.contains("scgraft pull zenodo:1001"), "{made}");
    assert_eq!(records.lock().unwrap().len(), 1);

    // Use it, on an empty cache, interrupted twice.
    let listed = reader.types("list zenodo:1001").good().stdout;
    assert!(listed.contains("shared.scgraft") && listed.contains("README.md"), "{listed}");
    zenodo.fail("/content", Fault::CutAfter(10_000));
    zenodo.fail("/content", Fault::CutAfter(20_000));
    let pulled = reader.types("pull doi:10.5281/zenodo.1001 -o atlas.scgraft").good().stdout;
    assert!(pulled.contains("zenodo:1001/shared.scgraft"), "{pulled}");
    assert_eq!(bytes(&reader.at("atlas.scgraft")), bytes(&makers.at("shared.scgraft")));
    patients.types(
        "map zenodo:1001 query.h5ad --condition-name patients -o mapped.h5ad --adaptor-out patients.adaptor --epochs 2",
    ).good();
    patients.types("--offline annotate zenodo:1001 mapped.h5ad --labels cell_type -o labelled.h5ad").good();

    // Share the adaptor; others attach it.
    let sent = patients.types(
        "push patients.adaptor --to hf:lab/patients --reference zenodo:1001 --author \"Curie, Marie\" --licence CC0-1.0",
    ).good().stdout;
    assert!(sent.contains("hf:lab/patients@"), "{sent}");
    std::fs::copy(patients.at("query.h5ad"), reader.at("more.h5ad")).unwrap();
    reader
        .types("map zenodo:1001 more.h5ad --attach hf:lab/patients --condition-name more -o mapped.h5ad --epochs 1")
        .good();
    reader.types("pull hf:lab/patients -o patients.adaptor").good();
    assert_eq!(bytes(&reader.at("patients.adaptor")), bytes(&patients.at("patients.adaptor")));
    // A new version; what is asked for by the number of all of them is the newest.
    let again =
        makers.types(&format!("push shared.scgraft --to zenodo:1001 --version 1.1 {words} --keep")).good().stdout;
    assert!(again.contains("zenodo:1003"), "{again}");
    assert!(reader.types("list zenodo:1000").good().stdout.contains("1.1"));
}
