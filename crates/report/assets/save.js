// Pictures and tables as files: made here, sent nowhere.

function save(name, type, content) {
  const link = make("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Colours that the page gives an SVG, written into it.
const settled = (svg) => svg.replace(/var\((--[a-z-]+)\)/g, (_, name) => css(name));

function png(name, svg) {
  const picture = new Image();
  picture.onload = () => {
    const canvas = make("canvas");
    canvas.width = 2 * picture.width;
    canvas.height = 2 * picture.height;
    const context = canvas.getContext("2d");
    context.fillStyle = css("--paper");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(name, "image/png", blob));
  };
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
}

// Two buttons below a picture; `svg` gives it as text.
function saveButtons(place, name, svg) {
  const buttons = make("p", "save");
  for (const [end, write] of [["svg", (n, s) => save(n, "image/svg+xml", s)], ["png", png]]) {
    const button = make("button", "", end.toUpperCase());
    button.type = "button";
    button.title = `Save this picture as ${end.toUpperCase()}`;
    button.addEventListener("click", () => write(`${name}.${end}`, svg()));
    buttons.append(button);
  }
  place.after(buttons);
}

function saveFigures() {
  for (const figure of document.querySelectorAll("figure")) {
    const shown = () => [...figure.querySelectorAll("svg")].find((s) => s.getBoundingClientRect().width) ?? figure.querySelector("svg");
    const name = shown().getAttribute("aria-label").replace(/[^\p{L}\p{N}]+/gu, "_").toLowerCase();
    saveButtons(figure.lastElementChild, name, () => settled(new XMLSerializer().serializeToString(shown()).replace("<svg", '<svg font-family="Inter, Helvetica, Arial, sans-serif"')));
  }
}

// A table as tab-separated text: all its rows, numbers as they are, all genes of a program; names of columns in snake case.
function tableText(table) {
  const plain = (text) => text.trim().replace(/\s+/g, " ");
  const head = [...table.tHead.rows[0].cells].map((c) => plain(c.textContent).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "_"));
  const rows = [...table.tBodies[0].rows].filter((row) => !row.classList.contains("more")).map((row) => [...row.cells].map((c) => {
    if (c.classList.contains("genes")) return data.genes[Number(row.dataset.i)].map((g) => g[0]).join(",");
    return c.dataset.v !== undefined ? c.dataset.v : plain(c.textContent);
  }));
  return [head, ...rows].map((row) => row.join("\t")).join("\n") + "\n";
}

function saveTable(table) {
  const buttons = make("p", "save");
  const button = make("button", "", "TSV");
  button.type = "button";
  button.title = "Save this table";
  button.addEventListener("click", () => save(`${table.dataset.name}.tsv`, "text/tab-separated-values", tableText(table)));
  buttons.append(button);
  table.closest(".scroll").after(buttons);
}
