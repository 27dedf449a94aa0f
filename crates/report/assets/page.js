// The page: light and dark, the section one is in, one test at a time, paper.

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  const button = byId("theme");
  button.setAttribute("aria-pressed", String(dark));
  if (view.map) {
    key();
    draw();
  }
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
theme(prefersDark.matches);
prefersDark.addEventListener("change", (e) => theme(e.matches));
byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));

startMap();
startTables();
saveFigures();

// What the first screen names is shown on the map.
for (const link of document.querySelectorAll("a[data-color]")) {
  link.addEventListener("click", () => showColor(link.dataset.color));
}

const test = byId("test");
if (test) {
  const cards = [...document.querySelectorAll(".card.test")];
  const show = () => cards.forEach((card, i) => { card.hidden = i !== Number(test.value); });
  test.addEventListener("change", show);
  show();
}

const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const sections = [...document.querySelectorAll("main > section")];
let waiting = false;
function mark() {
  waiting = false;
  const at = sections.filter((s) => s.getBoundingClientRect().top < innerHeight * 0.3).pop() ?? sections[0];
  const end = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const current = end && scrollY > 0 ? sections[sections.length - 1] : at;
  for (const [id, link] of links) {
    if (id === current.id) {
      if (link.hasAttribute("aria-current")) continue;
      link.setAttribute("aria-current", "true");
      const list = link.closest("ul");
      list.scrollLeft = link.offsetLeft - list.offsetLeft - list.clientWidth / 2 + link.offsetWidth / 2;
    } else link.removeAttribute("aria-current");
  }
}
addEventListener("scroll", () => {
  if (!waiting) requestAnimationFrame(mark);
  waiting = true;
}, { passive: true });
mark();

for (const when of ["beforeprint", "afterprint"]) addEventListener(when, () => { if (view.map) { key(); draw(); } });
