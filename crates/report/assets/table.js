// Tables: sorting by their headings, the filter of the programs, genes on request.

function startTables() {
  for (const table of document.querySelectorAll("table.sorted")) {
    saveTable(table);
    table.querySelectorAll("button.sort").forEach((button) => {
      button.addEventListener("click", () => sortBy(table, button.closest("th")));
    });
  }
  startPrograms();
}

// Numbers start with the greatest, words with the first; empty cells stay last either way.
function sortBy(table, head) {
  const column = head.cellIndex;
  const numeric = head.classList.contains("num");
  const before = head.getAttribute("aria-sort");
  const down = before ? before === "ascending" : numeric;
  table.querySelectorAll("[aria-sort]").forEach((h) => h.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  body.querySelectorAll("tr.more").forEach((row) => close(row.previousElementSibling));
  const value = (row) => {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    return numeric ? NaN : cell.textContent.trim();
  };
  const rows = [...body.rows].map((row) => [value(row), row]);
  rows.sort(([a], [b]) => {
    const none = Number.isNaN(a) - Number.isNaN(b);
    if (none) return none;
    const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
    return down ? -order : order;
  });
  body.append(...rows.map(([, row]) => row));
  table.dispatchEvent(new Event("sorted"));
}

function close(row) {
  row.querySelector("button.open").setAttribute("aria-expanded", "false");
  if (row.nextElementSibling?.classList.contains("more")) row.nextElementSibling.remove();
}

// The genes of a program as bars, and a way to see its score on the map.
function open(row) {
  const genes = data.genes[Number(row.dataset.i)];
  const button = row.querySelector("button.open");
  button.setAttribute("aria-expanded", "true");
  const more = make("tr", "more");
  const cell = make("td");
  cell.colSpan = row.cells.length;
  const name = button.textContent;
  data.maps.filter((map) => map.colors.some((color) => color.name === name)).slice(0, 1).forEach((map) => {
    const show = make("button", "", data.maps.length > 1 ? `Show on ${map.name}` : "Show on the map");
    show.type = "button";
    show.addEventListener("click", () => {
      showColor(name);
      byId("cells").scrollIntoView();
      byId("map-color").focus({ preventScroll: true });
    });
    cell.append(show);
  });
  // Bars start at 0: to the right where the weight is positive, to the left where it is negative.
  const high = Math.max(...genes.map((g) => g[1]), 0);
  const low = Math.min(...genes.map((g) => g[1]), 0);
  const span = Math.max(high - low, 1e-12);
  const bars = make("div", "bars");
  for (const [gene, weight, added] of genes) {
    const line = make("div", added ? "added" : "");
    const bar = make("span");
    const fill = make("i");
    fill.style.width = `${(100 * Math.abs(weight)) / span}%`;
    fill.style.marginLeft = `${(100 * (Math.min(weight, 0) - low)) / span}%`;
    if (weight < 0) fill.className = "negative";
    bar.append(fill);
    line.append(make("span", "", gene), bar, make("span", "num", written(weight)));
    if (added) line.firstChild.append(make("span", "said", " (added)"));
    bars.append(line);
  }
  cell.append(bars);
  const hidden = data.numberOfGenes[Number(row.dataset.i)] - genes.length;
  if (hidden > 0) cell.append(make("p", "quiet", `and ${hidden} genes of smaller weight`));
  more.append(cell);
  row.after(more);
}

// So many programs show before one asks for the rest.
const ROWS = 25;

function startPrograms() {
  const table = byId("program-table");
  if (!table) return;
  const allRows = () => [...table.tBodies[0].rows].filter((row) => !row.classList.contains("more"));
  const words = new Map(allRows().map((row) => {
    const genes = data.genes[Number(row.dataset.i)].map((g) => g[0]).join(" ");
    return [row, `${row.cells[0].textContent} ${genes}`.toLowerCase()];
  }));
  const more = byId("program-more");
  let all = false;
  const threshold = Number(byId("program-strong")?.dataset.threshold ?? 0);
  const tests = [...table.tHead.rows[0].cells].filter((head) => head.classList.contains("test-column"));
  const strongest = (row) => Math.max(0, ...tests.map((test) => Math.abs(Number(row.cells[test.cellIndex].dataset.v ?? 0))));
  const filter = () => {
    const wanted = byId("program-filter").value.trim().toLowerCase();
    let found = 0;
    allRows().forEach((row) => {
      const fits =
        words.get(row).includes(wanted) &&
        (!byId("program-active").checked || row.dataset.active === "1") &&
        (!byId("program-strong")?.checked || strongest(row) >= threshold);
      found += fits;
      const keep = fits && (all || found <= ROWS);
      if (!keep) close(row);
      row.hidden = !keep;
    });
    byId("program-count").textContent = `${found} of ${words.size} programs`;
    more.hidden = found <= ROWS;
    more.textContent = all ? `Show the first ${ROWS}` : `Show all ${found}`;
  };
  more.addEventListener("click", () => { all = !all; filter(); });
  table.addEventListener("sorted", filter);
  byId("program-filter").addEventListener("input", filter);
  byId("program-active").addEventListener("change", filter);
  byId("program-strong")?.addEventListener("change", filter);
  table.addEventListener("click", (event) => {
    const button = event.target.closest("button.open");
    if (!button) return;
    const row = button.closest("tr");
    if (button.getAttribute("aria-expanded") === "true") close(row);
    else open(row);
  });
  filter();
}
