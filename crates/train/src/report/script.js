"use strict";
(() => {
 const doc = document, all = (q, e = doc) => [...e.querySelectorAll(q)];
 const make = (tag, cls, text, into) => {
  const e = doc.createElement(tag);
  e.className = cls;
  e.textContent = text;
  if (into) into.append(e);
  return e;
 };
 const button = (text, into, act) => {
  const b = make("button", "", text, into);
  b.type = "button";
  b.onclick = () => act(b);
 };
 doc.documentElement.dataset.live = 1;

 // values under the pointer
 const numbers = text => text ? text.split(" ").map(v => v === "-" ? NaN : +v) : [];
 const scale = text => {
  const [low, high, log] = numbers(text), f = log ? Math.log10 : v => v, a = f(low), b = f(high);
  return v => (f(v) - a) / (b - a);
 };
 const show = v => isNaN(v) ? "–" : String(v).replace(/-/g, "−");
 for (const chart of all(".chart")) {
  const box = chart.querySelector(".box"), column = chart.dataset.h === "x";
  let series, tip, line;
  const start = () => {
   const x = scale(chart.dataset.x), y = scale(chart.dataset.y);
   series = all("[data-x]", box).map(e => {
    const d = e.dataset, xs = numbers(d.x), ys = numbers(d.y);
    return { name: d.n, xs, ys, ks: numbers(d.k), px: xs.map(x), py: ys.map(y), look: e.getAttribute("class").match(/\b[sk]\d+/g) };
   }).sort((a, b) => a.look[0].slice(1) - b.look[0].slice(1));
   tip = make("div", "tip", "", box);
   line = make("i", "cursor", "", box);
  };
  const hide = () => {
   if (tip) tip.hidden = line.hidden = true;
   all(".at", box).forEach(e => e.remove());
  };
  const move = event => {
   if (!series) start();
   hide();
   const r = box.getBoundingClientRect(), reach = column ? Math.max(24, r.width * .04) : 28;
   const fx = (event.clientX - r.left) / r.width, fy = 1 - (event.clientY - r.top) / r.height;
   let found = [];
   for (const s of series) {
    let i = -1, least = reach;
    s.px.forEach((p, j) => {
     const dx = (p - fx) * r.width, d = column ? Math.abs(dx) : Math.hypot(dx, (s.py[j] - fy) * r.height);
     if (d < least) { least = d; i = j; }
    });
    if (i >= 0) found.push({ s, i, d: least });
   }
   if (!found.length) return;
   const { s: near, i: n } = found.reduce((a, b) => b.d < a.d ? b : a);
   if (!column) found = [{ s: near, i: n }];
   tip.textContent = "";
   if (near.ks.length) make("div", "th", "step " + near.ks[n], tip);
   else if (column) make("div", "th", chart.dataset.xn + " " + show(near.xs[n]), tip);
   for (const { s, i } of found.slice(0, 14)) {
    const look = s.look.join(" "), row = make("div", look, "", tip);
    make("i", "", "", row);
    make("span", "", s.name, row);
    make("b", "", (column ? "" : show(s.xs[i]) + ", ") + show(s.ys[i]), row);
    if (s.py[i] >= 0 && s.py[i] <= 1) {
     const at = make("i", "at " + look, "", box);
     at.style.left = s.px[i] * 100 + "%";
     at.style.top = 100 - s.py[i] * 100 + "%";
    }
   }
   tip.hidden = false;
   line.hidden = !column;
   const left = near.px[n] * r.width, w = tip.offsetWidth;
   line.style.left = left + "px";
   tip.style.left = Math.max(-20, Math.min(left > r.width / 2 ? left - w - 12 : left + 12, r.width - w)) + "px";
  };
  box.onpointermove = box.onpointerdown = move;
  box.onpointerleave = hide;
 }

 // a click on a heading sorts the table
 for (const table of all("table.sort")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  if (body.rows.length > 1) heads.forEach((head, n) => {
   const name = head.textContent;
   head.textContent = "";
   button(name, head, () => {
    const up = head.ariaSort === "ascending" ? -1 : 1;
    const key = row => row.cells[n].dataset.v ?? row.cells[n].textContent;
    const order = (a, b) => {
     const [x, y] = [+a, +b].map(v => isFinite(v) ? v : NaN);
     return isNaN(x) && isNaN(y) ? up * a.localeCompare(b) : isNaN(x) - isNaN(y) || up * (x - y);
    };
    heads.forEach(h => h.ariaSort = null);
    head.ariaSort = up > 0 ? "ascending" : "descending";
    body.append(...[...body.rows].sort((a, b) => order(key(a), key(b))));
   });
  });
 }

 // copy buttons
 for (const copy of all(".copy")) button("Copy", copy, async b => {
  const code = copy.querySelector("code");
  let done = true;
  try {
   await navigator.clipboard.writeText(code.textContent);
  } catch {
   getSelection().selectAllChildren(code);
   done = doc.execCommand("copy");
  }
  b.textContent = done ? "Copied" : "Press Ctrl+C";
  setTimeout(() => b.textContent = "Copy", 1600);
 });
})();
