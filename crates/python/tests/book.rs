//! The book in `docs/`: it builds without a warning, every link within it leads somewhere, and its notebooks run on the wheel
//! as a user gets it.
//!
//! Without a Python, or without the packages of `docs/requirements.txt`, this test says so and passes, except where `CI` is set.
//! The pages are in `target/book/html` afterwards.

mod environments;

use std::path::Path;
use std::process::Command;

use environments::{build, full, pip, program, root, succeed, target, unless_ci};

#[test]
fn the_book_builds() {
    let (root, target) = (root(), target(root()));
    let python = match full(root, &target) {
        Ok(python) => python,
        Err(why) => return unless_ci("the book", &why),
    };
    let wheel = build(&python, root, &target);
    succeed(pip(&python).args(["install", "--quiet", "--no-deps", "--force-reinstall"]).arg(&wheel));
    let program = program(root, &target);
    let html = target.join("book/html");
    let mut sphinx = Command::new(&python);
    // Warnings are errors, unknown references are warnings; every page is read anew.
    sphinx.args(["-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-E", "-d"]).arg(target.join("book/doctrees"));
    sphinx.arg(root.join("docs")).arg(&html).current_dir(root).env("SCGRAFT_CLI", program);
    succeed(&mut sphinx);
    let pages = ["index", "start", "api/models", "methods/expimap", "notebooks/stimulated"];
    for page in pages {
        let text = read(&html.join(format!("{page}.html")));
        assert!(text.contains("</article>"), "{page} is no page");
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}
