//! Environments of Python under `target/`, the wheel, and the program, for tests.
//!
//! A Python of 3.11 or later is needed (`SCGRAFT_PYTHON` names one; else `python3.12`, …, `python3` are tried). Its packages are
//! those of `python/tests/requirements.txt`; `SCGRAFT_PYTHON_PACKAGES=newest` takes `requirements-newest.txt`, in environments
//! of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LEAST: (u32, u32) = (3, 11);

/// Says why nothing was tested; fails where `CI` is set.
pub(crate) fn unless_ci(what: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    use std::io::Write;
    let said = writeln!(std::io::stderr(), "{what} was NOT tested: {why}");
    said.expect("standard error can be written to");
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace is two folders up")
}

/// The folder that this test was built into.
pub(crate) fn target(root: &Path) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its file");
    let found = own.ancestors().find(|p| p.join("CACHEDIR.TAG").exists());
    found.map_or_else(|| root.join("target"), Path::to_owned)
}

/// A Python that is new enough.
pub(crate) fn python() -> Result<PathBuf, String> {
    let version = format!("import sys; sys.exit(sys.version_info < {LEAST:?})");
    let fits = |name: &OsStr| {
        let run = Command::new(name).args(["-c", &version]).output();
        run.is_ok_and(|o| o.status.success()).then(|| PathBuf::from(name))
    };
    let named = std::env::var_os("SCGRAFT_PYTHON");
    let names = ["python3.12", "python3.11", "python3.13", "python3.14", "python3", "python"];
    let found = match &named {
        Some(name) => fits(name),
        None => names.iter().find_map(|n| fits(OsStr::new(n))),
    };
    found.ok_or_else(|| "there is no Python 3.11 or later; install one, or name it with SCGRAFT_PYTHON".into())
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Runs it; what it said is the message if it fails.
pub(crate) fn succeed(command: &mut Command) {
    let done = run(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{command:?}\n{}\n{}", text(&done.stdout), text(&done.stderr));
}

/// `pip` of an interpreter.
pub(crate) fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--disable-pip-version-check"]);
    command
}

/// The interpreter of an environment.
fn interpreter(environment: &Path) -> PathBuf {
    environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// An environment with the packages of a list, made anew when the list changed.
pub(crate) fn with_packages(python: &Path, environment: &Path, packages: &str) -> Result<PathBuf, String> {
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

/// The list of packages that was asked for, as files and folders end: nothing, or `-newest`.
fn packages() -> String {
    std::env::var("SCGRAFT_PYTHON_PACKAGES").map_or_else(|_| String::new(), |name| format!("-{name}"))
}

/// What the tests of the package need.
pub(crate) fn wanted(root: &Path) -> String {
    let list = root.join(format!("python/tests/requirements{}.txt", packages()));
    std::fs::read_to_string(&list).unwrap_or_else(|e| panic!("{}: {e}", list.display()))
}

/// The folder of an environment of the tests.
pub(crate) fn environment(target: &Path, name: &str) -> PathBuf {
    target.join(format!("python-tests/{name}{}", packages()))
}

/// The environment of the package's tests and of the book.
pub(crate) fn full(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let book = std::fs::read_to_string(root.join("docs/requirements.txt")).expect("the list of packages is there");
    with_packages(&python()?, &environment(target, "environment"), &(wanted(root) + &book))
}

/// Builds the wheel, of what the workspace built already.
pub(crate) fn build(python: &Path, root: &Path, target: &Path) -> PathBuf {
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
pub(crate) fn program(root: &Path, target: &Path) -> PathBuf {
    let program = target.join("debug").join(if cfg!(windows) { "scgraft.exe" } else { "scgraft" });
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--locked", "--bin", "scgraft", "--workspace", "--target-dir"];
    succeed(Command::new(cargo).args(build).arg(target).current_dir(root));
    program
}
