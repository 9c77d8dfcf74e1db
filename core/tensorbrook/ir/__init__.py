"""Layer 1: programs as plain data, before and after they are cut into kernels."""
from .body import Body, evaluate, every_equation, renewed
from .digest import digest
from .graph import (PRIMS, Atom, Const, Eqn, Graph, Prim, Reduction, Spec, Var, function_of,
                    several)
from .kernel import (Apply, Call, Carry, Index, Kernel, Limits, Load, Loop, Mark, Number, Piece,
                     Place, Plan, Reduced, Repeat, Stage, Step, Store, Value, generated,
                     whole_lines)
from .text import graph_text, plan_text

__all__ = ["PRIMS", "Apply", "Atom", "Body", "Call", "Carry", "Const", "Eqn", "Graph", "Index",
           "Kernel", "Limits", "Load", "Loop", "Mark", "Number", "Piece", "Place", "Plan", "Prim",
           "Reduced", "Reduction", "Repeat", "Spec", "Stage", "Step", "Store", "Value", "Var",
           "digest", "evaluate", "every_equation", "function_of", "generated", "graph_text",
           "plan_text", "renewed", "several", "whole_lines"]
