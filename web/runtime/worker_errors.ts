/** The error events of workers. */

/**
 * The message of a worker's error, which lacks one if the script did not load or is not valid. The
 * error is handled: otherwise it would also be an error of the worker that started this one.
 */
export function takeWorkerError(event: ErrorEvent): string {
  event.preventDefault();
  return event.message || "the script of a worker could not be loaded, or this browser cannot " +
    "run it; check the connection and reload the page, or update the browser";
}
