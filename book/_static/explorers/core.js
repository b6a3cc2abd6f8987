/* What the interactive views share: elements, a chart, and the start of each view.

   A page has sections of class "explorer", each with its data as JSON. The script of a kind puts a
   function into Explorers.kinds; it is called with the section and the data. These are plain scripts
   with one global name, because a browser loads no modules from a file. Every string that comes
   from data is put on the page as text. Colours are those of the page's theme, by explorers.css. */
(() => {
  "use strict";
  const E = (window.Explorers ??= { kinds: {} });
  const SVG = "http://www.w3.org/2000/svg";

  /* ------------------------------------------------------------------------------ elements */

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) {
        element.setAttribute(name, value);
      }
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  /* Children that are strings become text, never markup. */
  E.el = (tag, attributes = {}, ...children) =>
    fill(document.createElement(tag), attributes, children);
  E.svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS(SVG, tag), attributes, children);

  let made = 0;
  E.newId = () => `explorer-${++made}`;

  /* A slider over the numbers 0..n-1; words(i) says what stands there. */
  E.slider = (label, n, start, words, moved) => {
    const id = E.newId();
    const output = E.el("output", { for: id });
    const input = E.el("input", { type: "range", id, min: 0, max: n - 1, step: 1, value: start });
    const say = () => {
      output.textContent = words(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => {
      say();
      moved(Number(input.value));
    });
    say();
    const element = E.el("div", { class: "x-slider" }, E.el("label", { for: id }, label), input, output);
    const set = (value, count = Number(input.max) + 1) => {
      input.max = count - 1;
      input.value = value;
      say();
    };
    return { element, input, set };
  };

  /* Choices of which one holds. options: [[value, label]]. */
  E.radios = (legend, options, start, chosen) => {
    const name = E.newId();
    const one = ([value, label]) =>
      E.el("label", {},
        E.el("input", {
          type: "radio", name, value, checked: value === start,
          onchange: () => chosen(value),
        }),
        label);
    return E.el("fieldset", { class: "x-choices" }, E.el("legend", {}, legend), ...options.map(one));
  };

  /* ------------------------------------------------------------------------------- numbers */

  E.fixed = (value, digits) =>
    value === null || value === undefined ? "not measured" : value.toFixed(digits);

  /* A value with its standard error, as the text of a page has them. */
  E.withError = (value, error, digits = 2) =>
    error ? `${E.fixed(value, digits)} ± ${E.fixed(error, digits)}` : E.fixed(value, digits);

  E.plain = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

  /* Round numbers from `low` to at least `high`, about `count` of them. */
  E.ticks = (low, high, count = 5) => {
    const rough = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((s) => s * power).find((s) => s >= rough * 0.999);
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step < high + step * 1e-9; i++) {
      ticks.push(Number((i * step).toPrecision(10)));
    }
    return ticks;
  };

  /* --------------------------------------------------------------------------------- chart */

  // Markers closer than this cover each other, in pixels: the tip reads them together.
  const COVERED = 4;
  const MARGIN = { top: 10, right: 14, bottom: 46, left: 54 };
  const MARKERS = {
    circle: (s) => `M${-s} 0A${s} ${s} 0 1 0 ${s} 0A${s} ${s} 0 1 0 ${-s} 0Z`,
    square: (s) => `M${-s} ${-s}H${s}V${s}H${-s}Z`,
    triangle: (s) => `M0 ${-1.2 * s}L${1.15 * s} ${0.9 * s}H${-1.15 * s}Z`,
    diamond: (s) => `M0 ${-1.35 * s}L${1.35 * s} 0L0 ${1.35 * s}L${-1.35 * s} 0Z`,
    cross: (s) => `M${-s} ${-s}L${s} ${s}M${-s} ${s}L${s} ${-s}`,
    star: (s) =>
      [...Array(10)].map((_, i) => {
        const r = i % 2 ? 0.8 * s : 2 * s;
        const a = (Math.PI * i) / 5;
        return `${i ? "L" : "M"}${(r * Math.sin(a)).toFixed(2)} ${(-r * Math.cos(a)).toFixed(2)}`;
      }).join("") + "Z",
  };
  E.markerNames = ["circle", "square", "triangle", "diamond", "cross"];

  E.marker = (shape, x, y, size, attributes) =>
    E.svg("path", { d: MARKERS[shape](size), transform: `translate(${x} ${y})`, ...attributes });

  /* How a curve is drawn, for a legend. */
  E.swatch = (style) =>
    E.svg("svg", { width: 34, height: 14, viewBox: "0 0 34 14", "aria-hidden": "true", class: "x-swatch" },
      style.scattered ? null : E.svg("line", { x1: 1, x2: 33, y1: 7, y2: 7, class: "x-line", style: stroke(style) }),
      style.level ? null : E.marker(style.marker, 17, 7, 4, { class: "x-marker", style: marked(style) }));

  E.key = (style, name) => E.el("li", {}, E.swatch(style), name);

  const stroke = (style) =>
    `stroke: var(--x-${style.colour}); stroke-dasharray: ${style.dash ?? "none"}`;
  const marked = (style) =>
    `stroke: var(--x-${style.colour}); ` +
    `fill: ${style.hollow ? "var(--x-ground)" : `var(--x-${style.colour})`}`;

  /* A chart that redraws itself when its width changes.

     what() returns {x: [low, high], y: [low, high], logX, xTicks, xLabel, yLabel, label, curves,
     marks}. A curve is {name, style: {colour, dash, marker, hollow, level, band}, points: [{x, y,
     low, high, text, apart}]}; a point that is apart (logits) is hollow, at a dotted line. Marks are
     {x, low, high} (a dashed line and a grey band) or {x, y, shape} (a symbol). */
  E.chart = (what, height = 330) => {
    const tip = E.el("p", { class: "x-tip", hidden: true });
    const heard = E.el("p", { class: "x-heard", "aria-live": "polite" });
    const holder = E.el("div", { class: "x-chart" });
    const element = E.el("div", { class: "x-plot" }, holder, tip, heard);
    let shown = null; // the drawn chart: its curves in pixels
    let at = null; // [curve, point] whose numbers are shown
    let drawn = 0; // the width that it was drawn for

    const point = () => {
      holder.querySelector(".x-ring")?.remove();
      tip.hidden = at === null;
      if (at === null) return;
      const p = shown.curves[at[0]].pixels[at[1]];
      const beneath = shown.curves
        .filter((_, c) => c !== at[0])
        .flatMap((curve) => curve.pixels)
        .filter((q) => (q.px - p.px) ** 2 + (q.py - p.py) ** 2 < COVERED ** 2);
      const ring = E.svg("circle", { cx: p.px, cy: p.py, r: 8, class: "x-ring" });
      holder.firstChild.append(ring);
      tip.textContent = [p, ...beneath].map((q) => q.text).join("\n");
      const room = element.clientWidth - tip.offsetWidth;
      tip.style.left = `${Math.max(0, Math.min(room, p.px - tip.offsetWidth / 2))}px`;
      const above = p.py - tip.offsetHeight - 14;
      tip.style.top = `${above < 0 ? p.py + 14 : above}px`;
    };

    const nearest = (event) => {
      const box = holder.getBoundingClientRect();
      const x = event.clientX - box.left;
      const y = event.clientY - box.top;
      let best = null;
      let least = 60 ** 2;
      shown.curves.forEach((curve, c) => {
        curve.pixels.forEach((p, i) => {
          const far = (p.px - x) ** 2 + (p.py - y) ** 2;
          if (far < least) [least, best] = [far, [c, i]];
        });
      });
      at = best;
      point();
    };

    const key = (event) => {
      const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [1, 0], ArrowDown: [-1, 0] };
      if (event.key === "Escape") at = null;
      else if (!(event.key in steps) || !shown.curves.length) return;
      else if (at === null) at = [0, 0];
      else {
        const [dc, di] = steps[event.key];
        const c = (at[0] + dc + shown.curves.length) % shown.curves.length;
        const last = shown.curves[c].pixels.length - 1;
        at = [c, Math.max(0, Math.min(last, at[1] + di))];
      }
      event.preventDefault();
      point();
      heard.textContent = at === null ? "" : tip.textContent;
    };

    const draw = () => {
      const width = holder.clientWidth;
      if (!width) return;
      drawn = width;
      const chart = what();
      shown = plot(chart, width, height);
      shown.svg.addEventListener("pointermove", nearest);
      shown.svg.addEventListener("pointerdown", nearest);
      shown.svg.addEventListener("pointerleave", () => {
        at = null;
        point();
      });
      shown.svg.addEventListener("keydown", key);
      shown.svg.addEventListener("blur", () => {
        at = null;
        point();
      });
      const focused = holder.contains(document.activeElement);
      holder.replaceChildren(shown.svg);
      if (focused) shown.svg.focus();
      at = null;
      point();
    };
    new ResizeObserver(() => holder.clientWidth !== drawn && draw()).observe(holder);
    return { element, draw };
  };

  function plot(chart, width, height) {
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    const along = chart.logX ? Math.log2 : (v) => v;
    const [x0, x1] = chart.x.map(along);
    const [y0, y1] = chart.y;
    const px = (x) => MARGIN.left + ((along(x) - x0) / (x1 - x0)) * (right - MARGIN.left);
    const py = (y) => bottom - ((y - y0) / (y1 - y0)) * (bottom - MARGIN.top);
    const svg = E.svg("svg", {
      width, height, viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0,
      "aria-label": `${chart.label} Arrow keys read the points.`,
    });
    axes(svg, chart, { right, bottom, px, py });
    (chart.marks ?? []).filter((mark) => mark.y === undefined).forEach((mark) => {
      const wide = Math.max(px(mark.high) - px(mark.low), 0);
      svg.append(E.svg("rect", {
        x: px(mark.low), y: MARGIN.top, width: wide, height: bottom - MARGIN.top, class: "x-set",
      }));
      svg.append(E.svg("line", {
        x1: px(mark.x), x2: px(mark.x), y1: MARGIN.top, y2: bottom, class: "x-chosen",
      }));
    });
    const curves = chart.curves.map((curve) => drawCurve(svg, curve, px, py));
    (chart.marks ?? []).filter((mark) => mark.y !== undefined).forEach((mark) => {
      svg.append(E.marker(mark.shape, px(mark.x), py(mark.y), 6, { class: "x-symbol" }));
    });
    return { svg, curves };
  }

  function axes(svg, chart, { right, bottom, px, py }) {
    const yTicks = chart.yTicks ?? E.ticks(...chart.y, 5);
    for (const tick of yTicks) {
      svg.append(
        E.svg("line", { x1: MARGIN.left, x2: right, y1: py(tick), y2: py(tick), class: "x-grid" }),
        E.svg("text", { x: MARGIN.left - 8, y: py(tick) + 4, class: "x-tick x-end" }, E.plain(tick)),
      );
    }
    const xTicks = chart.xTicks ?? E.ticks(...chart.x, 5);
    // Labels that would touch the one before are left out; their ticks stay.
    let free = -Infinity;
    for (const tick of xTicks) {
      const text = E.plain(tick);
      const half = 4 + 3.6 * text.length;
      svg.append(E.svg("line", { x1: px(tick), x2: px(tick), y1: bottom, y2: bottom + 5, class: "x-axis" }));
      if (px(tick) - half < free) continue;
      free = px(tick) + half;
      svg.append(E.svg("text", { x: px(tick), y: bottom + 19, class: "x-tick x-middle" }, text));
    }
    const middle = (MARGIN.top + bottom) / 2;
    svg.append(
      E.svg("line", { x1: MARGIN.left, x2: right, y1: bottom, y2: bottom, class: "x-axis" }),
      E.svg("text", { x: (MARGIN.left + right) / 2, y: bottom + 40, class: "x-label x-middle" }, chart.xLabel),
      E.svg("text", {
        x: 14, y: middle, transform: `rotate(-90 14 ${middle})`, class: "x-label x-middle",
      }, chart.yLabel),
    );
  }

  function drawCurve(svg, curve, px, py) {
    const points = curve.points.filter((p) => p.y !== null);
    const pixels = points.map((p) => ({ ...p, px: px(p.x), py: py(p.y) }));
    const { style } = curve;
    const group = E.svg("g", { class: "x-curve", "data-name": curve.name });
    const ends = pixels.filter((p) => p.low !== null && p.low !== undefined);
    if (style.band && ends.length > 1) {
      const upper = ends.map((p) => `${p.px} ${py(p.high)}`);
      const lower = ends.map((p) => `${p.px} ${py(p.low)}`).reverse();
      group.append(E.svg("path", {
        d: `M${[...upper, ...lower].join("L")}Z`, class: "x-band", style: `fill: var(--x-${style.colour})`,
      }));
    } else {
      for (const p of ends) {
        group.append(E.svg("line", {
          x1: p.px, x2: p.px, y1: py(p.low), y2: py(p.high), class: "x-error", style: stroke({ colour: style.colour }),
        }));
      }
    }
    const line = (part, dash) =>
      part.length > 1 && group.append(E.svg("path", {
        d: `M${part.map((p) => `${p.px} ${p.py}`).join("L")}`, class: "x-line", style: stroke({ ...style, dash }),
      }));
    const apart = pixels.findIndex((p) => p.apart);
    if (!style.scattered) {
      line(apart < 0 ? pixels : pixels.slice(0, apart), style.dash);
      if (apart > 0) line(pixels.slice(apart - 1), "1 4");
    }
    if (!style.level) {
      for (const p of pixels) {
        const look = marked({ ...style, hollow: style.hollow || p.apart });
        group.append(E.marker(style.marker, p.px, p.py, 3.2, { class: "x-marker", style: look }));
      }
    }
    svg.append(group);
    return { ...curve, pixels };
  }

  /* --------------------------------------------------------------------------------- start */

  E.start = () => {
    for (const section of document.querySelectorAll("section.explorer[data-explorer]")) {
      const data = JSON.parse(section.querySelector("script").textContent);
      section.hidden = false;
      E.kinds[section.dataset.explorer](section, data);
    }
  };
  if (typeof document !== "undefined") document.addEventListener("DOMContentLoaded", E.start);
})();
