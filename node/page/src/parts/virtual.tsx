// A list of which only the rows on the screen are in the page. It scrolls with the page itself, so that it works at any
// size and zoom; rows have one height.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";

const OVERSCAN = 8;

interface Virtual {
  count: number;
  height: number;
  row: (place: number) => ComponentChildren;
  /** Called with the first and the last row on the screen. */
  onShown: (first: number, last: number) => void;
}

export function VirtualRows({ count, height, row, onShown }: Virtual) {
  const box = useRef<HTMLDivElement>(null);
  const first = useSignal(0);
  const last = useSignal(40);
  const told = useRef(onShown);
  const again = useRef<(() => void) | null>(null);
  told.current = onShown;
  useEffect(() => {
    let asked = false;
    const look = () => {
      asked = false;
      if (box.current === null) return;
      const top = box.current.getBoundingClientRect().top;
      const from = Math.max(0, Math.floor(-top / height));
      const to = Math.max(from, Math.ceil((innerHeight - top) / height));
      first.value = Math.max(0, from - OVERSCAN);
      last.value = to + OVERSCAN;
      told.current(from, to);
    };
    const soon = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(look);
    };
    again.current = soon;
    look();
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", soon);
    return () => {
      removeEventListener("scroll", soon);
      removeEventListener("resize", soon);
    };
  }, [height, count === 0]);
  // Who waits at the end is there no more when rows have come, and moves nothing that would tell.
  useEffect(() => again.current?.(), [count]);
  const places: number[] = [];
  for (let place = first.value; place < Math.min(count, last.value); place += 1) places.push(place);
  return (
    <div class="virtual" role="rowgroup" ref={box} style={{ height: `${count * height}px` }}>
      {places.map((place) => (
        <div class="virtual-row" role="row" key={place} data-row={place} aria-rowindex={place + 2} style={{ transform: `translateY(${place * height}px)`, height: `${height}px` }}>
          {row(place)}
        </div>
      ))}
    </div>
  );
}
