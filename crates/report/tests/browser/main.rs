//! The report in a real browser: nothing overflows, nothing is logged, mouse and keyboard work.
//!
//! Needs Chromium and ChromeDriver; says so and passes where they are not installed, unless `CI` is set. With `SCGRAFT_SCREENSHOTS` set to
//! a folder, pictures of the page at every size are left there.

#![allow(clippy::print_stderr)] // A skipped test says so.

#[path = "../../examples/simulated/mod.rs"]
mod simulated;
mod webdriver;

use std::path::PathBuf;

use webdriver::Browser;

const SIZES: [(u32, u32); 3] = [(390, 844), (1024, 768), (1920, 1080)];

/// Elements that stick out of the window sideways and cannot be scrolled to within a box of their own.
const OVERFLOW: &str = "
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth > width) return ['page ' + document.documentElement.scrollWidth];
    return [...document.querySelectorAll('body *')].filter((e) => {
        const box = e.getBoundingClientRect();
        if (box.width === 0 || (box.right <= width + 1 && box.left >= -1)) return false;
        return !e.closest('.scroll, nav ul, .said, .skip, svg');
    }).map((e) => e.tagName + '#' + e.id + '.' + e.className + ' ' + e.getBoundingClientRect().right);";

/// Texts of a picture that leave it: cut labels.
const CUT: &str = "
    return [...document.querySelectorAll('figure svg')].flatMap((svg) => {
        const box = svg.getBoundingClientRect();
        if (box.width === 0) return [];
        return [...svg.querySelectorAll('text')].filter((t) => {
            const b = t.getBoundingClientRect();
            return b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1 || b.bottom > box.bottom + 1;
        }).map((t) => svg.getAttribute('aria-label') + ': ' + t.textContent);
    });";

fn screenshot(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("SCGRAFT_SCREENSHOTS") {
        std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), browser.screenshot()).unwrap();
    }
}

