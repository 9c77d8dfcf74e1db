/**
 * Replaces the browser's language where it is not a language tag: WebKit reports `C` if the system
 * has no locale, and uPlot passes it to Intl.NumberFormat while its module loads, which throws.
 * Imported before any other module.
 */
export {};

const FALLBACK_LANGUAGE = "en";

function isLanguageTag(language: string): boolean {
  try {
    return Intl.getCanonicalLocales(language).length > 0;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

if (!isLanguageTag(navigator.language)) {
  Object.defineProperty(navigator, "language", { value: FALLBACK_LANGUAGE, configurable: true });
}
