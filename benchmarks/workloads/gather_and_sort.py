"""Gather, scatter and sort: an embedding, its gradient, sorting, top-k."""

from __future__ import annotations

from .spec import FORWARD, Workload, floats, labels, size_bytes

TOPIC = "Gather and sort"
TABLE, ROWS, IDS = floats(30_000, 128), floats(4096, 128), labels(4096, classes=30_000)

WORKLOADS = (
    Workload("embedding, 4096 of 30000x128", TOPIC, "embedding", {},
             {"table": TABLE, "ids": IDS}, FORWARD, moved_bytes=2 * size_bytes(ROWS)),
    Workload("embedding gradient, 4096 into 30000x128", TOPIC, "scatter_add", {"rows": 30_000},
             {"updates": ROWS, "ids": IDS}, FORWARD, moved_bytes=size_bytes(TABLE, ROWS)),
    Workload("sort, 1 M", TOPIC, "sort", {}, {"x": floats(1 << 20)}, FORWARD),
    Workload("top 8 of 1000, 1000 times", TOPIC, "top_k", {"k": 8}, {"x": floats(1000, 1000)},
             FORWARD, moved_bytes=size_bytes(floats(1000, 1000))),
)
