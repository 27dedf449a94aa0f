//! The report in a real browser: nothing overflows, nothing is logged, mouse and keyboard work.
//!
//! Needs Chromium and ChromeDriver; says so and passes where they are not installed, unless `CI` is set. With `SCGRAFT_SCREENSHOTS` set to
//! a folder, pictures of the page at every size are left there.

#![allow(clippy::print_stderr)] // A skipped test says so.

#[path = "../../examples/simulated/mod.rs"]
mod simulated;
mod webdriver;

use std::path::PathBuf;

use serde_json::json;

use webdriver::Browser;

const SIZES: [(u32, u32); 4] = [(390, 844), (1000, 768), (1600, 1000), (1920, 1080)];

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
    the_first_screen_answers(&browser);
    names_are_only_text(&browser);
    fits_every_screen(&browser);
    the_map_answers(&browser);
    cells_are_selected_and_saved(&browser, folder.path());
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

/// What one reads before scrolling: what differs, which cells, how good, what next; and how long the page is.
fn the_first_screen_answers(browser: &Browser) {
    let text = |id: &str| {
        let text = browser.run(&format!("return document.getElementById('{id}').innerText.replace(/\\s+/g, ' ');"));
        text.as_str().unwrap().to_owned()
    };
    let difference = text("answer-difference");
    for part in [
        "What differs in stimulated (1,490 cells), against control (1,310 cells)?",
        "9 gene programs differ, of 212 tested: 7 higher, 2 lower",
        "INTERFERON_ALPHA_BETA_SIGNALING 4.3 ▲ higher in 10 of 10 types · p 3×10⁻⁵ over 8 and 8 donors · genes up: ISG15, IFI6, MX1",
        "−3.1 ▼ lower in 4 of 10 types · genes down",
        "direction of its genes not known",
    ] {
        assert!(difference.contains(part), "{part}: {difference}");
    }
    assert!(text("answer-mapping").contains("Good enough, with a caution"), "the worst criterion is the verdict");
    assert!(text("answer-types").contains("212 cells are unknown"));
    browser.resize(1600, 1000);
    let fits = browser.run_painted(
        "return ['answer-difference', 'answer-mapping'].map((id) => document.getElementById(id).getBoundingClientRect().bottom);",
    );
    assert!(fits.as_array().unwrap().iter().all(|v| v.as_f64().unwrap() < 1000.0), "on the first screen: {fits}");
    let height = browser.run_painted("return document.documentElement.scrollHeight;");
    eprintln!("1600 px wide: {height} px high");
    assert!(height.as_f64().unwrap() < 6000.0, "{height}");
    browser.resize(1024, 768);
    browser.run("document.querySelector('#answer-next a').click();");
    let shown =
        browser.run_painted("const s = document.getElementById('map-color'); return s.selectedOptions[0].textContent;");
    assert_eq!(shown, "INTERFERON_SIGNALING", "what is named is shown on the map");
    browser.run("const s = document.getElementById('map-color'); s.value = '0'; s.dispatchEvent(new Event('change'));");
}

