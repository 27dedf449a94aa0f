//! The Python package, as a user gets it: a wheel is built and installed into an environment of its own, and the package's
//! tests run there.
//!
//! A Python of 3.11 or later is needed (`SCGRAFT_PYTHON` names one; else `python3.13`, …, `python3` are tried). Without one, or
//! without the packages of `python/tests/requirements.txt`, this test says so and passes, except where `CI` is set.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LEAST: (u32, u32) = (3, 11);

#[test]
fn the_wheel_installs_and_its_tests_pass() {
    let crate_ = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = crate_.ancestors().nth(2).expect("the workspace is two folders up");
    let target = target(root);
    let Some(python) = python() else {
        return unless_ci("there is no Python 3.11 or later; install one, or name it with SCGRAFT_PYTHON");
    };
    let environment = target.join("python-tests");
    let own = match environment_of(&python, &environment, root) {
        Ok(own) => own,
        Err(why) => return unless_ci(&why),
    };
    let wheel = build(&own, root, &target);
    let size = wheel.metadata().expect("the wheel was built").len();
    assert!(size < MOST_BYTES, "the wheel has {size} bytes");

    // Anndata alone is enough to use it.
    let plain = environment.join("plain");
    let alone = match plain_environment(&python, &plain, root) {
        Ok(alone) => alone,
        Err(why) => return unless_ci(&why),
    };
    for python in [&alone, &own] {
        succeed(pip(python).args(["install", "--quiet", "--no-deps", "--force-reinstall"]).arg(&wheel));
    }
    let try_it = "import scgraft as sg; sim = sg.datasets.simulate(n_reference=300, n_query=100); \
                  model = sg.train(sim.reference, model='scvi', batch_key='batch', max_epochs=1); \
                  assert model.get_latent_representation().shape == (300, 10)";
    succeed(Command::new(&alone).args(["-W", "ignore", "-c", try_it]).current_dir(&environment));

    let mut tests = Command::new(&own);
    tests.args(["-m", "pytest", "-p", "no:cacheprovider", "-q"]).arg(root.join("python/tests"));
    tests.current_dir(&environment).env("SCGRAFT_CLI", program(root, &target));
    succeed(&mut tests);
}

/// The largest that a wheel may be.
const MOST_BYTES: u64 = 60 << 20;

/// Says why nothing was tested; fails where `CI` is set.
fn unless_ci(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    use std::io::Write;
    let said = writeln!(std::io::stderr(), "the Python package was NOT tested: {why}");
    said.expect("standard error can be written to");
}

/// The folder that this test was built into.
fn target(root: &Path) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its file");
    let found = own.ancestors().find(|p| p.join("CACHEDIR.TAG").exists());
    found.map_or_else(|| root.join("target"), Path::to_owned)
}

/// A Python that is new enough.
fn python() -> Option<PathBuf> {
    let version = format!("import sys; sys.exit(sys.version_info < {LEAST:?})");
    let fits = |name: &OsStr| {
        let run = Command::new(name).args(["-c", &version]).output();
        run.is_ok_and(|o| o.status.success()).then(|| PathBuf::from(name))
    };
    if let Some(named) = std::env::var_os("SCGRAFT_PYTHON") {
        return fits(&named);
    }
    let names = ["python3.12", "python3.11", "python3.13", "python3.14", "python3", "python"];
    names.iter().find_map(|n| fits(OsStr::new(n)))
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn succeed(command: &mut Command) {
    let done = run(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{command:?}\n{}\n{}", text(&done.stdout), text(&done.stderr));
}

fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--disable-pip-version-check"]);
    command
}

/// The interpreter of an environment.
fn interpreter(environment: &Path) -> PathBuf {
    environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// An environment with the packages of a list, made anew when the list changed.
fn with_packages(python: &Path, environment: &Path, packages: &str) -> Result<PathBuf, String> {
    let own = interpreter(environment);
    let noted = environment.join("packages.txt");
    if own.exists() && std::fs::read_to_string(&noted).is_ok_and(|n| n == packages) {
        return Ok(own);
    }
    let made = run(Command::new(python).args(["-m", "venv", "--clear"]).arg(environment));
    if !made.status.success() {
        return Err(format!("no environment could be made: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let listed = environment.join("wanted.txt");
    std::fs::write(&listed, packages).map_err(|e| e.to_string())?;
    let installed = run(pip(&own).args(["install", "--quiet", "--prefer-binary", "-r"]).arg(&listed));
    if !installed.status.success() {
        let why = String::from_utf8_lossy(&installed.stderr).into_owned();
        return Err(format!("packages could not be installed: {why}"));
    }
    std::fs::write(noted, packages).map_err(|e| e.to_string())?;
    Ok(own)
}

fn wanted(root: &Path) -> String {
    std::fs::read_to_string(root.join("python/tests/requirements.txt")).expect("the list of packages is there")
}

/// The environment of the tests.
fn environment_of(python: &Path, folder: &Path, root: &Path) -> Result<PathBuf, String> {
    with_packages(python, &folder.join("environment"), &wanted(root))
}

/// An environment with anndata alone.
fn plain_environment(python: &Path, folder: &Path, root: &Path) -> Result<PathBuf, String> {
    let wanted = wanted(root);
    let anndata = wanted.lines().find(|l| l.starts_with("anndata==")).expect("anndata is in the list");
    with_packages(python, folder, anndata)
}

/// Builds the wheel, of what the workspace built already.
fn build(python: &Path, root: &Path, target: &Path) -> PathBuf {
    let out = target.join("python-tests/wheel");
    if out.exists() {
        std::fs::remove_dir_all(&out).expect("the old wheel can be removed");
    }
    let mut maturin = Command::new(python);
    maturin.args(["-m", "maturin", "build", "--profile", "dev", "--strip", "--locked"]);
    maturin.arg("--interpreter").arg(python).arg("--out").arg(&out).arg("--target-dir").arg(target);
    succeed(maturin.current_dir(root.join("python")));
    let wheels = std::fs::read_dir(&out).expect("the wheel's folder is there");
    let wheel = wheels.filter_map(Result::ok).map(|e| e.path()).find(|p| p.extension() == Some(OsStr::new("whl")));
    wheel.expect("a wheel was built")
}

/// The command line's program, built if it is not there.
fn program(root: &Path, target: &Path) -> PathBuf {
    let program = target.join("debug").join(if cfg!(windows) { "scgraft.exe" } else { "scgraft" });
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--locked", "--bin", "scgraft", "--workspace", "--target-dir"];
    succeed(Command::new(cargo).args(build).arg(target).current_dir(root));
    program
}
