// Additions to a complete block of Markdown: colours and a copy button for code, and maths. Each part loads when needed.

import { copy } from './clipboard';

/** Adds them to the block. `label` names the copy button. */
export async function enhance(block: HTMLElement, label: { copy: string; copied: string }): Promise<void> {
  for (const code of block.querySelectorAll<HTMLElement>('pre > code')) {
    frame(code, label);
    await colour(code);
  }
  for (const maths of block.querySelectorAll<HTMLElement>('.maths')) await typeset(maths);
}

function language(code: HTMLElement): string {
  return /language-([\w+#.-]+)/.exec(code.className)?.[1] ?? '';
}

function frame(code: HTMLElement, label: { copy: string; copied: string }): void {
  const pre = code.parentElement;
  if (!pre || pre.previousElementSibling?.className === 'code-head') return;
  const head = document.createElement('div');
  head.className = 'code-head';
  const name = document.createElement('span');
  name.textContent = language(code);
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'button plain small';
  button.textContent = label.copy;
  button.addEventListener('click', () => {
    void copy(code.textContent ?? '').then(() => {
      button.textContent = label.copied;
      setTimeout(() => (button.textContent = label.copy), 1500);
    });
  });
  head.append(name, button);
  pre.before(head);
  // A keyboard must be able to scroll it.
  pre.tabIndex = 0;
}

async function colour(code: HTMLElement): Promise<void> {
  const { default: highlighter } = await import('highlight.js/lib/common');
  const name = language(code);
  if (!highlighter.getLanguage(name)) return;
  // The library escapes the text.
  code.innerHTML = highlighter.highlight(code.textContent ?? '', { language: name, ignoreIllegals: true }).value;
}

async function typeset(element: HTMLElement): Promise<void> {
  const { default: temml } = await import('temml');
  const source = element.textContent ?? '';
  const displayMode = element.classList.contains('display');
  element.classList.remove('maths');
  // Sets styles through the object model, which the page's policy allows.
  temml.render(source, element, { displayMode, throwOnError: false, trust: false });
}
