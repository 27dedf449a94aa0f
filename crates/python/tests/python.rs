//! The Python package, as a user gets it: a wheel is built and installed into an environment of its own, and the package's
//! tests run there.
//!
//! Without a Python, or without the packages of `python/tests/requirements.txt`, this test says so and passes, except where
//! `CI` is set.

mod environments;
#[path = "../../hub/tests/server/mod.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;

use environments::{
    build, environment, full, pip, program, python, root, succeed, target, unless_ci, wanted, with_packages,
};

#[test]
fn the_wheel_installs_and_its_tests_pass() {
    let (root, target) = (root(), target(root()));
    let (own, alone) = match full(root, &target).and_then(|own| Ok((own, plain(root, &target)?))) {
        Ok(both) => both,
        Err(why) => return unless_ci("the Python package", &why),
    };
    let wheel = build(&own, root, &target);
    let size = wheel.metadata().expect("the wheel was built").len();
    assert!(size < MOST_BYTES, "the wheel has {size} bytes");
    for python in [&alone, &own] {
        succeed(pip(python).args(["install", "--quiet", "--no-deps", "--force-reinstall"]).arg(&wheel));
    }
    // Anndata alone is enough to use it.
    let try_it = "import scgraft as sg; sim = sg.datasets.simulate(n_reference=300, n_query=100); \
                  model = sg.train(sim.reference, model='scvi', batch_key='batch', max_epochs=1); \
                  assert model.get_latent_representation().shape == (300, 10)";
    succeed(Command::new(&alone).args(["-W", "ignore", "-c", try_it]).current_dir(&target));

    // Services that models are sent to and fetched from.
    let ((zenodo, _records), hub) = (server::zenodo::start(), server::huggingface::start());
    let mut tests = Command::new(&own);
    tests.env("SCGRAFT_ZENODO_URL", &zenodo.url).env("SCGRAFT_HF_URL", &hub.api.url);
    tests.env("SCGRAFT_TEST_TOKENS", format!("{} {}", server::zenodo::TOKEN, server::huggingface::TOKEN));
    tests.args(["-m", "pytest", "-p", "no:cacheprovider", "-q"]).arg(root.join("python/tests"));
    tests.current_dir(&target).env("SCGRAFT_CLI", program(root, &target));
    succeed(&mut tests);
}

/// The largest that a wheel may be.
const MOST_BYTES: u64 = 60 << 20;

/// An environment with anndata alone.
fn plain(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let wanted = wanted(root);
    let anndata = wanted.lines().find(|l| l.starts_with("anndata==")).expect("anndata is in the list");
    with_packages(&python()?, &environment(target, "plain"), anndata)
}
