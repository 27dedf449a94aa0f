//! Gene programs: free ones in a reference, programs by patterns, their relations, and what donors say of them.

use std::collections::BTreeMap;

use scgraft::cells::{Array, Cells, Column, Dense};
use scgraft::io::read_table;

use super::{folder_with, read, scgraft, train, write};

fn latent(cells: &Cells) -> Dense {
    match &cells.obsm["X_scgraft"] {
        Array::Dense(z) => z.clone(),
        other => panic!("{other:?}"),
    }
}

fn table(at: &std::path::Path, name: &str) -> scgraft::cells::Frame {
    let mut table = read_table(at.join(name)).unwrap();
    let (name, values) = (table.index_name.take().unwrap(), table.index.iter().cloned().map(Some).collect());
    table.columns.insert(0, (name, scgraft::cells::Column::Text(values)));
    table
}

/// The reference with its embedding, cells given to five donors, each with cells of two groups; donors differ.
fn with_donors(at: &std::path::Path) -> Cells {
    let mut cells = read(at, "reference_out.h5ad");
    let n = cells.n_cells();
    let donor: Vec<String> = (0..n).map(|i| format!("d{}", i % 5)).collect();
    let side: Vec<&str> = (0..n).map(|i| if i / 5 % 2 == 0 { "a" } else { "b" }).collect();
    cells.obs.set("donor", Column::categorical(&donor));
    cells.obs.set("side", Column::categorical(&side));
    let nested: Vec<String> = (0..n).map(|i| format!("{}{}", side[i], i % 5)).collect();
    cells.obs.set("donor_of_side", Column::categorical(&nested));
    write(at, "donors.h5ad", &cells);
    cells
}

