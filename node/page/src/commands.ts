// The same request as a command, so that what is clicked once can be scripted. Pure.

/** A word of a POSIX shell. */
export function quoted(text: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

export interface Request {
  method: string;
  url: string;
  body?: unknown;
  hasToken: boolean;
}

export function curl({ method, url, body, hasToken }: Request): string {
  const parts = ["curl -sS"];
  const plain = (method === "GET" && body === undefined) || (method === "POST" && body !== undefined);
  if (!plain) parts.push(`-X ${method}`);
  parts.push(quoted(url));
  if (hasToken) parts.push('-H "Authorization: Bearer $RELAIS_TOKEN"');
  if (body !== undefined) parts.push(`--json ${quoted(JSON.stringify(body))}`);
  return parts.join(" ");
}

export function relais(...words: string[]): string {
  return ["relais", ...words.map(quoted)].join(" ");
}
