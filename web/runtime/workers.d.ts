/** Types of Vite's `?worker` imports, for files that are checked without the page's types. */

declare module "*?worker" {
  const construct: new (options?: { name?: string }) => Worker;
  export default construct;
}
