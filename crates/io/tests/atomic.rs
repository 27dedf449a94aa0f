//! Files are there whole or not at all.

use std::io::{self, Write};

use scgraft_io::{AtomicFile, Error, atomic_write};

fn entries(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_error_inside_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let broken = |w: &mut AtomicFile| {
        w.write_all(b"half")?;
        Err(io::Error::other("stopped"))
    };
    let error = atomic_write(&path, broken).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("stopped"), "{error}");
    assert!(entries(folder.path()).is_empty());
    std::fs::write(&path, "before").unwrap();
    assert!(atomic_write(&path, broken).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"before");
    atomic_write(&path, |w| w.write_all(b"after")).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"after");
    assert_eq!(entries(folder.path()), ["model"]);
}

/// In a process of its own, which writes nothing any more afterwards: this test again, told so by a variable.
#[test]
fn what_is_given_up_is_not_put_in_place() {
    const FOLDER: &str = "SCGRAFT_TEST_ABANDON";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = std::path::PathBuf::from(folder);
        atomic_write(folder.join("first"), |w| w.write_all(b"whole")).unwrap();
        let mut half = AtomicFile::create(folder.join("second")).unwrap();
        half.write_all(b"half").unwrap();
        assert_eq!(entries(&folder).len(), 2);
        scgraft_io::abandon();
        // Waits for the end of the process.
        std::thread::spawn(move || half.commit());
        std::thread::sleep(std::time::Duration::from_millis(100));
        std::process::exit(77);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "what_is_given_up_is_not_put_in_place"]).env(FOLDER, folder.path());
    assert_eq!(again.output().unwrap().status.code(), Some(77));
    assert_eq!(entries(folder.path()), ["first"]);
}

#[test]
fn a_panic_inside_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let result = std::panic::catch_unwind(|| atomic_write(&path, |_| panic!("on purpose")));
    assert!(result.is_err());
    assert!(entries(folder.path()).is_empty());
}

/// The test starts itself again as a child that writes without end, and kills it.
#[test]
fn a_killed_process_leaves_no_final_file() {
    const CHILD: &str = "SCGRAFT_IO_TEST_CHILD";
    if let Ok(path) = std::env::var(CHILD) {
        let result = atomic_write(path, |w| {
            loop {
                w.write_all(&[7; 4096])?;
                w.flush()?;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        panic!("the child went on: {result:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_leaves_no_final_file"])
        .env(CHILD, &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let started = std::time::Instant::now();
    while entries(folder.path()).is_empty() {
        assert!(started.elapsed().as_secs() < 60, "the child never began to write");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!path.exists());
    assert!(entries(folder.path()).iter().all(|n| n.ends_with(".partial")));
    // The next run of the same output tidies up; what belongs to another file or is no leftover stays.
    let others = [".other.1-0.partial", ".model.partial", ".model.notes-0.partial"];
    others.iter().for_each(|n| std::fs::write(folder.path().join(n), "").unwrap());
    atomic_write(&path, |w| w.write_all(b"whole")).unwrap();
    let mut left = [&others[..], &["model"]].concat();
    left.sort_unstable();
    assert_eq!(entries(folder.path()), left);
}

#[test]
fn two_writers_of_one_file_leave_each_other_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let mut first = AtomicFile::create(&path).unwrap();
    let mut second = AtomicFile::create(&path).unwrap();
    first.write_all(b"first").unwrap();
    second.write_all(b"second").unwrap();
    second.commit().unwrap();
    first.commit().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"first");
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_yet_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("real")).unwrap();
    let (file, link) = (folder.path().join("real/file"), folder.path().join("link"));
    std::os::unix::fs::symlink("real/file", &link).unwrap();
    atomic_write(&link, |w| w.write_all(b"through")).unwrap();
    assert!(link.is_symlink());
    assert_eq!(std::fs::read(&file).unwrap(), b"through");
}

#[cfg(unix)]
#[test]
fn permissions_and_links_are_kept() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    std::fs::write(&file, "before").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    atomic_write(&link, |w| w.write_all(b"after")).unwrap();
    assert!(link.is_symlink());
    assert_eq!(std::fs::read(&file).unwrap(), b"after");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(AtomicFile::create(folder.path().join("no/where")), Err(Error::Io { action: "create", .. })));
    assert!(matches!(AtomicFile::create(folder.path()), Err(Error::Io { .. })));
}

#[test]
fn several_files_appear_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let there = || std::fs::read_dir(folder.path()).unwrap().count();
    let failed: Result<(), scgraft_io::Error> = scgraft_io::together(|| {
        scgraft_io::write_bytes(&a, b"1")?;
        assert!(!a.exists());
        scgraft_io::write_bytes(folder.path(), b"a folder is no file")
    });
    assert!(failed.is_err());
    assert_eq!(there(), 0);
    let panicked = std::panic::catch_unwind(|| {
        let _: Result<(), scgraft_io::Error> = scgraft_io::together(|| {
            scgraft_io::write_bytes(&a, b"1")?;
            panic!("on purpose")
        });
    });
    assert!(panicked.is_err());
    assert_eq!(there(), 0);
    let done: Result<(), scgraft_io::Error> = scgraft_io::together(|| {
        scgraft_io::write_bytes(&a, b"1")?;
        scgraft_io::together(|| scgraft_io::write_bytes(&b, b"2"))?;
        assert_eq!((a.exists(), b.exists()), (false, false));
        Ok(())
    });
    done.unwrap();
    assert_eq!((std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap()), (b"1".to_vec(), b"2".to_vec()));
    scgraft_io::write_bytes(&a, b"3").unwrap();
    assert_eq!((std::fs::read(&a).unwrap(), there()), (b"3".to_vec(), 2));
}