#[test]
fn the_report_in_a_browser() {
    let Some(browser) = Browser::start() else {
        assert!(std::env::var_os("CI").is_none(), "no Chromium and ChromeDriver: with CI set, nothing is skipped");
        eprintln!("skipped: Chromium and ChromeDriver are not installed");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    std::fs::write(&path, simulated::report(100_000).to_html().unwrap()).unwrap();
    browser.resize(1024, 768);
    browser.open(&format!("file://{}", path.display()));

    opens_fast_and_loads_nothing(&browser);
    names_are_only_text(&browser);
    fits_every_screen(&browser);
    the_map_answers(&browser);
    the_tables_answer(&browser);
    the_keyboard_reaches_everything(&browser);
    prints(&browser);
    assert_eq!(browser.console(), Vec::<String>::new(), "the console stays empty");
}

fn opens_fast_and_loads_nothing(browser: &Browser) {
    let ms =
        browser.run("const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd - t.startTime;");
    eprintln!("100,000 cells: loaded in {ms} ms");
    assert!(ms.as_f64().unwrap() < 15_000.0, "{ms} ms");
    let loaded = browser.run(
        "return performance.getEntriesByType('resource').map((r) => r.name).filter((n) => !n.startsWith('data:'));",
    );
    assert_eq!(loaded.as_array().unwrap().len(), 0, "{loaded}");
    assert_eq!(browser.run("return document.fonts.check('12px Inter');"), true, "the embedded font is used");
}

fn names_are_only_text(browser: &Browser) {
    // The simulated report has a study called `<b>Kang & "co"</b></script>`.
    assert_eq!(browser.run("return document.querySelectorAll('main b:not(.tile b)').length - document.querySelectorAll('.key b').length;"), 0);
    browser.run("const s = document.getElementById('map-color'); s.value = '1'; s.dispatchEvent(new Event('change'));");
    let key = browser.run("return document.getElementById('map-key').textContent;");
    assert!(key.as_str().unwrap().contains("<b>Kang & \"co\"</b></script>"), "{key}");
    browser.run("const s = document.getElementById('map-color'); s.value = '0'; s.dispatchEvent(new Event('change'));");
}

fn fits_every_screen(browser: &Browser) {
    for dark in [false, true] {
        browser.run(&format!("if ((document.documentElement.dataset.theme === 'dark') !== {dark}) document.getElementById('theme').click();"));
        for (width, height) in SIZES {
            browser.resize(width, height);
            let size = format!("{width}{}", if dark { "_dark" } else { "" });
            let out = browser.run_painted(OVERFLOW);
            assert_eq!(out.as_array().unwrap().len(), 0, "at {size}: {out}");
            let cut = browser.run(CUT);
            assert_eq!(cut.as_array().unwrap().len(), 0, "at {size}: {cut}");
            if std::env::var_os("SCGRAFT_SCREENSHOTS").is_none() {
                continue;
            }
            let ids = browser.run("return [...document.querySelectorAll('main > section')].map((s) => s.id);");
            for id in ids.as_array().unwrap() {
                browser.run(&format!("document.getElementById({id}).scrollIntoView();"));
                browser.run_painted("return 0;");
                screenshot(browser, &format!("{size}_{}", id.as_str().unwrap()));
            }
        }
    }
    browser.run("document.getElementById('theme').click();");
    browser.resize(1024, 768);
}

/// Number of pixels of the map that are not paper, and one of them in px of the window.
const DOTS: &str = "
    const canvas = document.getElementById('map-canvas');
    canvas.scrollIntoView({ block: 'center' });
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let n = 0, at = null;
    const middle = canvas.width * (canvas.height >> 1);
    for (let p = 0; p < canvas.width * canvas.height; p++) {
        if (data[4 * p] + data[4 * p + 1] + data[4 * p + 2] > 700) continue;
        n++;
        if (p > middle && !at) at = p;
    }
    const box = canvas.getBoundingClientRect();
    return [n, box.left + (at % canvas.width) / devicePixelRatio, box.top + Math.floor(at / canvas.width) / devicePixelRatio];";

fn the_map_answers(browser: &Browser) {
    let number = |v: &serde_json::Value, i: usize| v[i].as_f64().unwrap();
    let dots = browser.run_painted(DOTS);
    assert!(number(&dots, 0) > 20_000.0, "cells are drawn: {dots}");
    browser.point(number(&dots, 1), number(&dots, 2));
    let tip = browser.run("const t = document.getElementById('map-tip'); return t.hidden ? '' : t.innerText;");
    assert!(tip.as_str().unwrap().contains("cell-") && tip.as_str().unwrap().contains("study"), "{tip}");
    screenshot(browser, "hover");

    browser.run("document.querySelector('#map-key li button').click();");
    let less = browser.run_painted(DOTS);
    assert!(number(&less, 0) < number(&dots, 0), "a hidden category is gone: {less}");
    assert_eq!(
        browser.run("return document.querySelector('#map-key li button').getAttribute('aria-pressed');"),
        "false"
    );
    browser.run("document.querySelector('#map-key button').click();");

    let took = browser.run(
        "const s = document.getElementById('map-color'); const t = performance.now(); s.value = '3'; \
         s.dispatchEvent(new Event('change')); return performance.now() - t;",
    );
    eprintln!("100,000 cells: recoloured in {took} ms");
    assert!(took.as_f64().unwrap() < 4_000.0, "{took}");
    let key = browser.run("return document.getElementById('map-key').innerText;");
    assert!(key.as_str().unwrap().contains("INTERFERON_ALPHA_BETA_SIGNALING"), "{key}");

    browser.run("document.getElementById('map-canvas').focus();");
    browser.press("+");
    assert_eq!(browser.run_painted("return document.getElementById('map-canvas').className;"), "zoomed");
    screenshot(browser, "zoomed");
    browser.press("0");
    assert_eq!(browser.run_painted("return document.getElementById('map-canvas').className;"), "");
}

fn the_tables_answer(browser: &Browser) {
    // The fifth heading is the first test.
    browser.run("document.querySelectorAll('#program-table button.sort')[4].click();");
    let sorted = browser.run(
        "const rows = [...document.querySelectorAll('#program-table tbody tr')]; \
         return [document.querySelector('#program-table [aria-sort]').getAttribute('aria-sort'), \
                 rows.map((r) => Number(r.cells[4].dataset.v)).every((v, i, a) => i === 0 || a[i - 1] >= v)];",
    );
    assert_eq!(sorted, serde_json::json!(["descending", true]));
    let count = "return document.getElementById('program-count').textContent;";
    browser.run(
        "const f = document.getElementById('program-filter'); f.value = 'interferon'; f.dispatchEvent(new Event('input'));",
    );
    assert_eq!(browser.run(count), "3 of 282 programs");
    browser.run("document.querySelector('#program-table tbody tr:not([hidden]) button.open').click();");
    let genes = browser.run("return document.querySelectorAll('tr.more .bars > div').length;");
    assert!(genes.as_u64().unwrap() >= 12, "{genes}");
    browser.run("document.querySelector('tr.more').scrollIntoView({ block: 'center' });");
    screenshot(browser, "program");
    browser.run("document.querySelector('tr.more button').click();");
    assert_eq!(browser.run("return document.activeElement.id;"), "map-color");
    browser
        .run("const f = document.getElementById('program-filter'); f.value = ''; f.dispatchEvent(new Event('input'));");
}

fn the_keyboard_reaches_everything(browser: &Browser) {
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex');");
    let mut reached = Vec::new();
    for _ in 0..24 {
        browser.press("\u{e004}");
        let (name, ring) = {
            let v = browser.run(
                "const e = document.activeElement; \
                 return [e.id || e.className || e.textContent, getComputedStyle(e).outlineStyle];",
            );
            (v[0].as_str().unwrap().to_owned(), v[1].as_str().unwrap().to_owned())
        };
        assert_ne!(ring, "none", "{name} shows that it has the focus");
        reached.push(name);
    }
    assert_eq!(reached[0], "skip", "{reached:?}");
    assert_eq!(reached[1], "theme", "{reached:?}");
    for id in ["map-color", "map-labels", "map-in", "map-canvas"] {
        assert!(reached.iter().any(|r| r == id), "{id} in {reached:?}");
    }
    let nameless = browser.run(
        "return [...document.querySelectorAll('button, select, input, a, canvas, svg[role]')].filter((e) => \
         !(e.textContent.trim() || e.getAttribute('aria-label') || e.closest('label'))).map((e) => e.outerHTML.slice(0, 80));",
    );
    assert_eq!(nameless.as_array().unwrap().len(), 0, "{nameless}");
}

fn prints(browser: &Browser) {
    let pdf =
        browser.chromium("Page.printToPDF", serde_json::json!({ "printBackground": true, "preferCSSPageSize": true }));
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(pdf["data"].as_str().unwrap()).unwrap();
    assert!(bytes.starts_with(b"%PDF"));
    if let Some(folder) = std::env::var_os("SCGRAFT_SCREENSHOTS") {
        std::fs::write(PathBuf::from(folder).join("report.pdf"), bytes).unwrap();
    }
}
