/* Any runs and quantities of the book's tables, over relative depth.

   data: {curves: [{measured, model, quantity, k, source, n_blocks, layer, value, error}], about:
   {model: text}, start: [model]}. Dimensions and overlaps have a panel each. */
(() => {
  "use strict";
  const E = window.Explorers;
  const QUANTITIES = {
    intrinsic_dimension: "intrinsic dimension",
    label_overlap: "label overlap",
    consecutive_overlap: "overlap with the next layer",
  };
  const SHORT = { intrinsic_dimension: "ID", label_overlap: "labels", consecutive_overlap: "next layer" };
  const DASHES = { intrinsic_dimension: undefined, label_overlap: undefined, consecutive_overlap: "2 3" };
  const COLOURS = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];

  E.kinds.runs = (section, data) => {
    const models = [];
    for (const curve of data.curves) {
      const known = models.find((m) => m.model === curve.model && m.measured === curve.measured);
      if (!known) models.push({ model: curve.model, measured: curve.measured });
    }
    models.forEach((m, i) => Object.assign(m, {
      colour: COLOURS[i % COLOURS.length], marker: E.markerNames[i % E.markerNames.length],
    }));
    const modelOf = (curve) => models.find((m) => m.model === curve.model && m.measured === curve.measured);
    const ks = [...new Set(data.curves.map((c) => c.k).filter((k) => k !== null))].sort((a, b) => a - b);
    let k = ks.includes(10) ? 10 : ks[0];
    const on = new Set(data.start.map((model) => {
      const first = models.find((m) => m.model === model);
      return first && `${first.measured} ${model} intrinsic_dimension`;
    }));
    const key = (m, quantity) => `${m.measured} ${m.model} ${quantity}`;
    const curveOf = (m, quantity) =>
      data.curves.find((c) => c.model === m.model && c.measured === m.measured && c.quantity === quantity && (c.k === null || c.k === k));
    const origin = (m) => (m.measured ? "measured here" : "read off the authors' figures");

    /* A few layers far apart were read off some figures; nothing is known between them. */
    const scattered = (curve) => curve.layer.length < curve.n_blocks / 2;
    const drawn = (m, quantity) => {
      const curve = curveOf(m, quantity);
      const digits = quantity === "intrinsic_dimension" ? 2 : 3;
      return {
        name: `${m.model}, ${QUANTITIES[quantity]}${curve.k === null ? "" : `, k = ${curve.k}`} (${origin(m)})`,
        style: {
          colour: m.colour, marker: m.marker, hollow: !m.measured,
          dash: m.measured ? DASHES[quantity] : "8 4", scattered: scattered(curve),
        },
        points: curve.layer.map((layer, i) => {
          const error = curve.error[i] ?? 0;
          return {
            x: layer / curve.n_blocks, y: curve.value[i], low: curve.value[i] - error, high: curve.value[i] + error,
            apart: layer > curve.n_blocks,
            text: `${m.model}, layer ${layer}: ${QUANTITIES[quantity]} ${E.withError(curve.value[i], error, digits)}`,
          };
        }),
      };
    };
    const selected = (quantities) =>
      models.flatMap((m) => quantities.filter((q) => on.has(key(m, q)) && curveOf(m, q)).map((q) => drawn(m, q)));

    const panel = (quantities, yLabel, most) => E.chart(() => {
      const curves = selected(quantities);
      const points = curves.flatMap((curve) => curve.points);
      return {
        x: [0, Math.max(1, ...points.map((p) => p.x))], xTicks: [0, 0.2, 0.4, 0.6, 0.8, 1],
        y: [0, most ?? (1.05 * Math.max(1, ...points.map((p) => p.high)))],
        xLabel: "relative depth (layer / number of blocks)", yLabel, curves,
        label: `${yLabel} against relative depth: ${curves.map((curve) => curve.name).join("; ") || "nothing chosen"}.`,
      };
    }, 300);
    const panels = [
      { quantities: ["intrinsic_dimension"], chart: panel(["intrinsic_dimension"], "intrinsic dimension") },
      { quantities: ["label_overlap", "consecutive_overlap"], chart: panel(["label_overlap", "consecutive_overlap"], "overlap", 1) },
    ].map((p) => {
      const legend = E.el("ul", { class: "x-legend" });
      return { ...p, legend, element: E.el("div", {}, legend, p.chart.element) };
    });

    const table = E.el("table", { class: "x-picks" });
    const box = (m, quantity) => {
      if (!curveOf(m, quantity)) return "–";
      const input = E.el("input", {
        type: "checkbox", checked: on.has(key(m, quantity)), "aria-label": `${m.model}, ${QUANTITIES[quantity]}, ${origin(m)}`,
        onchange: () => {
          on[input.checked ? "add" : "delete"](key(m, quantity));
          refresh();
        },
      });
      return input;
    };
    const row = (m) =>
      E.el("tr", {},
        E.el("th", { scope: "row" }, m.model, E.el("span", { class: "x-note" }, data.about[m.model] && m.measured ? data.about[m.model] : "")),
        ...Object.keys(QUANTITIES).map((quantity) => E.el("td", {}, box(m, quantity))));
    const group = (measured) => {
      const members = models.filter((m) => m.measured === measured);
      if (!members.length) return [];
      const head = E.el("tr", { class: "x-group" }, E.el("th", { colspan: 4, scope: "colgroup" }, origin(members[0])));
      return [head, ...members.map(row)];
    };
    const choices = () => table.replaceChildren(
      E.el("thead", {}, E.el("tr", {}, E.el("th", { scope: "col" }, "run or model"),
        ...Object.keys(QUANTITIES).map((quantity) => E.el("th", { scope: "col" }, SHORT[quantity])))),
      E.el("tbody", {}, ...group(true), ...group(false)));

    const refresh = () => {
      for (const { quantities, chart, legend, element } of panels) {
        const curves = selected(quantities);
        element.hidden = !curves.length;
        legend.replaceChildren(...curves.map((curve) => E.key(curve.style, curve.name)));
        chart.draw();
      }
    };
    const pickK = () => {
      const id = E.newId();
      const select = E.el("select", {
        id, onchange: () => {
          k = Number(select.value);
          choices();
          refresh();
        },
      }, ...ks.map((number) => E.el("option", { value: number, selected: number === k }, String(number))));
      return E.el("div", { class: "x-select x-short" }, E.el("label", { for: id }, "neighbours k of the overlaps"), select);
    };
    section.append(E.el("div", { class: "x-wide scrolls", tabindex: 0, role: "region", "aria-label": "runs to choose from" }, table));
    if (ks.length > 1) section.append(pickK());
    section.append(...panels.map((p) => p.element));
    choices();
    refresh();
  };
})();