/// Mean and standard error of numbers.
fn moments(v: &[f64]) -> (f64, f64) {
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    (mean, (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt())
}

#[test]
fn donors_are_tested_and_lead() {
    let folder = folder_with(&["reference_out.h5ad", "reference.scgraft"]);
    let at = folder.path();
    let cells = with_donors(at);
    let enrich = |donors: &str| {
        let fixed = ["enrich", "donors.h5ad", "--groups", "side", "--group", "a", "--versus", "b", "--undirected"];
        scgraft(at, &[&fixed[..], &["--no-update", "--tsv", "test.tsv", "--donors", donors]].concat()).good()
    };
    let run = enrich("donor");
    let (by_donor, by_cell) = (
        run.stdout.find("by donor (5 donors with cells on both sides").unwrap(),
        run.stdout.find("programs enriched").unwrap(),
    );
    assert!(by_donor < by_cell, "{}", run.stdout);
    assert!(
        run.stdout.contains("5 donors are few: the signed-rank test cannot give a p below 0.0625"),
        "{}",
        run.stdout
    );

    let test = table(at, "test.tsv");
    let column = |name: &str, i: usize| test.column(name).unwrap().number(i).unwrap();
    let z = latent(&cells);
    let names = &scgraft::slots::embedding(&cells, "X_scgraft").unwrap().names;
    let j = names.iter().position(|n| *n == test.column("program").unwrap().texts()[0].clone().unwrap()).unwrap();
    let mean = |donor: usize, side: usize| {
        let rows: Vec<usize> = (0..cells.n_cells()).filter(|i| i % 5 == donor && i / 5 % 2 == side).collect();
        rows.iter().map(|&i| f64::from(z.row(i)[j])).sum::<f64>() / rows.len() as f64
    };
    let within: Vec<f64> = (0..5).map(|d| mean(d, 0) - mean(d, 1)).collect();
    let (difference, error) = moments(&within);
    assert!((column("donor_difference", 0) - difference).abs() < 1e-6);
    // t of 4 degrees of freedom at 0.975.
    assert!((column("donor_high", 0) - (difference + 2.776_445_105 * error)).abs() < 1e-6);
    assert_eq!((column("n_donors_group", 0), column("n_donors_comparison", 0)), (5.0, 5.0));
    assert!(column("donor_p_adjusted", 0) >= column("donor_p_value", 0));
    assert!(column("donor_signed_rank_p_value", 0) >= 0.0625);
    // How well the score tells cells of one side from those of the other, pair by pair.
    let side = |s: usize| (0..cells.n_cells()).filter(move |i| i / 5 % 2 == s).collect::<Vec<_>>();
    let (a, b) = (side(0), side(1));
    let wins: f64 = a
        .iter()
        .flat_map(|&x| b.iter().map(move |&y| (x, y)))
        .map(|(x, y)| {
            let (x, y) = (z.row(x)[j], z.row(y)[j]);
            if x > y {
                1.0
            } else if x == y {
                0.5
            } else {
                0.0
            }
        })
        .sum();
    assert!((column("auroc", 0) - wins / (a.len() * b.len()) as f64).abs() < 1e-9);

    assert!(enrich("donor_of_side").stdout.contains("5 and 5 donors, Welch's t test"));
    assert!(table(at, "test.tsv").column("donor_signed_rank_p_value").unwrap().number(0).is_none_or(f64::is_nan));
    // One donor a side: nothing can be said.
    let alone = enrich("side");
    assert!(alone.stderr.contains("no test over donors") && alone.stderr.contains("two needed"), "{}", alone.stderr);
    // One reason is told once, however many levels it holds for.
    let within = ["--undirected", "--no-update", "--donors", "side", "--within", "batch"];
    let fixed = ["enrich", "donors.h5ad", "--groups", "side", "--group", "a", "--versus", "b"];
    let alone = scgraft(at, &[&fixed[..], &within].concat()).good().stderr;
    assert_eq!(alone.matches("no test over donors").count(), 1, "{alone}");
    assert!(alone.matches(" within ").count() > 1, "{alone}");

    let differential = ["differential", "reference.scgraft", "donors.h5ad", "--groups", "side", "--group", "a"];
    let more = ["--condition", "batch", "--samples", "50", "--donors", "donor", "--tsv", "genes.tsv"];
    let run = scgraft(at, &[&differential[..], &more].concat()).good();
    assert!(run.stdout.find("a versus rest, by donor (5 donors").unwrap() < run.stdout.find("genes differ\n").unwrap());
    let genes = table(at, "genes.tsv");
    let model = scgraft::models::Model::load(at.join("reference.scgraft")).unwrap();
    let x = cells.x.as_ref().unwrap().to_csr().to_dense();
    let position = |g: &str| cells.var.index.iter().position(|v| v == g).unwrap();
    let of_model: Vec<usize> = model.header.genes.iter().map(|g| position(g)).collect();
    let gene = position(genes.column("gene").unwrap().texts()[3].as_deref().unwrap());
    let bulk = |donor: usize, s: usize| {
        let rows = (0..cells.n_cells()).filter(|i| i % 5 == donor && i / 5 % 2 == s);
        let (sum, all) = rows.fold((0.0, 0.0), |(sum, all), i| {
            let row = x.row(i);
            (sum + f64::from(row[gene]), all + of_model.iter().map(|&g| f64::from(row[g])).sum::<f64>())
        });
        (1e6 * sum / all + 1.0).log2()
    };
    let within: Vec<f64> = (0..5).map(|d| bulk(d, 0) - bulk(d, 1)).collect();
    let found = genes.column("donor_difference").unwrap().number(3).unwrap();
    assert!((found - moments(&within).0).abs() < 1e-9, "{found} against {within:?}");
}

#[test]
fn a_reference_with_free_programs_and_without_some() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    let all: Vec<String> = std::fs::read_to_string(at.join("programs.gmt"))
        .unwrap()
        .lines()
        .map(|l| l.split('\t').next().unwrap().to_owned())
        .collect();
    let out = all[0].clone();
    let more = ["-o", "f.scgraft", "--embed", "f.h5ad", "--free", "2", "--exclude-program", &out];
    scgraft(at, &train("reference.h5ad", &more)).good();
    let list = scgraft(at, &["programs", "f.scgraft", "--all", "--json"]).good().json();
    let names: Vec<&str> = list["programs"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(!names.contains(&out.as_str()));
    let weights: Vec<f64> =
        list["programs"].as_array().unwrap().iter().map(|p| p["weight"].as_f64().unwrap()).collect();
    assert!(weights.is_sorted_by(|a, b| a >= b) && weights[0] > 0.0, "the heaviest first: {weights:?}");
    let free = &list["programs"][names.iter().position(|n| *n == "free_2").unwrap()];
    assert!(names.contains(&"free_1"));
    assert_eq!((free["origin"].as_str(), free["genes_in_set"].as_u64()), (Some("reference"), Some(0)));
    assert!(free["entropy"].as_f64().unwrap() > 0.0 && free["entropy"].as_f64().unwrap() <= 1.0);
    let map = ["map", "f.scgraft", "query.h5ad", "--condition", "batch", "--epochs", "2", "-o", "m.h5ad", "--json"];
    let save = ["--new-programs", "2", "--save-model", "m.scgraft"];
    let mapped = scgraft(at, &[&map[..], &save].concat()).good().json();
    let told = mapped["queries"][0]["independence"].as_array().unwrap().clone();
    assert_eq!(told.len(), 2);
    for new in &told {
        let (r, h) = (new["correlation"].as_f64().unwrap(), new["hsic"].as_f64().unwrap());
        assert!((0.0..=1.0).contains(&r) && (0.0..=1.0).contains(&h), "{new}");
        assert!(names.contains(&new["with"].as_str().unwrap()));
    }
    // The correlation is that of the scores in the file, and the model remembers it.
    let cells = read(at, "m.h5ad");
    let e = scgraft::slots::embedding(&cells, "X_scgraft").unwrap();
    let column = |name: &str| e.mean.column(e.names.iter().position(|n| n == name).unwrap());
    let (x, y) = (column(told[0]["program"].as_str().unwrap()), column(told[0]["with"].as_str().unwrap()));
    let mean = |v: &[f32]| v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(&x), mean(&y));
    let sum = |a: &[f32], ma: f64, b: &[f32], mb: f64| {
        a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - ma) * (f64::from(b) - mb)).sum::<f64>()
    };
    let r = sum(&x, mx, &y, my) / (sum(&x, mx, &x, mx) * sum(&y, my, &y, my)).sqrt();
    assert!((r.abs() - told[0]["correlation"].as_f64().unwrap()).abs() < 1e-9);
    let again = scgraft(at, &["programs", "m.scgraft", "--json"]).good().json();
    assert_eq!(again["independence"].as_array().unwrap(), &told);

    scgraft(at, &train("reference.h5ad", &["-o", "x", "--exclude-program", "no_such*"])).says(&["`no_such*`"]);
    let scvi = ["train", "reference.h5ad", "--condition", "batch", "--model", "scvi", "--free", "1", "-o", "x"];
    scgraft(at, &scvi).says(&["no gene programs"]);

    // Labels by the scores of some programs are labels in the space of those.
    let annotate = |more: &[&str]| {
        let fixed = ["annotate", "f.h5ad", "m.h5ad", "--labels", "cell_type", "-o", "l.h5ad", "--json"];
        scgraft(at, &[&fixed[..], more].concat())
    };
    annotate(&["--programs", "*"]).good();
    let distance = |cells: &Cells| cells.obs.column("scgraft_distance").unwrap().number(0).unwrap();
    let everything = distance(&read(at, "l.h5ad"));
    annotate(&["--programs", "free_?"]).good();
    assert_ne!(distance(&read(at, "l.h5ad")), everything);
    annotate(&["--programs", "nothing*"]).says(&["`nothing*`"]);
}

