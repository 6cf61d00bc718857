"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const text = (number) => data.texts[number];
  const make = (tag, words, ...children) => {
    const node = document.createElement(tag);
    if (words) node.textContent = words;
    node.append(...children);
    return node;
  };

  // -- a table that is wider than its place can be reached and scrolled by keyboard -----------------
  const watchWidth = new ResizeObserver((changes) => {
    for (const { target } of changes) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const scroll of document.querySelectorAll(".scroll")) watchWidth.observe(scroll);

  // -- bits: where in the register a field lies ---------------------------------------------------
  const strip = (words) => {
    const [high, low] = [words.split(":")[0], words.split(":").pop()].map(Number);
    const ruler = make("span", "", make("i", ""));
    ruler.className = "strip";
    ruler.setAttribute("aria-hidden", "true");
    ruler.firstChild.style.left = `${((63 - high) / 64) * 100}%`;
    ruler.firstChild.style.width = `${((high - low + 1) / 64) * 100}%`;
    return ruler;
  };
  for (const cell of document.querySelectorAll("td.bits")) cell.append(strip(cell.textContent));

  // -- the reasons behind one answer --------------------------------------------------------------
  const drawCell = (heading, words, first) => {
    const cell = make(first ? "th" : "td", words);
    if (first) cell.scope = "row";
    if (heading === data.bits && words) {
      cell.className = "bits";
      cell.append(strip(words));
    }
    return cell;
  };
  const drawTable = (table) => {
    const headings = table.headings.map(text);
    const head = headings.some(Boolean)
      ? [make("thead", "", make("tr", "", ...headings.map((words) => Object.assign(make("th", words), { scope: "col" }))))]
      : [];
    const rows = table.rows.map((row) =>
      make("tr", "", ...row.map((word, n) => drawCell(headings[n], text(word), n === 0))));
    const scroll = make("div", "", make("table", "", ...head, make("tbody", "", ...rows)));
    scroll.className = "scroll";
    scroll.setAttribute("role", "group");
    scroll.setAttribute("aria-label", text(table.heading));
    watchWidth.observe(scroll);
    return scroll;
  };
  const draw = (table) => {
    const parts = [make("h3", text(table.heading)), ...table.lines.map((line) => make("p", text(line)))];
    if (table.rows.length) parts.push(drawTable(table));
    if (text(table.more)) parts.push(Object.assign(make("p", text(table.more)), { className: "more" }));
    return parts;
  };

  const dialog = document.getElementById("reasons");
  const open = (button) => {
    const [y, x] = button.dataset.at.split(" ").map(Number);
    const tables = data.cells[y][x];
    document.getElementById("reasons-title").textContent = button.querySelector(".unseen").textContent.trim();
    const body = document.getElementById("reasons-body");
    body.replaceChildren(...tables.flatMap((number) => draw(data.tables[number])));
    if (!tables.length) body.append(make("p", "There is nothing more to say."));
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });

  // -- the matrix: one stop for Tab, arrows inside -------------------------------------------------
  const grid = document.getElementById("grid");
  if (grid) {
    const at = new Map();
    const buttons = [...grid.querySelectorAll("button[data-at]")];
    for (const button of buttons) at.set(button.dataset.at, button);
    let current = buttons[0];
    if (current) current.tabIndex = 0;
    const go = (button) => {
      current.tabIndex = -1;
      current = button;
      current.tabIndex = 0;
      current.focus();
    };
    const [height, width] = [data.cells.length, data.cells.length ? data.cells[0].length : 0];
    const beyond = (dy, dx) => {
      let [y, x] = current.dataset.at.split(" ").map(Number);
      for (;;) {
        y += dy;
        x += dx;
        if (y < 0 || x < 0 || y >= height || x >= width) return null;
        const found = at.get(`${y} ${x}`);
        if (found) return found;
      }
    };
    const ends = (first) => {
      const row = current.closest("tr").querySelectorAll("button");
      return row[first ? 0 : row.length - 1];
    };
    const keys = {
      ArrowUp: () => beyond(-1, 0),
      ArrowDown: () => beyond(1, 0),
      ArrowLeft: () => beyond(0, -1),
      ArrowRight: () => beyond(0, 1),
      Home: () => ends(true),
      End: () => ends(false),
    };
    grid.addEventListener("keydown", (event) => {
      if (!keys[event.key] || !event.target.matches("button")) return;
      event.preventDefault();
      const next = keys[event.key]();
      if (next) go(next);
    });
    grid.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-at]");
      if (!button) return;
      go(button);
      open(button);
    });
  }

  // -- on paper everything is unfolded -------------------------------------------------------------
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details:not([open])")];
    for (const one of unfolded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of unfolded) one.open = false;
  });
})();
