//! Metrics, neighbours, clusters, UMAP and label transfer beside the Python packages: values and times.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

/// Options of the comparison.
#[derive(Args)]
pub struct Options {
    /// Python with scib-metrics, umap-learn and leidenalg (tools/peers/requirements-current.txt).
    #[arg(long)]
    peer: PathBuf,
    /// Python with scArches 0.6.1 (tools/peers/requirements-scarches.txt), for label transfer.
    #[arg(long)]
    scarches: Option<PathBuf>,
    /// Numbers of simulated cells on which speed is compared.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000")]
    cells: Vec<usize>,
    /// Cells of the reference and of the query in the comparison of label transfer.
    #[arg(long, value_delimiter = ',', num_args = 2, default_value = "10000,100000")]
    transfer: Vec<usize>,
    /// Threads of both sides.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Parts to run: parity, speed, picture, neighbours, transfer.
    #[arg(long, value_delimiter = ',', default_value = "parity,speed,picture,neighbours,transfer")]
    parts: Vec<String>,
    /// Write the figures here as JSON.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Real data: file, column of batches, column of types.
const REAL: [(&str, &str, &str); 2] =
    [("pbmc_reference_merged.h5ad", "study", "cell_type"), ("scmixology_celseq2_dropseq.h5ad", "batch", "cell_line")];
/// Metrics of the peer and ours with the same definition; the clusterings of NMI and ARI are drawn at random on both
/// sides, so their values are not compared.
const SAME: [&str; 10] = [
    "isolated_labels",
    "silhouette_label",
    "clisi_knn",
    "silhouette_batch",
    "bras",
    "ilisi_knn",
    "kbet",
    "kbet_per_label",
    "graph_connectivity",
    "pcr_comparison",
];
/// What ours computes beside.
const OURS_ALONE: [&str; 3] = ["isolated_f1", "knn_accuracy", "batch_entropy"];

/// One line of either side: name, seconds, processor seconds, value.
struct Line {
    name: String,
    seconds: f64,
    processor: f64,
    value: String,
}

struct Runner<'a> {
    options: &'a Options,
    folder: &'a Path,
    root: PathBuf,
    scratch: PathBuf,
    measure: PathBuf,
}

/// Runs the parts asked for and prints their tables.
pub fn run(options: &Options, folder: &Path) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let scratch = root.join("target/peers");
    std::fs::create_dir_all(&scratch)?;
    let build = ["build", "--release", "--quiet", "-p", "scgraft-analysis", "--example", "measure"];
    ensure!(Command::new("cargo").args(build).current_dir(&root).status()?.success(), "the build failed");
    let measure = root.join("target/release/examples/measure");
    let runner = Runner { options, folder, root, scratch, measure };
    let mut figures = json!({"threads": options.threads});
    for part in &options.parts {
        figures[part] = match part.as_str() {
            "parity" => runner.parity()?,
            "speed" => runner.speed()?,
            "picture" => runner.picture()?,
            "neighbours" => runner.neighbours()?,
            "transfer" => runner.transfer()?,
            other => bail!("`{other}` is not parity, speed, picture, neighbours or transfer"),
        };
    }
    if let Some(path) = &options.out {
        std::fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(())
}

