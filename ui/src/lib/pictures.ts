// Makes images small enough for a conversation that is stored whole; loaded with the first image.

/** Models look at no more than this, in pixels. */
const MAX_EDGE = 1280;
/** The largest image that is kept. */
const MAX_BYTES = 384 * 1024;
/** What every server that takes images reads. */
const KEPT_TYPES = ['image/png', 'image/jpeg', 'image/webp', 'image/gif'];

/** The data URL of an image. Throws if the browser cannot read it. */
export async function shrink(file: File): Promise<string> {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, MAX_EDGE / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && file.size <= MAX_BYTES && KEPT_TYPES.includes(file.type)) return asUrl(file);
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext('2d');
  if (!context) throw new Error('the browser draws no images');
  // JPEG has no transparency.
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const url = canvas.toDataURL('image/jpeg', 0.85);
  // Base64 has four letters for three bytes.
  return url.length <= (MAX_BYTES * 4) / 3 ? url : canvas.toDataURL('image/jpeg', 0.6);
}

function asUrl(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error(file.name));
    reader.readAsDataURL(file);
  });
}
