/* The ID profile over layers at one scale, moved by a slider, with the layer that it singles out.

   data: {n_blocks, note, readings: [{method, scale, layer, id, error, errors, singled, lowest,
   of_run}], controls: [{name, method, scale, layer, id, low, high}]}. All of it was computed in
   the chapter; nothing is chosen here. */
(() => {
  "use strict";
  const E = window.Explorers;
  const METHODS = { twonn: "TwoNN, decimated data", gride: "Gride, all data" };
  const STYLES = {
    "untrained network": { colour: "grey", dash: "6 4", marker: "square", band: true },
    "shuffled features": { colour: "c4", dash: "2 3", marker: "triangle" },
    "Gaussian, same covariance": { colour: "c3", dash: "8 3 2 3", marker: "diamond" },
  };
  const TRAINED = { colour: "c0", marker: "circle" };
  const AT_FIRST = ["untrained network"];

  /* Ways to take the input are levels: lines across all layers, without markers. */
  const LEVELS = [{ colour: "c5", dash: "2 3" }, { colour: "c2", dash: "8 3 2 3" }, { colour: "c1", dash: "12 3" }];
  const styleOf = (name, number) =>
    STYLES[name] ?? { ...LEVELS[number % LEVELS.length], level: true, band: true };

  E.kinds.layers = (section, data) => {
    const depth = (layer) => layer / data.n_blocks;
    const methods = Object.keys(METHODS).filter((m) => data.readings.some((r) => r.method === m));
    const of = (method) => data.readings.filter((r) => r.method === method);
    const names = [...new Set(data.controls.map((control) => control.name))];
    const levels = names.filter((name) => !(name in STYLES));
    const styles = Object.fromEntries(names.map((name) => [name, styleOf(name, levels.indexOf(name))]));
    const on = new Set(names.filter((name) => AT_FIRST.includes(name) || styles[name].level));
    let now = data.readings.find((r) => r.of_run) ?? data.readings[0];

    const controlsNow = () =>
      data.controls.filter((c) => c.method === now.method && c.scale === now.scale);

    const say = (layer) => (layer > data.n_blocks ? `layer ${layer} (logits)` : `layer ${layer}`);
    const profile = () => ({
      name: "profile",
      style: TRAINED,
      points: now.layer.map((layer, i) => ({
        x: depth(layer), y: now.id[i], low: now.id[i] - now.error[i], high: now.id[i] + now.error[i],
        text: `${say(layer)}: ID ${E.withError(now.id[i], now.error[i])}`, apart: layer > data.n_blocks,
      })),
    });
    const control = (c) => ({
      name: c.name,
      style: styles[c.name],
      points: c.layer.map((layer, i) => ({
        x: depth(layer), y: c.id[i], low: c.low[i], high: c.high[i],
        apart: layer > data.n_blocks && !styles[c.name].level,
        text: styles[c.name].level
          ? `${c.name}: ID ${E.fixed(c.id[i], 2)}`
          : `${c.name}, ${say(layer)}: ID ${E.fixed(c.id[i], 2)} (${E.fixed(c.low[i], 2)} to ${E.fixed(c.high[i], 2)})`,
      })),
    });

    // The axis is that of all scales, so that a profile that sinks is seen to sink.
    const top = () => {
      const highs = data.readings.flatMap((r) => r.id.map((v, i) => v + r.error[i]));
      const others = data.controls.filter((c) => on.has(c.name)).flatMap((c) => c.high);
      return 1.05 * Math.max(...highs, ...others);
    };
    const marks = () => {
      const found = now.singled;
      if (found && found.layer !== null) {
        return [{ x: depth(found.layer), low: depth(found.low), high: depth(found.high) }];
      }
      if (now.lowest === null) return [];
      return [{ x: depth(now.lowest), y: now.id[now.layer.indexOf(now.lowest)], shape: "diamond" }];
    };
    const chart = E.chart(() => {
      const last = Math.max(1, ...now.layer.map(depth));
      return {
        x: [0, last], y: [0, top()], xTicks: [0, 0.2, 0.4, 0.6, 0.8, 1],
        xLabel: "relative depth (layer / number of blocks)", yLabel: "intrinsic dimension",
        label: `Intrinsic dimension against relative depth, ${METHODS[now.method]}, at N/n = ${E.plain(now.scale)}.`,
        curves: [profile(), ...controlsNow().filter((c) => on.has(c.name)).map(control)],
        marks: marks(),
      };
    });

    const answer = E.el("p", { class: "x-answer", "aria-live": "polite" });
    const answered = () => {
      const found = now.singled;
      const candidate = now.lowest === null ? ""
        : ` The candidate, of least ID after the peak, is layer ${now.lowest} (hollow mark).`;
      if (!found) return `The profile has too few layers for one to be singled out.${candidate}`;
      if (found.layer === null) {
        return `No layer is singled out: no minimum and no plateau after a peak is more than noise.${candidate}`;
      }
      return `Singled out: layer ${found.layer}, a ${found.kind} after the peak at layer ` +
        `${found.peak_layer}; its confidence set is layers ${found.low} to ${found.high}.`;
    };

    const boxes = names.map((name) => {
      const box = E.el("input", {
        type: "checkbox", checked: on.has(name),
        onchange: () => {
          on[box.checked ? "add" : "delete"](name);
          refresh();
        },
      });
      const absent = E.el("span", { class: "x-absent" }, " (not read at this scale)");
      return { name, box, absent, label: E.el("label", {}, box, E.swatch(styles[name]), name, absent) };
    });

    const refresh = () => {
      const present = new Set(controlsNow().map((c) => c.name));
      for (const { name, box, absent } of boxes) {
        box.disabled = !present.has(name);
        absent.hidden = present.has(name);
      }
      answer.textContent = answered();
      errors.textContent = `Errors: ${now.errors}. ${data.note}.`;
      chart.draw();
    };

    const slider = E.slider(
      "scale", of(now.method).length, of(now.method).indexOf(now),
      (i) => {
        const reading = of(now.method)[i];
        return `N/n = ${E.plain(reading.scale)}${reading.of_run ? " (the run's rule)" : ""}`;
      },
      (i) => {
        now = of(now.method)[i];
        refresh();
      },
    );
    const choose = (method) => {
      const apart = (r) => Math.abs(Math.log2(r.scale / now.scale));
      now = of(method).reduce((a, b) => (apart(b) < apart(a) ? b : a));
      slider.set(of(method).indexOf(now), of(method).length);
      refresh();
    };
    const errors = E.el("p", { class: "x-note" });
    section.append(
      E.radios("estimator", methods.map((m) => [m, METHODS[m]]), now.method, choose),
      slider.element,
    );
    if (boxes.length) {
      section.append(E.el("fieldset", { class: "x-choices" },
        E.el("legend", {}, "controls"), ...boxes.map(({ label }) => label)));
    }
    const legend = E.el("ul", { class: "x-legend" }, E.key(TRAINED, "trained network"));
    section.append(legend, chart.element, answer, errors);
    refresh();
  };
})();
