/** An id for something that this page makes. */
export function newId(): string {
  // Pages of plain HTTP have no crypto.randomUUID.
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
