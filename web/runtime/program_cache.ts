/**
 * Programs compiled by earlier visits, by what they compute, so that the same model need not be
 * compiled twice. They lie in the browser's Cache API, under the digest of the wheel whose compiler
 * made them; those of other wheels go. All are read while Python starts, as it cannot wait later.
 */

type Bytes = Uint8Array<ArrayBuffer>;

const PREFIX = "tensorbrook programs ";

/** As many programs are kept, the latest: a few models with what they are built from. */
const MOST = 400;

const hex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The store of this wheel's programs, and no other's; null where the browser offers none. */
async function openStore(wheel: ArrayBuffer): Promise<Cache | null> {
  if (!isSecureContext) return null;
  const name = PREFIX + hex(await crypto.subtle.digest("SHA-256", wheel));
  const old = (await caches.keys()).filter((other) => other.startsWith(PREFIX) && other !== name);
  await Promise.all(old.map((other) => caches.delete(other)));
  return caches.open(name);
}

export class KeptPrograms {
  private readonly images = new Map<string, Bytes>();
  private constructor(private readonly base: string, private readonly store: Cache | null) {}

  /** What earlier visits have kept; a store that cannot be read is as an empty one. */
  static async of(base: string, wheel: Promise<ArrayBuffer>): Promise<KeptPrograms> {
    const bytes = await wheel;
    try {
      const kept = new KeptPrograms(base, await openStore(bytes));
      await kept.read();
      return kept;
    } catch (error) {
      console.warn("programs of earlier visits cannot be read:", error);
      return new KeptPrograms(base, null);
    }
  }

  get(key: string): Bytes | undefined {
    return this.images.get(key);
  }

  /** Keep an image; it is written when Python next waits. */
  put(key: string, image: Bytes): void {
    this.images.set(key, image);
    this.store?.put(this.address(key), new Response(image)).catch((error: unknown) => {
      console.warn("a program could not be kept for the next visit:", error);
    });
  }

  private address(key: string): string {
    return `${this.base}programs/${encodeURIComponent(key)}`;
  }

  private async read(): Promise<void> {
    const { store } = this;
    if (store === null) return;
    const all = await store.keys();
    const old = Math.max(0, all.length - MOST);
    await Promise.all(all.slice(0, old).map((address) => store.delete(address)));
    await Promise.all(all.slice(old).map(async (address) => {
      const found = await store.match(address);
      const key = decodeURIComponent(address.url.slice(address.url.lastIndexOf("/") + 1));
      if (found !== undefined) this.images.set(key, new Uint8Array(await found.arrayBuffer()));
    }));
  }
}
