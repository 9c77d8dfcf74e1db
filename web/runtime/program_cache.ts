/**
 * Program cache: programs that earlier visits compiled, by the digest of their graph. They are
 * stored in the browser's Cache API, under the digest of the wheel whose compiler made them; caches
 * of other wheels are deleted. All programs are read while Python boots, because Python cannot wait
 * for them later.
 */

type Bytes = Uint8Array<ArrayBuffer>;

const CACHE_PREFIX = "tensorbrook programs ";

/** Only the latest programs are kept: enough for a few models and the programs of their layers. */
const MAX_PROGRAMS = 400;

const hex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Open the cache of this wheel and delete all others; null if the browser has no cache. */
async function openWheelCache(wheel: ArrayBuffer): Promise<Cache | null> {
  if (!isSecureContext) return null;
  const name = CACHE_PREFIX + hex(await crypto.subtle.digest("SHA-256", wheel));
  const ours = (await caches.keys()).filter((key) => key.startsWith(CACHE_PREFIX));
  await Promise.all(ours.filter((key) => key !== name).map((key) => caches.delete(key)));
  return caches.open(name);
}

export class ProgramCache {
  private readonly programs = new Map<string, Bytes>();
  private constructor(private readonly base: string, private readonly cache: Cache | null) {}

  /** Open the cache with the programs of earlier visits; an unreadable cache counts as empty. */
  static async open(base: string, wheel: Promise<ArrayBuffer>): Promise<ProgramCache> {
    const wheelBytes = await wheel;
    try {
      const programs = new ProgramCache(base, await openWheelCache(wheelBytes));
      await programs.loadAll();
      return programs;
    } catch (error) {
      console.warn("cannot read the program cache:", error);
      return new ProgramCache(base, null);
    }
  }

  get(key: string): Bytes | undefined {
    return this.programs.get(key);
  }

  /** Add a program. The browser stores it when Python next waits. */
  put(key: string, program: Bytes): void {
    this.programs.set(key, program);
    this.cache?.put(this.url(key), new Response(program)).catch((error: unknown) => {
      console.warn("cannot store a program in the cache:", error);
    });
  }

  private url(key: string): string {
    return `${this.base}programs/${encodeURIComponent(key)}`;
  }

  private async loadAll(): Promise<void> {
    const { cache } = this;
    if (cache === null) return;
    const requests = await cache.keys();
    const excess = Math.max(0, requests.length - MAX_PROGRAMS);
    await Promise.all(requests.slice(0, excess).map((request) => cache.delete(request)));
    await Promise.all(requests.slice(excess).map(async (request) => {
      const response = await cache.match(request);
      if (response === undefined) return;
      const key = decodeURIComponent(request.url.slice(request.url.lastIndexOf("/") + 1));
      this.programs.set(key, new Uint8Array(await response.arrayBuffer()));
    }));
  }
}