#[test]
fn relations_are_written_as_they_are() {
    let folder = folder_with(&["reference_out.h5ad", "reference.h5ad", "reference.scgraft"]);
    let at = folder.path();
    let plot = |what: &str, file: &str| {
        scgraft(at, &["plot", what, file, "--tsv", "out.tsv", "-o", "out.svg", "--json"]).good();
        assert!(std::fs::read_to_string(at.join("out.svg")).unwrap().contains("<svg"));
        read_table(at.join("out.tsv")).unwrap()
    };
    let list = scgraft(at, &["programs", "reference.scgraft", "--top", "1000", "--json"]).good().json();
    let genes: BTreeMap<String, Vec<String>> = list["programs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            let genes = p["genes"].as_array().unwrap().iter().map(|g| g["gene"].as_str().unwrap().to_owned()).collect();
            (p["name"].as_str().unwrap().to_owned(), genes)
        })
        .collect();
    let overlap = plot("overlap", "reference.scgraft");
    assert_eq!(overlap.len(), genes.len());
    for (i, a) in overlap.index.iter().enumerate() {
        for b in &overlap.index {
            let both = genes[a].iter().filter(|g| genes[b].contains(g)).count() as f64;
            let either = genes[a].len() as f64 + genes[b].len() as f64 - both;
            assert!((overlap.column(b).unwrap().number(i).unwrap() - both / either).abs() < 1e-12, "{a} {b}");
        }
    }
    let members = plot("members", "reference.scgraft");
    let shown =
        |name: &str| (0..members.len()).filter(|&i| members.column(name).unwrap().number(i) != Some(0.0)).count();
    assert!(genes.keys().all(|p| shown(p) == genes[p].len().min(10)));
    let correlation = plot("correlation", "reference_out.h5ad");
    assert_eq!(correlation.len(), genes.len());
    assert!((0..genes.len()).all(|i| (correlation.columns[i].1.number(i).unwrap() - 1.0).abs() < 1e-9));
    scgraft(at, &["plot", "overlap", "reference.scgraft", "--program", "x*", "-o", "o.svg"]).says(&["`x*`"]);

    scgraft(at, &["programs", "reference.scgraft", "--tsv", "genes.tsv", "--cells", "reference.h5ad"]).good();
    let of_genes = table(at, "genes.tsv");
    let cells = read(at, "reference.h5ad");
    let x = scgraft::cells::log1p(&scgraft::cells::normalize_total(&cells.x.unwrap().to_csr(), Some(1e4))).to_dense();
    let name = of_genes.column("gene").unwrap().texts()[5].clone().unwrap();
    let gene = cells.var.index.iter().position(|g| *g == name).unwrap();
    let mean = x.column(gene).iter().map(|&v| f64::from(v)).sum::<f64>() / x.n_rows as f64;
    assert!((of_genes.column("mean_expression").unwrap().number(5).unwrap() - mean).abs() < 1e-5);
}

