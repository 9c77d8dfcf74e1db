"""Tensorbrook's programs for the workloads, in user code; they run in the page and natively."""
