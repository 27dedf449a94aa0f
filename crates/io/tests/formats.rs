//! Every format through one door.

mod common;

use common::{content, expected, fixture};
use scgraft_io::{
    Error, Input, ReadOptions, Select, WriteOptions, h5ad_bytes, inspect_h5ad, read_cells, read_gmt, read_h5ad,
    read_list, read_table,
};

const FILES: [(&str, &str); 7] = [
    ("tenx_v3.h5", "tenx_v3"),
    ("tenx_v2.h5", "tenx_v2"),
    ("tenx_mtx_v3", "tenx_mtx_v3"),
    ("tenx_mtx_v2", "tenx_mtx_v2"),
    ("tenx_mtx_v2/matrix.mtx", "tenx_mtx_v2"),
    ("small.loom", "small_loom"),
    ("small.h5mu", "small_h5mu"),
];

#[test]
fn files_hold_what_was_put_in() {
    for (file, name) in FILES {
        let cells = read_cells(fixture(file), &ReadOptions::default()).unwrap();
        assert_eq!(content(&cells), expected(name), "{file}");
    }
}

#[test]
fn h5ad_goes_through_the_same_door() {
    let path = fixture("tables_0.12.h5ad");
    let options = ReadOptions::default();
    assert_eq!(content(&read_cells(&path, &options).unwrap()), content(&read_h5ad(&path, &options).unwrap()));
}

/// The bytes of a file, and the same behind a reader that stands somewhere in them.
fn elsewhere(path: &std::path::Path) -> [Input; 2] {
    let bytes = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap();
    let mut reader = std::io::Cursor::new(bytes.clone());
    reader.set_position(3);
    [Input::bytes(name, bytes), Input::reader(name, reader).unwrap()]
}

