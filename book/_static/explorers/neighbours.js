/* A query and its nearest neighbours in one layer, framed by whether they have its label.

   data: {layers, n_blocks, near: [query][layer][rank] numbers of samples here, labels, names,
   sprite: {url, columns, rows, width, height} or lines: [text], note}. The query is rank 0. */
(() => {
  "use strict";
  const E = window.Explorers;
  const LETTERS = 60; // of a text in the list of queries

  E.kinds.neighbours = (section, data) => {
    const { near, labels, sprite } = data;
    let query = 0;
    let at = Math.floor(data.layers.length / 2);
    const known = labels !== null;
    const label = (sample) => (known ? data.names[labels[sample]] : "");
    const same = (sample) => labels[sample] === labels[near[query][at][0]];

    /* What a sample looks like: its part of the sprite, or its text. */
    const look = (sample) => {
      if (!sprite) return E.el("span", { class: "x-text" }, data.lines[sample]);
      const column = sample % sprite.columns;
      const row = Math.floor(sample / sprite.columns);
      const part = (i, n) => (n > 1 ? (100 * i) / (n - 1) : 0);
      const picture = E.el("span", { class: "x-picture", role: "img", "aria-label": label(sample) || "a sample" });
      picture.style.backgroundPosition = `${part(column, sprite.columns)}% ${part(row, sprite.rows)}%`;
      picture.style.backgroundSize = `${100 * sprite.columns}% ${100 * sprite.rows}%`;
      picture.style.aspectRatio = `${sprite.width} / ${sprite.height}`;
      return picture;
    };
    if (sprite) section.style.setProperty("--x-sprite", `url("${sprite.url}")`);

    /* ---- the choice of a query ---- */

    const firsts = near.map((layers) => layers[0][0]);
    const picked = (number) => {
      query = number;
      refresh();
    };
    const pictures = () => {
      const name = E.newId();
      return E.el("fieldset", { class: "x-choices x-queries" }, E.el("legend", {}, "query"),
        ...firsts.map((sample, number) =>
          E.el("label", { title: label(sample) || `sample ${number + 1}` },
            E.el("input", { type: "radio", name, value: number, checked: !number, onchange: () => picked(number) }),
            look(sample))));
    };
    const texts = () => {
      const id = E.newId();
      const short = (text) => (text.length > LETTERS ? `${text.slice(0, LETTERS)}…` : text);
      const option = (sample, number) =>
        E.el("option", { value: number }, known ? `${label(sample)}: ${short(data.lines[sample])}` : short(data.lines[sample]));
      const select = E.el("select", { id, onchange: () => picked(Number(select.value)) }, ...firsts.map(option));
      return E.el("div", { class: "x-select" }, E.el("label", { for: id }, "query"), select);
    };

    /* ---- the neighbours ---- */

    const words = (i) => {
      const layer = data.layers[i];
      if (layer > data.n_blocks) return `layer ${layer} (logits)`;
      return layer === data.n_blocks ? `layer ${layer} (final norm)` : `layer ${layer} of ${data.n_blocks}`;
    };
    const slider = E.slider("layer", data.layers.length, at, words, (i) => {
      at = i;
      refresh();
    });
    const item = (sample, rank) => {
      const kind = !rank ? "x-query" : !known ? "x-plain" : same(sample) ? "x-same" : "x-other";
      const name = !rank ? "query" : String(rank);
      const said = known && rank ? E.el("span", { class: "x-heard" }, same(sample) ? ", same label" : ", another label") : null;
      return E.el("li", { class: kind },
        look(sample),
        E.el("span", { class: "x-name" }, known ? `${name}: ${label(sample)}` : name, said));
    };
    const list = E.el("ol", { class: sprite ? "x-pictures" : "x-texts", "aria-label": "the query and its nearest neighbours" });

    const count = (i) => near[query][i].slice(1).filter((s) => labels[s] === labels[near[query][i][0]]).length;
    const most = near[0][0].length - 1;
    const chart = E.chart(() => ({
      x: [0, Math.max(1, data.layers.at(-1))], y: [0, most], yTicks: E.ticks(0, most, Math.min(4, most)),
      xTicks: E.ticks(0, data.layers.at(-1), 6), xLabel: "layer", yLabel: "with its label",
      label: `How many of the ${most} neighbours have the label of the query, in each layer.`,
      curves: [{
        name: "with its label", style: { colour: "c0", marker: "circle" },
        points: data.layers.map((layer, i) => ({
          x: layer, y: count(i), apart: layer > data.n_blocks,
          text: `layer ${layer}: ${count(i)} of ${most} with its label`,
        })),
      }],
      marks: [{ x: data.layers[at], low: data.layers[at], high: data.layers[at] }],
    }), 190);
    const answer = E.el("p", { class: "x-answer", "aria-live": "polite" });

    const refresh = () => {
      list.replaceChildren(...near[query][at].map(item));
      if (known) {
        answer.textContent = `In layer ${data.layers[at]}, ${count(at)} of ${most} neighbours have the label of the query.`;
        chart.draw();
      }
    };
    section.append(sprite ? pictures() : texts(), slider.element, list);
    if (known) {
      section.append(E.el("ul", { class: "x-legend" },
        E.el("li", { class: "x-same" }, E.el("span", { class: "x-frame" }), "same label"),
        E.el("li", { class: "x-other" }, E.el("span", { class: "x-frame" }), "another label")));
      section.append(answer, chart.element);
    }
    section.append(E.el("p", { class: "x-note" }, `${data.note}.`));
    refresh();
  };
})();
