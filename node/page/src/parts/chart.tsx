// Lines over time, by uPlot. What it shows is said in words beside it; the picture has a label.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { colour, colours } from "../theme";

export interface Line {
  label: string;
  /** A custom property of the style sheet. */
  colour: string;
  values: (number | null)[];
}

interface Shown {
  label: string;
  at: number[];
  lines: Line[];
  /** How a value is written, and how one on the axis. */
  text: (value: number) => string;
  tick?: (value: number) => string;
}

const HEIGHT = 190;

function options(shown: Shown, width: number): uPlot.Options {
  const ink = colour("--muted");
  const grid = { stroke: colour("--line"), width: 1 };
  const font = "12px system-ui, sans-serif";
  return {
    width,
    height: HEIGHT,
    padding: [12, 32, 0, 0],
    legend: { live: true },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { y: { range: (_, __, most) => [0, Math.max(most || 0, 1e-9) * 1.1 || 1] } },
    axes: [
      { stroke: ink, font, grid, ticks: grid, space: 84, values: [[60, "{HH}:{mm}", null, null, null, null, null, null, 1], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] },
      { stroke: ink, font, grid, ticks: grid, size: 64, values: (_, ticks) => ticks.map(shown.tick ?? shown.text) },
    ],
    series: [
      { value: "{HH}:{mm}:{ss}" },
      ...shown.lines.map((line) => ({
        label: line.label,
        stroke: colour(line.colour),
        width: 1.8,
        // A lone value between gaps would be no line: it is a dot.
        points: { show: true, size: 5, fill: colour(line.colour), filter: (plot: uPlot, place: number) => alone(plot.data[place] ?? []) },
        spanGaps: false,
        value: (_: uPlot, value: number | null) => (value === null ? "–" : shown.text(value)),
      })),
    ],
  };
}

function alone(values: ArrayLike<number | null | undefined>): number[] {
  const known = (place: number) => values[place] !== null && values[place] !== undefined;
  const found: number[] = [];
  for (let place = 0; place < values.length; place += 1) {
    if (known(place) && !known(place - 1) && !known(place + 1)) found.push(place);
  }
  return found;
}

export function Chart(shown: Shown) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const turn = colours.value;
  const data: uPlot.AlignedData = [shown.at, ...shown.lines.map((line) => line.values)];
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const made = new uPlot(options(shown, element.clientWidth || 300), data, element);
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
    };
  }, [turn]);
  useEffect(() => plot.current?.setData(data));
  return <div class="chart" ref={box} role="img" aria-label={shown.label} />;
}
