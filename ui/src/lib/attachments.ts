// Files that belong to a question: texts, and images for models that say they take them.

import { bytes } from './format';
import { t } from './i18n.svelte';

export interface TextFile {
  name: string;
  text: string;
}

export interface Picture {
  name: string;
  /** A data URL. */
  url: string;
}

export interface Attached {
  files: TextFile[];
  images: Picture[];
}

/** The largest file of text. */
const MAX_TEXT_BYTES = 512 * 1024;
/** The largest image before it is made smaller. */
const MAX_IMAGE_BYTES = 20 * 1024 * 1024;
/** Files of one question. */
const MAX_FILES = 10;
/** All files of one question as they are stored: a conversation has room for 4 MiB. */
const MAX_STORED_BYTES = 3 * 1024 * 1024;

export function nothing(): Attached {
  return { files: [], images: [] };
}

export function isEmpty({ files, images }: Attached): boolean {
  return files.length + images.length === 0;
}

/** Adds files to a question. Returns why some were not added. `imageless` names a model that takes no images, if one is asked. */
export async function attach(files: Iterable<File>, to: Attached, imageless: string): Promise<string[]> {
  const problems: string[] = [];
  for (const file of files) {
    const problem =
      to.files.length + to.images.length >= MAX_FILES
        ? t('files_too_many', { name: file.name, count: MAX_FILES })
        : await (isImage(file) ? addImage(file, to, imageless) : addText(file, to));
    if (problem) problems.push(problem);
  }
  return problems;
}

/** The files that are pasted: none where the text is meant, as office programs add a picture of it. */
export function pasted(data: DataTransfer | null): File[] {
  const files = [...(data?.files ?? [])];
  const text = data?.getData('text/plain') ?? '';
  return text === '' || files.some((file) => text.includes(file.name)) ? files : [];
}

/** Whether another file of `more` bytes has room. Letters beyond ASCII count as one byte: the limit leaves room. */
function hasRoom({ files, images }: Attached, more: number): boolean {
  const texts = [...files.map(({ text }) => text), ...images.map(({ url }) => url)];
  return texts.reduce((total, text) => total + text.length, more) <= MAX_STORED_BYTES;
}

/** Drawings in SVG are text. */
function isImage(file: File): boolean {
  return file.type.startsWith('image/') && file.type !== 'image/svg+xml';
}

function noRoom(file: File): string {
  return t('files_too_large', { name: file.name, limit: bytes(MAX_STORED_BYTES) });
}

async function addText(file: File, to: Attached): Promise<string> {
  if (file.size > MAX_TEXT_BYTES) return t('file_too_large', { name: file.name, limit: bytes(MAX_TEXT_BYTES) });
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
    if (text.includes('\0')) return t('file_no_text', { name: file.name });
    if (!hasRoom(to, text.length)) return noRoom(file);
    to.files.push({ name: file.name, text });
    return '';
  } catch {
    return t('file_no_text', { name: file.name });
  }
}

async function addImage(file: File, to: Attached, imageless: string): Promise<string> {
  if (imageless) return t('images_refused', { name: file.name, model: imageless });
  if (file.size > MAX_IMAGE_BYTES) return t('file_too_large', { name: file.name, limit: bytes(MAX_IMAGE_BYTES) });
  try {
    const { shrink } = await import('./pictures');
    const url = await shrink(file);
    if (!hasRoom(to, url.length)) return noRoom(file);
    to.images.push({ name: file.name, url });
    return '';
  } catch {
    return t('image_unreadable', { name: file.name });
  }
}
