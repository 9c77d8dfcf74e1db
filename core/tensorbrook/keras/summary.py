"""Model summary: a table of the layers, their output shapes and their parameter counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .argument_checks import readable_size

HEADER = ("Layer (type)", "Output Shape", "Param #")
COLUMN_FRACTIONS = (0.44, 0.34, 0.22)  # of the table's width


def summary(model: Any, line_length: int | None = None, print_fn: Callable | None = None) -> None:
    """Print the summary of a model, or pass its text to `print_fn`."""
    (print_fn or print)("\n".join(summary_lines(model, line_length or 79)))


def summary_lines(model: Any, width: int) -> list[str]:
    rows = [layer_row(layer, shape) for layer, shape in zip(model.layers, model.layer_shapes())]
    widths = column_widths(rows, width)
    return [f'Model: "{model.name}"', *table(rows, widths), *parameter_totals(model)]


def layer_row(layer: Any, shape: Any) -> tuple[str, str, str]:
    count = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
    return f"{layer.name} ({type(layer).__name__})", "?" if shape is None else str(shape), count


def column_widths(rows: list[tuple[str, ...]], width: int) -> list[int]:
    """The width of each column: its fraction of the table, or the width of its longest cell."""
    minimum = [int((width - 4) * fraction) - 2 for fraction in COLUMN_FRACTIONS]
    return [max(n, *(len(cells[i]) for cells in [HEADER, *rows])) for i, n in enumerate(minimum)]


def table(rows: list[tuple[str, ...]], widths: list[int]) -> list[str]:
    def rule(ends: str, dash: str) -> str:
        return ends[0] + ends[1].join(dash * (n + 2) for n in widths) + ends[2]

    def line(cells: tuple[str, ...], bar: str) -> str:
        texts = [cells[0].ljust(widths[0]), cells[1].ljust(widths[1]), cells[2].rjust(widths[2])]
        return bar + bar.join(f" {text} " for text in texts) + bar

    out = [rule("┏┳┓", "━"), line(HEADER, "┃"), rule("┡╇┩", "━")]
    for i, cells in enumerate(rows):
        out += [rule("├┼┤", "─")] if i else []
        out.append(line(cells, "│"))
    return [*out, rule("└┴┘", "─")]


def parameter_totals(model: Any) -> list[str]:
    trainable, frozen = model.trainable_weights, model.non_trainable_weights
    optimizer = getattr(model, "optimizer", None)
    state = optimizer.variables if optimizer is not None and optimizer.built else []
    groups = {"Total": trainable + frozen + state, "Trainable": trainable, "Non-trainable": frozen}
    if state:
        groups["Optimizer"] = state
    return [f" {name} params: {sum(v.spec.count for v in variables):,} "
            f"({readable_size(sum(v.spec.size_bytes for v in variables))})"
            for name, variables in groups.items()]
