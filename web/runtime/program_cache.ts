/**
 * Program cache: programs that earlier visits compiled, by the digest of their graph. They are
 * stored in the browser's Cache API, under the digest of the wheel whose compiler made them; caches
 * of other wheels are deleted. All programs are read while Python boots, because Python cannot wait
 * for them later. Memory and storage hold the same programs, within the same limits; the program
 * that was least recently stored or loaded is evicted first.
 */

type Bytes = Uint8Array<ArrayBuffer>;

const CACHE_PREFIX = "tensorbrook programs ";

/** Enough for a few models and the programs of their layers. */
const MAX_PROGRAMS = 400;
const MAX_BYTES = 32 << 20;
/** A larger program, which has large constants, would evict most others. */
const MAX_PROGRAM_BYTES = MAX_BYTES / 8;

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
  /** By key, the least recently used program first. */
  private readonly programs = new Map<string, Bytes>();
  private bytes = 0;
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
    const program = this.programs.get(key);
    if (program !== undefined) {
      this.programs.delete(key);
      this.programs.set(key, program); // a Map iterates in the order of insertion
    }
    return program;
  }

  /** Add a program that is not too large. The browser stores it when Python next waits. */
  put(key: string, program: Bytes): void {
    if (program.length > MAX_PROGRAM_BYTES) return;
    this.insert(key, program);
    this.cache?.put(this.url(key), new Response(program)).catch((error: unknown) => {
      console.warn("cannot store a program in the cache:", error);
    });
    this.evictExcess();
  }

  private url(key: string): string {
    return `${this.base}programs/${encodeURIComponent(key)}`;
  }

  private insert(key: string, program: Bytes): void {
    this.bytes += program.length - (this.programs.get(key)?.length ?? 0);
    this.programs.delete(key);
    this.programs.set(key, program);
  }

  /** Evict the least recently used programs beyond the limits, from memory and from storage. */
  private evictExcess(): void {
    for (const [key, program] of this.programs) {
      if (this.programs.size <= MAX_PROGRAMS && this.bytes <= MAX_BYTES) return;
      this.programs.delete(key);
      this.bytes -= program.length;
      this.cache?.delete(this.url(key)).catch((error: unknown) => {
        console.warn("cannot delete a program from the cache:", error);
      });
    }
  }

  private async loadAll(): Promise<void> {
    const { cache } = this;
    if (cache === null) return;
    const requests = await cache.keys();
    const entries = await Promise.all(requests.map(async (request): Promise<[string, Bytes]> => {
      const response = await cache.match(request);
      const key = decodeURIComponent(request.url.slice(request.url.lastIndexOf("/") + 1));
      return [key, new Uint8Array(await (response ?? new Response()).arrayBuffer())];
    }));
    for (const [key, program] of entries) if (program.length > 0) this.insert(key, program);
    this.evictExcess();
  }
}
