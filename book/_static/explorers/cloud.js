/* A cloud of the reader's own: its TwoNN and Gride curves beside those of a Gaussian cloud.

   data: {examples: [{name, npy (base64)}]}. The file stays on the reader's machine: it is read and
   measured here, by a worker whose text is that of Explorers.estimators. */
(() => {
  "use strict";
  const E = window.Explorers;
  const HEAD = 65536; // bytes that hold the head of any .npy file of numbers

  E.kinds.cloud = (section, data) => {
    const api = E.estimators();
    let worker = null;
    let result = null;
    let named = "";

    /* ---- what is said ---- */

    const fault = E.el("p", { class: "x-fault", role: "alert" });
    const bar = E.el("progress", { max: 1, value: 0, "aria-label": "progress" });
    const stop = E.el("button", { type: "button", onclick: () => end("Stopped.") }, "Stop");
    const busy = E.el("div", { class: "x-busy", hidden: true }, bar, stop);
    const summary = E.el("p", { class: "x-answer", "aria-live": "polite" });
    const shown = E.el("div", { hidden: true });

    const end = (message = "") => {
      worker?.terminate();
      worker = null;
      busy.hidden = true;
      fault.textContent = message;
    };

    /* ---- measuring ---- */

    const source = () =>
      `(${E.serve})((${E.estimators})());`;

    const measure = (buffer, name) => {
      end();
      shown.hidden = true;
      named = name;
      bar.value = 0;
      busy.hidden = false;
      const url = URL.createObjectURL(new Blob([source()], { type: "text/javascript" }));
      worker = new Worker(url);
      worker.onmessage = ({ data: answer }) => {
        if ("progress" in answer) bar.value = answer.progress;
        else {
          end(answer.fault);
          if (answer.result) show(answer.result);
        }
      };
      worker.onerror = (event) => {
        end(`The measurement failed: ${event.message || "this browser starts no worker here"}.`);
      };
      worker.postMessage(buffer, [buffer]);
      URL.revokeObjectURL(url);
    };

    const take = async (file) => {
      try {
        // A file of the wrong kind or size is refused by its head; the rest of it is not read.
        api.checkHeader(api.header(new Uint8Array(await file.slice(0, HEAD).arrayBuffer())));
        measure(await file.arrayBuffer(), file.name);
      } catch (error) {
        shown.hidden = true;
        end(error instanceof api.Fault ? error.message : `The file can't be read: ${error.message}`);
      }
    };

    /* ---- a file, by choice, by drop, or an example ---- */

    const id = E.newId();
    const input = E.el("input", {
      type: "file", id, accept: ".npy",
      onclick: () => { input.value = ""; }, // the same file may be chosen again
      onchange: () => input.files.length && take(input.files[0]),
    });
    const over = (on) => (event) => {
      event.preventDefault();
      section.classList.toggle("x-over", on);
    };
    section.addEventListener("dragover", over(true));
    section.addEventListener("dragleave", over(false));
    section.addEventListener("drop", (event) => {
      over(false)(event);
      if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
    });
    const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
    const examples = data.examples.map((example) =>
      E.el("button", { type: "button", onclick: () => measure(bytesOf(example.npy), example.name) }, example.name));

    /* ---- the result ---- */

    const STYLES = {
      own: { twonn: { colour: "c0", marker: "circle" }, gride: { colour: "c0", dash: "7 4", marker: "square", hollow: true } },
      beside: { twonn: { colour: "c4", marker: "triangle" }, gride: { colour: "c4", dash: "7 4", marker: "diamond", hollow: true } },
    };
    const METHODS = { twonn: "TwoNN", gride: "Gride" };
    const whose = (which) =>
      which === "own" ? "your cloud" : `Gaussian, ${result.dimension} dimension${result.dimension > 1 ? "s" : ""}`;

    const curve = (which, method) => ({
      name: `${METHODS[method]}, ${whose(which)}`,
      style: STYLES[which][method],
      points: result[which].filter((row) => row.method === method).map((row) => ({
        x: row.scale, y: row.id, low: row.id - row.error, high: row.id + row.error,
        text: `${METHODS[method]}, ${whose(which)}, N/n = ${row.scale}: ${E.withError(row.id, row.error)}`,
      })),
    });
    const curves = () => ["own", "beside"].flatMap((which) => ["twonn", "gride"].map((method) => curve(which, method)));
    const chart = E.chart(() => {
      const drawn = curves();
      const points = drawn.flatMap((one) => one.points);
      const scales = [...new Set(points.map((p) => p.x))].sort((a, b) => a - b);
      return {
        x: [scales[0], Math.max(2, scales.at(-1))], logX: true, xTicks: scales,
        y: [0, 1.08 * Math.max(...points.map((p) => p.high))],
        xLabel: "scale N/n", yLabel: "intrinsic dimension",
        label: "Intrinsic dimension against scale, of your cloud and of a Gaussian one.", curves: drawn,
      };
    });
    const legend = E.el("ul", { class: "x-legend" });
    const table = E.el("table", {});
    const link = E.el("a", { class: "x-button", download: "id_scaling.csv" }, "All numbers (csv)");

    const cell = (which, method, scale) => {
      const row = result[which].find((one) => one.method === method && one.scale === scale);
      return E.el("td", {}, row ? E.withError(row.id, row.error) : "–");
    };
    const rows = () => {
      const scales = [...new Set(result.own.map((row) => row.scale))].sort((a, b) => a - b);
      const head = ["N/n", "TwoNN", "Gride", "Gaussian: TwoNN", "Gaussian: Gride"];
      const line = (scale) =>
        E.el("tr", {}, E.el("th", { scope: "row" }, String(scale)),
          ...["own", "beside"].flatMap((which) => ["twonn", "gride"].map((method) => cell(which, method, scale))));
      return [
        E.el("thead", {}, E.el("tr", {}, ...head.map((name) => E.el("th", { scope: "col" }, name)))),
        E.el("tbody", {}, ...scales.map(line)),
      ];
    };
    const csv = () => {
      const columns = ["method", "scale", "n_points", "repetitions", "id", "error", "excluded"];
      const lines = ["own", "beside"].flatMap((which) =>
        result[which].map((row) => [which === "own" ? "cloud" : "gaussian", ...columns.map((name) => row[name])].join(",")));
      return [["cloud", ...columns].join(","), ...lines].join("\n");
    };

    const show = (found) => {
      result = found;
      const first = found.own[0];
      const copies = first.excluded
        ? ` ${first.excluded} have no distance ratio, as a point and its copy have none, and are left out at scale 1.` : "";
      summary.textContent =
        `${named}: ${found.n.toLocaleString("en")} points of ${found.width.toLocaleString("en")} features. ` +
        `TwoNN on all of them: ${E.withError(first.id, first.error)}.${copies}`;
      legend.replaceChildren(...curves().map((one) => E.key(one.style, one.name)));
      table.replaceChildren(...rows());
      link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv())}`;
      shown.hidden = false;
      chart.draw();
    };

    shown.append(summary, legend, chart.element,
      E.el("div", { class: "x-wide scrolls", tabindex: 0, role: "region", "aria-label": "numbers of the curves" }, table), link);
    section.append(
      E.el("div", { class: "x-file" },
        E.el("label", { for: id }, "A .npy file: choose it here, or drop it on this frame."), input),
      E.el("div", { class: "x-examples" }, examples.length ? "Or try: " : "", ...examples),
      fault, busy, shown,
    );
  };
})();
