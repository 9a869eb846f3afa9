// A command to copy. The clipboard is a browser's to give on secure pages only; elsewhere the old way is taken.

import { useState } from "preact/hooks";

async function put(text: string): Promise<boolean> {
  if (navigator.clipboard !== undefined) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // It was refused: the old way may do.
    }
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "offscreen";
  document.body.append(field);
  field.select();
  const took = document.execCommand("copy");
  field.remove();
  return took;
}

export function Command({ label, text }: { label: string; text: string }) {
  const [state, setState] = useState("Copy");
  const copy = async () => {
    setState((await put(text)) ? "Copied" : "Select it by hand");
    setTimeout(() => setState("Copy"), 2_000);
  };
  return (
    <figure class="command">
      <figcaption>
        <span>{label}</span>
        <button type="button" class="quiet" onClick={copy} aria-label={`Copy the ${label} command`}>{state}</button>
      </figcaption>
      <pre tabIndex={0} aria-label={label}><code>{text}</code></pre>
    </figure>
  );
}
