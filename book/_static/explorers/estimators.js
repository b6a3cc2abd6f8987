/* TwoNN and Gride of a cloud of points, and the reading of .npy files, without any page.

   Explorers.estimators is a function that returns all of it, so that its own text can start a worker:
   a page that was opened from a file may start none by name. The numbers are those of
   georep_utils.geometry.scaling on the same points, which are read as float32: squared distances
   in double precision from differences of coordinates, distances and ratios rounded as stored there. */
(() => {
  "use strict";
  const E = (globalThis.Explorers ??= { kinds: {} });

  E.estimators = function () {
    "use strict";
    const MAX_POINTS = 5000;
    const MAX_WIDTH = 8192;
    const MIN_POINTS = 20; // fewer ratios have a relative error above a fifth
    const FRACTION = 0.98; // of the lowest ratios, that TwoNN fits
    const DECIMATIONS = [1, 2, 4, 8, 16, 32];
    const REPETITIONS = 4; // subsets of a decimation, at most
    const MAX_RANK = 1024;
    const LEAST = 0.001; // Gride looks for the dimension from here
    const D_MAX = 1000; // to here,
    const PRECISION = 1e-7; // and so precisely
    const EPS = 2 ** -52;

    /* What is wrong with a file or its points, in one line for the reader. */
    class Fault extends Error {}
    const count = (n) => n.toLocaleString("en");

    /* ------------------------------------------------------------------------------ npy */

    /* Where the numbers of an .npy file begin, and what they are; bytes: its beginning. */
    function header(bytes) {
      const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
      if (bytes.length < 12 || magic.some((byte, i) => bytes[i] !== byte)) {
        throw new Fault("This is no .npy file; write one with numpy.save(\"cloud.npy\", X).");
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const wide = bytes[6] > 1;
      const start = wide ? 12 : 10;
      const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
      const text = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
      const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(text);
      const order = /'fortran_order':\s*(True|False)/.exec(text);
      if (!shape || !order || start + length > bytes.length) {
        throw new Fault("The head of this .npy file can't be read; write it again with numpy.save.");
      }
      const type = /'descr':\s*'([^']*)'/.exec(text)?.[1] ?? "structured numbers";
      return {
        type, start: start + length, fortran: order[1] === "True",
        shape: shape[1].split(",").filter((part) => part.trim()).map(Number),
      };
    }

    /* Refuse what is no cloud of numbers, before the file is read. */
    function checkHeader({ type, shape }) {
      if (!/^[<>]f[48]$/.test(type)) {
        throw new Fault(
          `The file holds ${type}; expected float32 or float64: X.astype("float32").`);
      }
      if (shape.length !== 2) {
        throw new Fault(
          `The array has ${shape.length} dimension${shape.length === 1 ? "" : "s"}; expected 2: ` +
          "a row for each point, a column for each feature.");
      }
      const [n, width] = shape;
      if (n > MAX_POINTS) {
        throw new Fault(
          `The file has ${count(n)} points; this page takes ${count(MAX_POINTS)} at most: ` +
          "keep a random part of the rows.");
      }
      if (n < MIN_POINTS) {
        throw new Fault(`The file has ${n} points; at least ${MIN_POINTS} are needed for an estimate.`);
      }
      if (width < 1 || width > MAX_WIDTH) {
        throw new Fault(`The points have ${count(width)} features; expected 1 to ${count(MAX_WIDTH)}.`);
      }
    }

    /* The points of an .npy file: {points (row after row, float32), n, width}. */
    function readNpy(buffer) {
      const about = header(new Uint8Array(buffer));
      checkHeader(about);
      const [n, width] = about.shape;
      const size = Number(about.type[2]);
      if (buffer.byteLength < about.start + n * width * size) {
        throw new Fault("The file ends before its last number; copy it again.");
      }
      const view = new DataView(buffer, about.start);
      const little = about.type[0] === "<";
      const read = size === 4 ? (at) => view.getFloat32(at, little) : (at) => view.getFloat64(at, little);
      const points = new Float32Array(n * width);
      for (let i = 0; i < n; i++) {
        for (let f = 0; f < width; f++) {
          const from = about.fortran ? f * n + i : i * width + f;
          points[i * width + f] = read(size * from);
        }
      }
      checkPoints(points, n, width);
      return { points, n, width };
    }

    function checkPoints(points, n, width) {
      let bad = 0;
      let first = -1;
      let alike = true;
      for (let i = 0; i < n; i++) {
        let finite = true;
        for (let f = 0; f < width; f++) {
          const value = points[i * width + f];
          if (!Number.isFinite(value)) finite = false;
          if (value !== points[f]) alike = false;
        }
        if (!finite && !bad++) first = i;
      }
      if (bad) {
        throw new Fault(
          `${count(bad)} of ${count(n)} points have NaN, infinity, or a number beyond float32 ` +
          `(first: row ${first}); expected finite numbers.`);
      }
      if (alike) throw new Fault(`All ${count(n)} points are the same; expected different ones.`);
    }

    /* --------------------------------------------------------------------- neighbours */

    /* Squared distances to the neighbours of ranks 1, 2, 4, .., 2^(octaves), a row a point. */
    function squaresAtRanks(points, n, width, octaves, progress) {
      const at = new Float64Array(n * (octaves + 1));
      const row = new Float64Array(n);
      for (let i = 0; i < n; i++) {
        distancesFrom(points, i, n, width, row);
        row[i] = -1; // the point itself sorts first
        const sorted = row.slice().sort();
        for (let o = 0; o <= octaves; o++) at[i * (octaves + 1) + o] = sorted[2 ** o];
        if (progress && i % 64 === 0) progress(i / n);
      }
      return at;
    }

    function distancesFrom(points, i, n, width, row) {
      const from = i * width;
      const four = width - (width % 4);
      for (let j = 0; j < n; j++) {
        const to = j * width;
        let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (let f = 0; f < four; f += 4) {
          const d0 = points[from + f] - points[to + f];
          const d1 = points[from + f + 1] - points[to + f + 1];
          const d2 = points[from + f + 2] - points[to + f + 2];
          const d3 = points[from + f + 3] - points[to + f + 3];
          s0 += d0 * d0;
          s1 += d1 * d1;
          s2 += d2 * d2;
          s3 += d3 * d3;
        }
        for (let f = four; f < width; f++) {
          const d = points[from + f] - points[to + f];
          s0 += d * d;
        }
        row[j] = s0 + s1 + s2 + s3;
      }
    }

    /* Largest power of two below n, at most MAX_RANK, as its exponent. */
    const octavesOf = (n) => Math.floor(Math.log2(Math.min(MAX_RANK, n - 1)));

    /* --------------------------------------------------------------------------- TwoNN */

    function twonn(r1, r2) {
      const logs = [];
      for (let i = 0; i < r1.length; i++) {
        const ratio = Math.fround(r2[i] / r1[i]);
        if (Number.isFinite(ratio) && ratio >= 1) {
          logs.push(Math.log(Math.max(r2[i], EPS) / Math.max(r1[i], EPS)));
        }
      }
      checkUsable(logs.length, r1.length);
      const x = Float64Array.from(logs).sort();
      const kept = Math.trunc(x.length * FRACTION);
      let xy = 0;
      let xx = 0;
      for (let i = 0; i < kept; i++) {
        xy += x[i] * -Math.log(1 - (i + 1) / x.length);
        xx += x[i] * x[i];
      }
      return { id: xy / xx, excluded: r1.length - x.length };
    }

    function checkUsable(usable, n) {
      if (usable < MIN_POINTS) {
        throw new Fault(
          `Only ${usable} of ${count(n)} points have a positive distance to their neighbours, ` +
          `${MIN_POINTS} are needed; drop copies, or take more points.`);
      }
    }

    function radii(squares, octaves, rank) {
      const n = squares.length / (octaves + 1);
      return Float64Array.from({ length: n }, (_, i) =>
        Math.fround(Math.sqrt(squares[i * (octaves + 1) + rank])));
    }

    /* TwoNN on every s-th point, from each of the first points on: rows j, j + s, j + 2 s, .. */
    function twonnScaling({ points, n, width }, whole, octaves) {
      const rows = [];
      for (const s of DECIMATIONS.filter((d) => Math.floor(n / d) >= MIN_POINTS)) {
        const size = Math.floor(n / s);
        const found = [];
        for (let j = 0; j < Math.min(REPETITIONS, s); j++) {
          let squares = whole;
          let width2 = octaves;
          if (s > 1) {
            const part = new Float32Array(size * width);
            for (let i = 0; i < size; i++) {
              const row = (j + i * s) * width;
              part.set(points.subarray(row, row + width), i * width);
            }
            squares = squaresAtRanks(part, size, width, 1);
            width2 = 1;
          }
          found.push(twonn(radii(squares, width2, 0), radii(squares, width2, 1)));
        }
        rows.push(meanOf(found, s, size));
      }
      return rows;
    }

    function meanOf(found, scale, size) {
      const m = found.length;
      const id = found.reduce((sum, one) => sum + one.id, 0) / m;
      const spread = Math.sqrt(found.reduce((sum, one) => sum + (one.id - id) ** 2, 0) / (m - 1));
      const error = m > 1 ? spread / Math.sqrt(m) : id / Math.sqrt(size);
      const excluded = found.reduce((sum, one) => sum + one.excluded, 0);
      return { method: "twonn", scale, n_points: size, repetitions: m, id, error, excluded };
    }

    /* --------------------------------------------------------------------------- Gride */

    /* Percentile by linear interpolation between the sorted values. */
    function quantile(sorted, q) {
      const place = q * (sorted.length - 1);
      const low = Math.floor(place);
      const high = Math.min(low + 1, sorted.length - 1);
      return sorted[low] + (place - low) * (sorted[high] - sorted[low]);
    }

    function grideAt(ratios, k, n) {
      const mus = Float64Array.from(ratios.filter((r) => Number.isFinite(r) && r >= 1));
      checkUsable(mus.length, n);
      for (let i = 0; i < mus.length; i++) if (mus[i] === 1) mus[i] += 10 * EPS;
      const sorted = mus.slice().sort();
      const middle = quantile(sorted, 0.5);
      const bound = middle + 20 * (quantile(sorted, 0.95) - middle);
      const logs = mus.filter((mu) => mu < bound).map(Math.log);
      if (!logs.length) {
        throw new Fault("The distances of most points to their neighbours are equal; expected a cloud.");
      }
      // Derivative of the negative log-likelihood, with n - 1 in the place of n.
      const slope = (d) => {
        let sum = 0;
        for (const log of logs) {
          const inner = Math.max(1 - Math.exp(-d * log), 2 * PRECISION);
          sum += ((1 - k) / inner + 2 * k - 1) * log;
        }
        return sum - (logs.length - 1) / d;
      };
      let low = LEAST;
      let high = D_MAX;
      let atHigh = slope(high);
      while (Math.abs(low - high) > PRECISION) {
        const d = (low + high) / 2;
        const here = slope(d);
        if (here * atHigh > 0) [high, atHigh] = [d, atHigh];
        else low = d;
      }
      const id = (low + high) / 2;
      return { id, error: 1 / Math.sqrt(information(id, mus, k)), excluded: n - mus.length };
    }

    /* Fisher information of the dimension. */
    function information(id, mus, k) {
      let sum = 0;
      for (const mu of mus) {
        const log = Math.log(mu);
        const power = Math.exp(-id * log);
        const inner = Math.max(1 - power, 5 * EPS);
        sum += (k - 1) * (log / inner) ** 2 * power;
      }
      return mus.length / id ** 2 + sum;
    }

    function grideScaling(squares, octaves) {
      const n = squares.length / (octaves + 1);
      const rows = [];
      for (let o = 0; o < octaves; o++) {
        const ratios = Array.from({ length: n }, (_, i) => {
          const at = i * (octaves + 1) + o;
          return Math.fround(Math.sqrt(squares[at + 1]) / Math.sqrt(squares[at]));
        });
        const k = 2 ** o;
        rows.push({ method: "gride", scale: k, n_points: n, repetitions: 1, ...grideAt(ratios, k, n) });
      }
      return rows;
    }

    /* ------------------------------------------------------------------- all of a cloud */

    /* Rows {method, scale, n_points, repetitions, id, error, excluded}; progress(0..1) is called. */
    function measure(cloud, progress) {
      const octaves = octavesOf(cloud.n);
      const squares = squaresAtRanks(cloud.points, cloud.n, cloud.width, octaves, progress);
      return [...twonnScaling(cloud, squares, octaves), ...grideScaling(squares, octaves)];
    }

    /* Uniform numbers in (0, 1], the same from the same seed on every machine (32-bit mixing). */
    function uniforms(seed) {
      let state = seed >>> 0;
      return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 15), state | 1);
        mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
        return (((mixed ^ (mixed >>> 14)) >>> 0) + 1) / 2 ** 32;
      };
    }

    /* A Gaussian cloud of independent coordinates, by the transform of Box and Muller. */
    function gaussian(n, width, seed = 1) {
      const draw = uniforms(seed);
      const points = new Float32Array(n * width);
      for (let i = 0; i < points.length; i++) {
        const radius = Math.sqrt(-2 * Math.log(draw()));
        points[i] = radius * Math.cos(2 * Math.PI * draw());
      }
      return { points, n, width };
    }

    /* The cloud of a file, and a Gaussian one of as many points and its estimated dimension. */
    function compare(buffer, progress) {
      const cloud = readNpy(buffer);
      const own = measure(cloud, (share) => progress(0.75 * share));
      const dimension = Math.max(1, Math.round(own[0].id));
      const control = gaussian(cloud.n, dimension);
      const beside = measure(control, (share) => progress(0.75 + 0.25 * share));
      return { n: cloud.n, width: cloud.width, own, dimension, beside };
    }

    return { Fault, header, checkHeader, readNpy, measure, gaussian, compare };
  };

  /* What a worker does: answers {progress}, then {result} or {fault} (one line). */
  E.serve = function (api) {
    self.onmessage = ({ data }) => {
      try {
        const result = api.compare(data, (progress) => self.postMessage({ progress }));
        self.postMessage({ result });
      } catch (error) {
        if (!(error instanceof api.Fault)) throw error;
        self.postMessage({ fault: error.message });
      }
    };
  };
})();