#[test]
fn bytes_hold_what_their_file_does() {
    let mut files: Vec<String> = std::fs::read_dir(fixture(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| [".h5ad", ".h5", ".loom", ".h5mu"].iter().any(|ending| name.ends_with(ending)))
        .collect();
    files.sort();
    assert!(files.len() > 15, "{files:?}");
    let (mut read, mut refused) = (0, 0);
    for file in files {
        let path = fixture(&file);
        let whole = read_cells(&path, &ReadOptions::default());
        for input in elsewhere(&path) {
            match (&whole, read_cells(input, &ReadOptions::default())) {
                (Ok(a), Ok(b)) => {
                    assert_eq!(content(a), content(&b), "{file}");
                    assert_eq!((&a.origin.left_out, b.origin.path), (&b.origin.left_out, None), "{file}");
                    read += 1;
                }
                (Err(a), Err(b)) => {
                    let at = path.to_string_lossy();
                    assert_eq!(a.to_string().replace(&*at, &file), b.to_string());
                    refused += 1;
                }
                (a, b) => panic!("{file}: {:?}, from bytes {:?}", a.as_ref().err(), b.err()),
            }
        }
    }
    assert!(read > 20 && refused > 2, "{read} {refused}");
    let path = fixture("tables_0.12.h5ad");
    let (file, bytes) = (inspect_h5ad(&path).unwrap(), inspect_h5ad(elsewhere(&path)[0].clone()).unwrap());
    assert_eq!((file.file_size, file.obs, file.n_genes), (bytes.file_size, bytes.obs, bytes.n_genes));
    assert_eq!(bytes.path.to_string_lossy(), "tables_0.12.h5ad");
}

#[test]
fn an_h5ad_is_made_in_memory() {
    for file in ["tables_0.12.h5ad", "matrices_0.12.h5ad", "raw_0.12.h5ad"] {
        let cells = read_h5ad(fixture(file), &ReadOptions::default()).unwrap();
        let bytes = h5ad_bytes("out.h5ad", &cells, &WriteOptions::default()).unwrap();
        let again = read_h5ad(Input::bytes("out.h5ad", bytes), &ReadOptions::default()).unwrap();
        assert_eq!(content(&again), content(&cells), "{file}");
    }
    // What could not be read is not lost without a word.
    let [bytes, _] = elsewhere(&fixture("kept.h5ad"));
    let cells = read_h5ad(bytes, &ReadOptions::default()).unwrap();
    assert!(!cells.origin.left_out.is_empty());
    let refused = h5ad_bytes("out.h5ad", &cells, &WriteOptions::default());
    assert!(matches!(refused, Err(Error::Unkept { .. })), "{refused:?}");
    let options = WriteOptions { drop_unreadable: true, ..WriteOptions::default() };
    assert!(h5ad_bytes("out.h5ad", &cells, &options).is_ok());
}

#[test]
fn text_is_read_from_bytes() {
    let table = read_table(Input::bytes("t.csv", "cell,n\nA,1\n")).unwrap();
    assert_eq!((table.index, table.columns.len()), (vec!["A".to_owned()], 1));
    assert_eq!(read_list(Input::bytes("genes.txt", "CD3D\nLYZ\n")).unwrap(), ["CD3D", "LYZ"]);
    let sets = read_gmt(&[Input::bytes("sets.gmt", "T\thttp://t\tCD3D\tCD3E\n")]).unwrap();
    assert_eq!((sets[0].name.as_str(), sets[0].genes.len()), ("T", 2));
    let matrix = Input::bytes("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 1\n");
    let message = read_cells(matrix, &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("barcodes"), "{message}");
}

#[test]
fn options_hold_for_every_format() {
    for (file, _) in FILES {
        let whole = read_cells(fixture(file), &ReadOptions::default()).unwrap();
        let part = read_cells(fixture(file), &ReadOptions { rows: Some(1..3), ..ReadOptions::default() }).unwrap();
        assert_eq!(content(&part), content(&whole.select_cells(&[1, 2])), "{file}");
        let names = read_cells(fixture(file), &ReadOptions::nothing()).unwrap();
        assert_eq!((names.obs.index.clone(), names.var.index.clone()), (whole.obs.index, whole.var.index), "{file}");
        assert!(names.x.is_none() && names.obs.columns.is_empty() && names.obsm.is_empty(), "{file}");
        let options = ReadOptions { layers: Select::only(["none"]), ..ReadOptions::default() };
        assert!(matches!(read_cells(fixture(file), &options), Err(Error::Missing { .. })), "{file}");
    }
}

#[test]
fn other_files_are_refused_with_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &std::path::Path| read_cells(path, &ReadOptions::default()).unwrap_err().to_string();
    let text = folder.path().join("counts.csv");
    std::fs::write(&text, "a,b\n").unwrap();
    assert!(message(&text).contains("expected cells (.h5ad") && message(&text).contains("a text file"));
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(message(&empty).contains("no file `matrix.mtx[.gz]`"), "{}", message(&empty));
    let alone = folder.path().join("S1_matrix.mtx");
    std::fs::copy(fixture("tenx_mtx_v2/matrix.mtx"), &alone).unwrap();
    assert!(message(&alone).contains("S1_matrix.mtx: no file beside it `S1_barcodes.tsv[.gz]`"), "{}", message(&alone));
    let alevin = folder.path().join("alevin");
    std::fs::create_dir(&alevin).unwrap();
    std::fs::write(alevin.join("quants_mat.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    for path in [&alevin, &alevin.join("quants_mat.gz")] {
        assert!(message(path).contains("salmon alevin") && message(path).contains("dumpMtx"), "{}", message(path));
    }
    std::fs::write(empty.join(".zgroup"), "{}").unwrap();
    assert!(message(&empty).contains("zarr"), "{}", message(&empty));
}

#[test]
fn a_folder_whose_files_do_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["matrix.mtx", "genes.tsv", "barcodes.tsv"] {
        std::fs::copy(fixture("tenx_mtx_v2").join(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("barcodes.tsv"), "AAAC-1\n").unwrap();
    let message = read_cells(folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("4 features × 1 barcodes") && message.contains("4 × 3"), "{message}");
}

#[test]
fn folders_of_other_programs_are_read() {
    let mtx = |rows: usize, columns: usize, entries: &str| {
        let n = entries.lines().count();
        format!("%%MatrixMarket matrix coordinate integer general\n{rows} {columns} {n}\n{entries}")
    };
    // Two cells, three genes; the second cell has 5 of the third gene.
    let (by_gene, by_cell) = (mtx(3, 2, "1 1 1\n3 2 5\n"), mtx(2, 3, "1 1 1\n2 3 5\n"));
    let (barcodes, features) = ("AA\nCC\n", "E1\tA\nE2\tB\nE3\tC\n");
    let typed = "E1\tA\tprotein_coding\nE2\tB\tlncRNA\nE3\tC\tprotein_coding\n";
    let layouts: [(&str, &[(&str, &str)]); 15] = [
        ("GEO", &[("GSM1_matrix.mtx", &by_gene), ("GSM1_barcodes.tsv", barcodes), ("GSM1_features.tsv", features)]),
        (
            "kb",
            &[
                ("cells_x_genes.mtx", &by_cell),
                ("cells_x_genes.barcodes.txt", barcodes),
                ("cells_x_genes.genes.txt", "E1\nE2\nE3\n"),
                ("cells_x_genes.genes.names.txt", "A\nB\nC\n"),
            ],
        ),
        (
            "alevin-fry",
            &[("quants_mat.mtx", &by_cell), ("quants_mat_rows.txt", barcodes), ("quants_mat_cols.txt", "A\nB\nC\n")],
        ),
        (
            "Parse",
            &[
                ("count_matrix.mtx", &by_cell),
                ("cell_metadata.csv", "bc_wells,sample\nAA,x\nCC,x\n"),
                ("all_genes.csv", "gene_id,gene_name,genome\nE1,A,hg38\nE2,B,hg38\nE3,C,hg38\n"),
            ],
        ),
        (
            "header",
            &[("matrix.mtx", &by_gene), ("barcodes.tsv", barcodes), ("genes.tsv", "id\tname\nE1\tA\nE2\tB\nE3\tC\n")],
        ),
        ("kinds", &[("matrix.mtx", &by_gene), ("barcodes.tsv", barcodes), ("features.tsv", typed)]),
        (
            "STARsolo",
            &[
                ("matrix.mtx", &by_gene),
                ("UniqueAndMult-EM.mtx", &mtx(3, 2, "1 1 9\n")),
                ("barcodes.tsv", barcodes),
                ("features.tsv", features),
            ],
        ),
        (
            "kb, one kind of count",
            &[
                ("cells_x_genes.mature.mtx", &by_cell),
                ("cells_x_genes.barcodes.txt", barcodes),
                ("cells_x_genes.genes.txt", "A\nB\nC\n"),
            ],
        ),
        (
            "alevin-fry, from its output",
            &[
                ("af_quant/alevin/quants_mat.mtx", &by_cell),
                ("af_quant/alevin/quants_mat_rows.txt", barcodes),
                ("af_quant/alevin/quants_mat_cols.txt", "A\nB\nC\n"),
            ],
        ),
        (
            "alevin-fry, from above",
            &[
                ("alevin/quants_mat.mtx", &by_cell),
                ("alevin/quants_mat_rows.txt", barcodes),
                ("alevin/quants_mat_cols.txt", "A\nB\nC\n"),
            ],
        ),
        (
            "STARsolo, from above",
            &[
                ("Solo.out/Gene/filtered/matrix.mtx", &by_gene),
                ("Solo.out/Gene/filtered/barcodes.tsv", barcodes),
                ("Solo.out/Gene/filtered/features.tsv", features),
            ],
        ),
        (
            "GEO, words after the ending",
            &[("GSM1_matrix.mtx_S1", &by_gene), ("barcodes.tsv_S1.tsv", barcodes), ("genes.tsv_S1.tsv", features)],
        ),
        (
            "GEO, a word between",
            &[("GSM1_matrix_S1.mtx", &by_gene), ("GSM1_barcodes_S1.tsv", barcodes), ("GSM1_features_S1.tsv", features)],
        ),
        (
            "GEO, the list of another sample",
            &[
                ("S1.matrix.mtx", &by_gene),
                ("S1-barcodes.tsv", barcodes),
                ("S2_barcodes.tsv", "AA\n"),
                ("S1_genes.tsv", features),
            ],
        ),
        (
            "one matrix of another name",
            &[("spliced.mtx", &by_gene), ("barcodes.tsv", barcodes), ("features.tsv", features)],
        ),
    ];
    for (program, files) in layouts {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let cells = read_cells(folder.path(), &ReadOptions::default()).unwrap_or_else(|e| panic!("{program}: {e}"));
        assert_eq!(cells.obs.index, ["AA", "CC"], "{program}");
        assert_eq!(cells.var.index, ["A", "B", "C"], "{program}");
        assert_eq!(cells.x.unwrap().to_csr().to_dense().values, [1.0, 0.0, 0.0, 0.0, 0.0, 5.0], "{program}");
        if program == "STARsolo" {
            let named = read_cells(folder.path().join("UniqueAndMult-EM.mtx"), &ReadOptions::default()).unwrap();
            assert_eq!(named.x.unwrap().to_csr().to_dense().values[0], 9.0);
        }
    }
    // Two of other names, and two folders: which is meant, only its user knows.
    let refused = |names: [&str; 2], part: &str| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in names
            .iter()
            .map(|n| (*n, by_gene.as_str()))
            .chain([(&*format!("{part}barcodes.tsv"), barcodes), (&*format!("{part}features.tsv"), features)])
        {
            std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        read_cells(folder.path(), &ReadOptions::default()).unwrap_err().to_string()
    };
    let message = refused(["spliced.mtx", "unspliced.mtx"], "");
    assert!(message.contains("name the one to read") && message.contains("spliced.mtx, unspliced.mtx"), "{message}");
    let message = refused(["Gene/matrix.mtx", "GeneFull/matrix.mtx"], "Gene/");
    assert!(message.contains("name the folder") && message.contains("Gene, GeneFull"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    for sample in ["GSM1_", "GSM2_"] {
        for (name, text) in [("matrix.mtx", by_gene.as_str()), ("barcodes.tsv", barcodes), ("features.tsv", features)] {
            std::fs::write(folder.path().join(format!("{sample}{name}")), text).unwrap();
        }
    }
    let error = read_cells(folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("GSM1_matrix.mtx, GSM2_matrix.mtx") && error.contains("name the one"), "{error}");
}