impl Runner<'_> {
    fn lines(&self, program: &Path, arguments: &[&str]) -> Result<Vec<Line>> {
        let threads = self.options.threads.to_string();
        let mut command = self.on_few_processors(program);
        command.args(arguments).current_dir(&self.root).env("RAYON_NUM_THREADS", &threads);
        for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"] {
            command.env(name, &threads);
        }
        if self.options.threads == 1 {
            command.env("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1");
        }
        let out = command.output().with_context(|| format!("starting {}", program.display()))?;
        ensure!(
            out.status.success(),
            "{} {} failed: {}",
            program.display(),
            arguments.join(" "),
            String::from_utf8_lossy(&out.stderr)
        );
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let line = |line: &str| {
            let fields: Vec<&str> = line.split('\t').collect();
            let number = |i: usize| fields.get(i).and_then(|f| f.parse().ok()).unwrap_or(f64::NAN);
            (fields.len() > 1).then(|| Line {
                name: fields[0].to_owned(),
                seconds: number(1),
                processor: number(2),
                value: fields.get(3).map_or_else(String::new, |v| (*v).to_owned()),
            })
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// The program on as many processors as it may have threads: JAX takes all it sees, whatever it is told.
    fn on_few_processors(&self, program: &Path) -> Command {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        if self.options.threads >= all || Command::new("taskset").arg("--version").output().is_err() {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", &format!("{}-{}", all - self.options.threads, all - 1)]).arg(program);
        command
    }

    fn python(&self, script: &str, arguments: &[&str]) -> Result<Vec<Line>> {
        let script = format!("tools/peers/{script}");
        self.lines(&self.options.peer, &[&[script.as_str()], arguments].concat())
    }

    fn file(&self, name: &str) -> String {
        self.scratch.join(name).display().to_string()
    }

    /// Arrays of a real file, made once.
    fn arrays(&self, (file, batch, label): (&str, &str, &str)) -> Result<Option<String>> {
        let path = self.folder.join(file);
        if !path.exists() {
            println!("{file} is not there: skipped (--data names the folder)");
            return Ok(None);
        }
        let arrays = self.file(&format!("{file}.safetensors"));
        if !Path::new(&arrays).exists() {
            let path = path.display().to_string();
            self.python("metrics.py", &["prepare", &path, "--batch", batch, "--label", label, &arrays])?;
        }
        Ok(Some(arrays))
    }

    fn simulated(&self, cells: usize) -> Result<String> {
        let arrays = self.file(&format!("simulated_{cells}.safetensors"));
        if !Path::new(&arrays).exists() {
            self.python("metrics.py", &["simulate", &cells.to_string(), &arrays])?;
        }
        Ok(arrays)
    }

    fn parity(&self) -> Result<Value> {
        let mut out = json!({});
        for real in REAL {
            let Some(arrays) = self.arrays(real)? else { continue };
            let theirs = self.python("metrics.py", &["run", &arrays, "--exact", "--repeat", "1"])?;
            let ours = self.lines(&self.measure, &["metrics", &arrays])?;
            println!(
                "\n{}, exact neighbours\n\n| metric | scgraft | scib-metrics | difference |\n|---|---|---|---|",
                real.0
            );
            for name in SAME {
                let value = |lines: &[Line]| -> Result<f64> {
                    let line = lines.iter().find(|l| l.name == name).with_context(|| format!("no line {name}"))?;
                    line.value.parse().with_context(|| format!("{name}: {}", line.value))
                };
                let (a, b) = (value(&ours)?, value(&theirs)?);
                println!("| {name} | {a:.6} | {b:.6} | {:.1e} |", (a - b).abs());
                out[real.0][name] = json!({"ours": a, "theirs": b});
            }
        }
        Ok(out)
    }

    fn speed(&self) -> Result<Value> {
        let mut out = json!({});
        for &cells in &self.options.cells {
            let arrays = self.simulated(cells)?;
            let theirs = self.python("metrics.py", &["run", &arrays])?;
            let ours = self.lines(&self.measure, &["metrics", &arrays])?;
            println!("\n{cells} cells\n\n| metric | scgraft | scib-metrics | ratio |\n|---|---|---|---|");
            let sum = |lines: &[Line], names: &[&str]| {
                let of = lines.iter().filter(|l| names.contains(&l.name.as_str()));
                of.fold((0.0, 0.0), |s, l| (s.0 + l.seconds, s.1 + l.processor))
            };
            let clusters: [&[&str]; 2] = [&["clusterings", "nmi", "ari"], &["nmi_ari_leiden"]];
            let mut rows: Vec<(&str, [&[&str]; 2])> = vec![("NMI, ARI", clusters)];
            let names: Vec<[&str; 1]> = ["neighbours 90"].into_iter().chain(SAME).map(|n| [n]).collect();
            rows.extend(names.iter().map(|n| (n[0], [&n[..], &n[..]])));
            for (name, [mine, other]) in &rows {
                let (a, b) = (sum(&ours, mine), sum(&theirs, other));
                println!("| {name} | {:.3} s | {:.3} s | {:.1}× |", a.0, b.0, b.0 / a.0);
            }
            let all = |lines: &[Line]| {
                let counted = lines.iter().filter(|l| l.name != "all" && !OURS_ALONE.contains(&l.name.as_str()));
                counted.fold((0.0, 0.0), |s, l| (s.0 + l.seconds, s.1 + l.processor))
            };
            let (a, b) = (all(&ours), all(&theirs));
            println!("| all | {:.3} s | {:.3} s | {:.1}× |", a.0, b.0, b.0 / a.0);
            println!("| all, processor | {:.3} s | {:.3} s | {:.1}× |", a.1, b.1, b.1 / a.1);
            out[cells.to_string()] =
                json!({"ours": a.0, "theirs": b.0, "ours_processor": a.1, "theirs_processor": b.1});
        }
        Ok(out)
    }

    fn picture(&self) -> Result<Value> {
        let mut out = json!({});
        let mut all: Vec<(String, String)> = Vec::new();
        for real in REAL {
            all.extend(self.arrays(real)?.map(|a| (real.0.to_owned(), a)));
        }
        if let Some(&cells) = self.options.cells.iter().max() {
            all.push((format!("{cells} simulated cells"), self.simulated(cells)?));
        }
        let threads = self.options.threads.to_string();
        for (name, arrays) in all {
            let raw = self.file("picture.f32");
            let mut lines = self.lines(&self.measure, &["umap", &arrays, &raw])?;
            lines.extend(self.lines(&self.measure, &["cluster", &arrays])?);
            println!("\n{name}\n\n| scgraft | seconds | processor | value |\n|---|---|---|---|");
            print(&lines);
            let mut theirs =
                self.python("umap_leiden.py", &["layout", &arrays, "--threads", &threads, "--picture", &raw])?;
            theirs.extend(self.python("umap_leiden.py", &["leiden", &arrays])?);
            println!("\n| umap-learn, leidenalg | seconds | processor | value |\n|---|---|---|---|");
            print(&theirs);
            out[name] = json!({"ours": lines_json(&lines), "theirs": lines_json(&theirs)});
        }
        Ok(out)
    }

    fn neighbours(&self) -> Result<Value> {
        let mut out = json!({});
        for &cells in &self.options.cells {
            let arrays = self.simulated(cells)?;
            let best = |lines: Vec<Line>| {
                let of = lines.iter().filter(|l| l.name == "neighbours 15");
                of.map(|l| l.seconds).fold(f64::INFINITY, f64::min)
            };
            let ours = best(self.lines(&self.measure, &["neighbours", &arrays])?);
            let theirs = best(self.python("metrics.py", &["neighbours", &arrays])?);
            println!(
                "\nexact 15 neighbours of {cells} cells: {ours:.3} s, scikit-learn {theirs:.3} s: {:.1}×",
                theirs / ours
            );
            out[cells.to_string()] = json!({"ours": ours, "theirs": theirs});
        }
        Ok(out)
    }

    fn transfer(&self) -> Result<Value> {
        let Some(python) = &self.options.scarches else {
            println!("\nlabel transfer: skipped, --scarches names no Python");
            return Ok(Value::Null);
        };
        let [reference, query] = self.options.transfer[..] else { bail!("--transfer takes two numbers") };
        let arrays = self.file(&format!("transfer_{reference}_{query}.safetensors"));
        let codes = self.file("transfer.u32");
        if !Path::new(&arrays).exists() {
            self.python("transfer.py", &["simulate", &reference.to_string(), &query.to_string(), &arrays])?;
        }
        let ours = self.lines(&self.measure, &["transfer", &arrays, &codes])?;
        let theirs = self.lines(python, &["tools/peers/transfer.py", "run", &arrays, "--ours", &codes])?;
        println!(
            "\nlabels for {query} cells from {reference}, k = 50\n\n| scgraft | seconds | processor | recall |\n|---|---|---|---|"
        );
        print(&ours);
        println!("\n| scArches | seconds | | |\n|---|---|---|---|");
        print(&theirs);
        for columns in ["1 column", "5 columns"] {
            let all = theirs.iter().find(|l| l.name == format!("all, {columns}")).map_or(f64::NAN, |l| l.seconds);
            for search in ["exact", "approximate"] {
                let of = ours.iter().filter(|l| l.name == format!("{search} all, {columns}"));
                let best = of.map(|l| l.seconds).fold(f64::INFINITY, f64::min);
                println!("{columns}, {search} neighbours: {:.1}× scArches", all / best);
            }
        }
        Ok(json!({"ours": lines_json(&ours), "theirs": lines_json(&theirs)}))
    }
}

fn print(lines: &[Line]) {
    for l in lines {
        println!("| {} | {:.3} | {:.3} | {} |", l.name, l.seconds, l.processor, l.value);
    }
}

fn lines_json(lines: &[Line]) -> Vec<Value> {
    lines
        .iter()
        .map(|l| json!({"name": l.name, "seconds": l.seconds, "processor": l.processor, "value": l.value}))
        .collect()
}