#[test]
fn soft_programs_that_lost_their_sets_are_named() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let at = folder.path();
    let soft = |weight: &str| {
        let more = ["-o", "s.scgraft", "--soft", "--l1-weight", weight];
        let told = scgraft(at, &train("reference.h5ad", &more)).good().stderr;
        let list = scgraft(at, &["programs", "s.scgraft", "--json"]).good().json();
        let shares: Vec<f64> =
            list["programs"].as_array().unwrap().iter().filter_map(|p| p["switched_off"].as_f64()).collect();
        (told, shares)
    };
    // Without L1 the genes outside of sets have weights after a few steps.
    let (told, shares) = soft("0");
    assert!(told.contains("no longer those of their gene sets"), "{told}");
    assert!(shares.iter().any(|&s| s < 0.9), "{shares:?}");
    let (told, shares) = soft("100");
    assert!(!told.contains("no longer those of their gene sets"), "{told}");
    assert!(shares.iter().all(|&s| s == 1.0), "{shares:?}");
}

/// The signs of a network are not taken over without a word.
#[test]
fn weights_below_zero_are_said_to_count_as_others() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let at = folder.path();
    let gmt = std::fs::read_to_string(at.join("programs.gmt")).unwrap();
    let genes = gmt.lines().next().unwrap().split('\t').skip(2).enumerate();
    let rows: Vec<String> = genes.map(|(i, g)| format!("TF,{g},{}\n", if i % 3 == 0 { -1 } else { 1 })).collect();
    std::fs::write(at.join("network.csv"), format!("source,target,weight\n{}", rows.concat())).unwrap();
    let train = ["train", "reference.h5ad", "--programs", "network.csv", "--condition", "batch", "--epochs", "1"];
    let said = scgraft(at, &[&train[..], &["-o", "x.scgraft"]].concat()).good().stderr;
    let n = rows.iter().filter(|row| row.contains('-')).count();
    assert!(said.contains(&format!("{n} of {} genes have a `weight` below 0", rows.len())), "{said}");
}
