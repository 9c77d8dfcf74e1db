/** What Vite makes of an import's suffix, for the files that are checked without the page's types. */

declare module "*?raw" {
  const text: string;
  export default text;
}

declare module "*?worker" {
  const construct: new (options?: { name?: string }) => Worker;
  export default construct;
}
