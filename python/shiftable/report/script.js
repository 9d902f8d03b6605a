// Draws what a report's tables cannot say: the maps of each photograph, and the picture at a shift.
// Nothing is fetched: answers and pictures stand in the page, and wait there until they come into view.
"use strict";
(() => {
  const VIRIDIS = colours( // perceptually uniform, also where colours are not told apart
    "#440154 #48186a #472d7b #424086 #3b528b #33638d #2c728e #26828e #21918c #1fa088 #28ae80 " +
    "#3fbc73 #5ec962 #84d44b #addc30 #d8e219 #fde725");
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const palette = colours(page.colours.join(" "));
  const said = document.getElementById("said");
  let mode = "probability";

  function colours(text) {
    return text.split(" ").map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  }

  // A share's place on the colour map, between its two nearest colours.
  function viridis(share) {
    const at = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
    const low = VIRIDIS[Math.floor(at)], high = VIRIDIS[Math.ceil(at)], rest = at % 1;
    return low.map((value, channel) => value + (high[channel] - value) * rest);
  }

  const classColour = (rank) => palette[Math.min(rank, palette.length - 1)];
  const signed = (value) => String(value).replace("-", "\u2212");
  const share = (thousandths) => (thousandths / 1000).toFixed(3);

  function element(kind, name, text, parent) {
    const made = document.createElement(kind);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text; // never as HTML: names are anybody's
    if (parent) parent.append(made);
    return made;
  }

  // A column of three a map, 16 bits each: class, its probability, that of the true class.
  function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer), count = bytes.length / 6;
    const column = (number) =>
      Uint16Array.from({ length: count }, (_, at) => view.getUint16(2 * (number * count + at), true));
    return { classes: column(0), probability: column(1), subject: column(2) };
  }

  class Card {
    constructor(article) {
      this.article = article;
      this.data = JSON.parse(article.querySelector("script").textContent);
      this.picture = article.querySelector(".picture");
      this.where = article.querySelector(".where");
      this.found = article.querySelector(".found");
      this.key = article.querySelector(".key");
      const figures = article.querySelectorAll(".map");
      this.maps = this.data.maps.map((map, number) => new Map_(this, map, figures[number]));
      this.images = this.data.pictures.map(({ url }) => {
        const image = new Image();
        image.src = url;
        return image.decode().then(() => image, () => null);
      });
      this.draw();
      this.show(this.maps[0], Math.max(this.maps[0].series.rest, 0));
    }

    draw() {
      for (const map of this.maps) map.draw();
      this.key.replaceChildren(mode === "class" ? this.classKey() : this.bar());
    }

    classKey() {
      const list = element("ul");
      const last = palette.length - 1, seen = new Set(this.maps.flatMap((map) => [...map.classes]));
      this.data.classes.forEach((name, rank) => {
        if (!seen.has(rank) || rank > last) return;
        const item = element("li", "", undefined, list);
        element("i", "", undefined, item).style.background = `rgb(${classColour(rank)})`;
        const rest = rank === last && seen.size > palette.length;
        const truth = rank === this.data.truth && !rest ? " (true class)" : "";
        item.append(rest ? "other classes" : name + truth);
      });
      return list;
    }

    bar() {
      const bar = element("div", "bar");
      const known = this.data.truth >= 0;
      bar.append(`P(${known ? this.data.classes[this.data.truth] : "class predicted without a shift"})`);
      const scale = element("span", "whole", "0", bar);
      const strip = element("canvas", "", undefined, scale);
      strip.setAttribute("role", "img");
      strip.setAttribute("aria-label", "Colours from 0, dark violet, to 1, yellow");
      paint(strip, 64, 1, (at) => viridis(at / 63));
      scale.append("1");
      return bar;
    }

    // Shows one shift: its picture, and the answers of every map that has it.
    async show(map, cell, aloud = false) {
      this.active = [map, cell];
      const twins = this.maps.filter((other) => other.series.plan === map.series.plan);
      for (const other of this.maps) other.mark(other === map ? "here" : "also", twins.includes(other) ? cell : -1);
      const place = map.place(cell);
      this.where.textContent = place;
      this.found.replaceChildren(...twins.map((twin) => twin.answer(cell, twin === map)));
      const spoken = `${place}. ${map.said(cell)}`;
      if (aloud) said.textContent = spoken;
      this.picture.setAttribute("aria-label", `${this.article.querySelector("h3").textContent}, ${spoken}`);
      const [height, width] = map.series.size;
      this.picture.style.aspectRatio = `${width} / ${height}`;
      const image = await this.images[map.data.picture];
      this.picture.hidden = !image;
      if (!image || this.active[0] !== map || this.active[1] !== cell) return;
      const { rest, columns } = this.data.pictures[map.data.picture];
      const [dy, dx] = map.series.shifts[cell];
      const [y, x] = columns
        ? [Math.floor(cell / columns) * height, (cell % columns) * width]
        : [rest[0] - dy, rest[1] - dx];
      this.picture.width = width;
      this.picture.height = height;
      this.picture.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
    }
  }

  class Map_ {
    constructor(card, data, figure) {
      Object.assign(this, unpacked(data.cells), { card, data, figure });
      this.series = page.series[data.series];
      [this.rows, this.columns] = this.series.shape;
      this.canvas = figure.querySelector("canvas");
      this.frame = figure.querySelector(".frame");
      this.cell = Math.max(this.series.rest, 0);
      figure.classList.toggle("strip", this.rows === 1);
      if (this.rows > 1) this.canvas.style.aspectRatio = `${this.columns} / ${this.rows}`;
      this.canvas.tabIndex = 0;
      this.canvas.setAttribute("role", "application");
      this.canvas.setAttribute("aria-roledescription", "heat map");
      this.canvas.setAttribute("aria-label",
        `${this.series.name}: ${this.rows === 1 ? "" : `${this.rows} by `}${this.columns} shifts of ` +
        `${card.article.querySelector("h3").textContent}. Arrow keys move from shift to shift.`);
      this.axes();
      this.marker = element("div", "mark", undefined, this.frame);
      const at = (event) => {
        const box = this.canvas.getBoundingClientRect();
        const part = (value, size, count) => Math.min(count - 1, Math.max(0, Math.floor((value / size) * count)));
        this.go(part(event.clientY - box.top, box.height, this.rows) * this.columns +
          part(event.clientX - box.left, box.width, this.columns));
      };
      this.canvas.addEventListener("pointermove", at);
      this.canvas.addEventListener("pointerdown", at);
      this.canvas.addEventListener("focus", () => this.go(this.cell, this.canvas.matches(":focus-visible")));
      this.canvas.addEventListener("keydown", (event) => this.key(event));
    }

    go(cell, aloud = false) {
      this.cell = cell;
      this.card.show(this, cell, aloud);
    }

    key(event) {
      if (event.altKey || event.metaKey) return;
      const row = Math.floor(this.cell / this.columns), column = this.cell % this.columns;
      const last = this.rows - 1, end = this.columns - 1, all = event.ctrlKey;
      const to = {
        ArrowLeft: [row, Math.max(0, column - 1)], ArrowRight: [row, Math.min(end, column + 1)],
        ArrowUp: [Math.max(0, row - 1), column], ArrowDown: [Math.min(last, row + 1), column],
        Home: [all ? 0 : row, 0], End: [all ? last : row, end],
        PageUp: [0, column], PageDown: [last, column],
        0: this.series.rest < 0 ? null : [Math.floor(this.series.rest / this.columns), this.series.rest % this.columns],
      }[event.key];
      if (!to) return;
      event.preventDefault();
      this.go(to[0] * this.columns + to[1], true);
    }

    draw() {
      paint(this.canvas, this.columns, this.rows, (cell) =>
        mode === "class" ? classColour(this.classes[cell]) : viridis(this.subject[cell] / 1000));
    }

    mark(kind, cell) {
      this.marker.hidden = cell < 0;
      this.marker.className = `mark ${kind}`;
      if (cell >= 0) this.put(this.marker, cell);
    }

    put(mark, cell) {
      mark.style.left = `${(100 * (cell % this.columns)) / this.columns}%`;
      mark.style.top = `${(100 * Math.floor(cell / this.columns)) / this.rows}%`;
      mark.style.width = `${100 / this.columns}%`;
      mark.style.height = `${100 / this.rows}%`;
    }

    // Ticks at about five round places an axis, no shift among them.
    axes() {
      const along = (cell) => {
        const [dy, dx] = this.series.shifts[cell];
        if (this.series.across.startsWith("size")) return this.series.growth[cell];
        if (this.series.across.startsWith("number")) return cell;
        return this.series.across.startsWith("dy") ? dy : dx;
      };
      const ticks = (axis, count, value) => {
        const extent = Math.abs(value(count - 1) - value(0)) || 1;
        const step = [1, 2, 4, 5, 8, 10, 16, 20, 25, 50, 100, 200, 500, 1000].find((s) => extent / s <= 5) || extent;
        for (let at = 0; at < count; at++) {
          if (Math.abs(value(at) % step) > 1e-6) continue;
          const tick = element("span", `tick ${axis}`, signed(value(at)), this.frame);
          tick.style[axis === "x" ? "left" : "top"] = `${(100 * (at + 0.5)) / count}%`;
        }
      };
      ticks("x", this.columns, along);
      element("span", "axis x", this.series.across, this.frame);
      if (this.rows > 1) {
        ticks("y", this.rows, (row) => this.series.shifts[row * this.columns][0]);
        element("span", "axis y", this.series.down, this.frame);
      }
      if (this.series.rest >= 0) this.put(element("div", "mark rest", undefined, this.frame), this.series.rest);
      for (const text of this.frame.querySelectorAll("span")) text.ariaHidden = "true";
    }

    place(cell) {
      const [dy, dx] = this.series.shifts[cell].map(signed);
      const growth = this.series.growth ? this.series.growth[cell] : 0;
      const size = growth ? `, size ${growth > 0 ? "+" : ""}${signed(growth)} px` : "";
      return `dy ${dy} px, dx ${dx} px${size}${this.series.exact ? "" : " (approximately)"}`;
    }

    said(cell) {
      const { classes, truth } = this.card.data;
      const name = classes[this.classes[cell]];
      const right = truth < 0 ? "" : this.classes[cell] === truth ? ", the true class" : ", not the true class";
      return `${this.series.name}: ${name}, probability ${share(this.probability[cell])}${right}`;
    }

    // One line below the picture.
    answer(cell, active) {
      const { classes, truth } = this.card.data;
      const right = this.classes[cell] === truth;
      const item = element("li", active ? "active" : "");
      element("small", "", this.series.name, item);
      const mark = truth < 0 ? "" : right ? "\u2713 " : "\u2717 ";
      element("b", truth < 0 ? "" : right ? "right" : "wrong", mark + classes[this.classes[cell]], item);
      item.append(" ");
      element("span", "whole", `P = ${share(this.probability[cell])}`, item);
      if (this.classes[cell] !== this.data.subject) {
        const subject = `${truth < 0 ? "unshifted" : "true"} class ${classes[this.data.subject].replace(/^class (?=\d+$)/, "")}`;
        const small = element("small", "", `${subject}: `, item);
        element("span", "whole", `P = ${share(this.subject[cell])}`, small);
      }
      return item;
    }
  }

  // One pixel a cell: the browser makes them as large as they are to be.
  function paint(canvas, width, height, colour) {
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    for (let cell = 0; cell < width * height; cell++) image.data.set([...colour(cell), 255], 4 * cell);
    context.putImageData(image, 0, 0);
  }

  const cards = new Map();
  const make = (article) => cards.has(article) || cards.set(article, new Card(article));
  const articles = document.querySelectorAll(".photograph");
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      make(target);
    }
  }, { rootMargin: "400px" });
  for (const article of articles) seen.observe(article);
  // The others when there is nothing else to do, so that a printed page has all pictures.
  const idle = window.requestIdleCallback ?? ((task) => setTimeout(task, 50));
  const rest = [...articles];
  const next = () => {
    const article = rest.shift();
    if (!article) return;
    make(article);
    idle(next);
  };
  addEventListener("load", () => idle(next));

  for (const radio of document.querySelectorAll("[name=mode]")) {
    radio.addEventListener("change", () => {
      mode = radio.value;
      for (const card of cards.values()) card.draw();
    });
  }
  document.getElementById("scheme").addEventListener("change", ({ target }) => {
    document.documentElement.dataset.scheme = target.value;
  });
  // What numbers mean is open on paper.
  addEventListener("beforeprint", () => {
    articles.forEach(make);
    for (const one of document.querySelectorAll("details:not(.numbers)")) one.open = true;
  });
})();