/// A line around cells selects them; their names, a table and a picture are saved.
fn cells_are_selected_and_saved(browser: &Browser, folder: &std::path::Path) {
    let downloads = json!({ "behavior": "allow", "downloadPath": folder });
    browser.chromium("Browser.setDownloadBehavior", downloads);
    browser.run(
        "window.saved = []; const make = URL.createObjectURL.bind(URL); \
         URL.createObjectURL = (b) => { b.text().then((t) => saved.push(t)); return make(b); };",
    );
    let saved = || -> Vec<String> {
        browser.run_painted("return 0;");
        let texts = browser.run("const s = window.saved; window.saved = []; return s;");
        texts.as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect()
    };
    browser.run("document.getElementById('map-reset').click(); document.getElementById('map-select').click();");
    let box_ = browser.run_painted(
        "const c = document.getElementById('map-canvas'); c.scrollIntoView({ block: 'center' }); \
         const b = c.getBoundingClientRect(); return [b.left, b.top, b.width, b.height];",
    );
    let at = |x: f64, y: f64| {
        let v = |i: usize| box_[i].as_f64().unwrap();
        (v(0) + x * v(2), v(1) + y * v(3))
    };
    browser.drag(&[at(0.3, 0.3), at(0.7, 0.3), at(0.7, 0.7), at(0.3, 0.7), at(0.3, 0.3)]);
    let n = browser.run_painted("return document.getElementById('map-count').textContent;");
    let n: usize = n.as_str().unwrap().replace(',', "").replace(" cells", "").parse().unwrap();
    assert!(n > 1_000 && n < 99_000, "{n} cells in the middle of the map");
    screenshot(browser, "selected");
    browser.run("document.getElementById('map-export').click();");
    let table = saved().remove(0);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines.len(), lines[0]), (n + 1, "cell\tdata\tINTERFERON_ALPHA_BETA_SIGNALING"));
    for line in &lines[1..] {
        let fields: Vec<&str> = line.split('\t').collect();
        let i: usize = fields[0].strip_prefix("cell-").unwrap().parse().unwrap();
        // The first third of the simulated cells is the reference's.
        assert_eq!(fields[1], if i < 100_000 / 3 { "reference" } else { "query" });
    }
    browser.run("document.getElementById('map-clear').click();");
    assert_eq!(browser.run("return document.getElementById('map-taken').hidden;"), true);
    browser.run("document.querySelector('.test .save button').click();");
    let svg = saved().remove(0);
    assert!(svg.starts_with("<svg") && svg.contains("log Bayes factor") && !svg.contains("var("), "{}", &svg[..200]);
    browser.run("document.querySelector('#programs .scroll + .save button').click();");
    let table = saved().remove(0);
    assert_eq!(table.lines().count(), 283, "all programs, also those that are not shown");
    assert!(table.starts_with("program\tall_cells\t"), "{}", &table[..120]);
}

fn names_are_only_text(browser: &Browser) {
    // The simulated report has a study called `<b>Kang & "co"</b></script>`.
    let kang =
        "return [...document.querySelectorAll('main b')].filter((b) => b.textContent.startsWith('Kang')).length;";
    assert_eq!(browser.run(kang), 0);
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
    // The second heading is the first test.
    browser.run("document.querySelectorAll('#program-table button.sort')[1].click();");
    let sorted = browser.run(
        "const rows = [...document.querySelectorAll('#program-table tbody tr')]; \
         return [document.querySelector('#program-table [aria-sort]').getAttribute('aria-sort'), \
                 rows.map((r) => Number(r.cells[1].dataset.v)).every((v, i, a) => i === 0 || a[i - 1] >= v)];",
    );
    assert_eq!(sorted, serde_json::json!(["descending", true]));
    let count = "return document.getElementById('program-count').textContent;";
    let rows = "return document.querySelectorAll('#program-table tbody tr:not([hidden])').length;";
    assert_eq!(browser.run(rows), 25);
    browser.run("document.getElementById('program-more').click();");
    assert_eq!(browser.run(rows), 212, "all active programs");
    browser.run("document.getElementById('program-more').click();");
    let strong = "const f = document.getElementById('program-strong'); f.click(); \
        return [...document.querySelectorAll('#program-table tbody tr:not([hidden])')].map((row) => \
            Math.max(...[...document.querySelectorAll('#program-table .test-column')].map((head) => \
                Math.abs(Number(row.cells[head.cellIndex].dataset.v ?? 0)))));";
    let shown = browser.run(strong);
    let weakest = shown.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).fold(f64::MAX, f64::min);
    assert!(weakest.is_finite() && (2.3..f64::MAX).contains(&weakest), "{shown}");
    browser.run("document.getElementById('program-strong').click();");
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
    // Names are for categories.
    browser.run("const s = document.getElementById('map-color'); s.value = '0'; s.dispatchEvent(new Event('change'));");
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex');");
    let mut reached = Vec::new();
    for _ in 0..70 {
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
