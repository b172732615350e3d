// Markdown of models and people. Loaded when the first message is shown. The result has no element that loads anything.

import DOMPurify from 'dompurify';
import { Marked, type Token } from 'marked';

/** `$…$`, `\(…\)`, `$$…$$` and `\[…\]`. The text stays as it is until `enhance` sets it. */
const INLINE = /^(?:\\\((.+?)\\\)|\$(?!\s)((?:\\.|[^$\n\\])+?)(?<!\s)\$(?!\d))/;
const DISPLAY = /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])/;

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Where the next one may begin. A block begins its line: elsewhere it would end the paragraph. */
const BEGIN = { block: /(?<=^|\n)(?:\$\$|\\\[)/, inline: /\$|\\\(|\\\[/ };

function maths(name: string, level: 'block' | 'inline', pattern: RegExp, tag: string, kind: string) {
  return {
    name,
    level,
    start: (source: string) => source.match(BEGIN[level])?.index,
    tokenizer(source: string) {
      const found = pattern.exec(source);
      if (!found) return undefined;
      return { type: name, raw: found[0], text: (found[1] ?? found[2] ?? '').trim() };
    },
    renderer: (token: { text?: string }) => `<${tag} class="${kind}">${escape(token.text ?? '')}</${tag}>`,
  };
}

const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: [
    maths('display-block', 'block', DISPLAY, 'p', 'maths display'),
    maths('display', 'inline', DISPLAY, 'span', 'maths display'),
    maths('inline', 'inline', INLINE, 'span', 'maths'),
  ],
  renderer: {
    // A picture of another host would say that it was looked at.
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text || href)}</a>`,
    // The page's own headings stand above them.
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    html: ({ text }) => escape(text),
  },
});

const ALLOWED = {
  ALLOWED_TAGS: [
    ...['p', 'br', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'ul', 'ol', 'li', 'blockquote', 'pre', 'code', 'strong'],
    ...['em', 'del', 'a', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'span', 'sub', 'sup'],
  ],
  ALLOWED_ATTR: ['href', 'class', 'start', 'align', 'target', 'rel'],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  // The values of all others must be addresses.
  ADD_URI_SAFE_ATTR: ['align', 'start', 'target', 'rel'],
};

DOMPurify.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName !== 'A') return;
  node.setAttribute('target', '_blank');
  node.setAttribute('rel', 'noopener noreferrer');
});

/** A block of a text: a paragraph, a list, a piece of code. */
export interface Block {
  raw: string;
  html: string;
  /** Where the text goes on after it. */
  end: number;
}

/** How many of the last blocks a longer text may change. */
const OPEN_BLOCKS = 2;

/** The blocks of a text that grows. Only its end is read again, and only new blocks become HTML. */
export class Blocks {
  #text = '';
  #blocks: Block[] = [];

  of(source: string, streaming: boolean): Block[] {
    const text = source.replace(/\r\n?/g, '\n');
    // A definition of links at the end counts for the whole text.
    const kept = streaming && text.startsWith(this.#text) ? this.#blocks.slice(0, -OPEN_BLOCKS) : [];
    const known = new Map(this.#blocks.map((block) => [block.raw, block.html]));
    this.#text = text;
    this.#blocks = [...kept, ...read(text, kept.at(-1)?.end ?? 0, streaming ? known : new Map())];
    return this.#blocks;
  }
}

function read(text: string, start: number, known: Map<string, string>): Block[] {
  const blocks: Block[] = [];
  let end = start;
  for (const token of marked.lexer(text.slice(start))) {
    end += token.raw.length;
    if (token.type === 'space') continue;
    blocks.push({ raw: token.raw, html: known.get(token.raw) ?? toHtml(token), end });
  }
  return blocks;
}

function toHtml(token: Token): string {
  return DOMPurify.sanitize(marked.parser([token]), ALLOWED);
}
